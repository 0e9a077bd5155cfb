//! Names that people give: to clients, and their own.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// The name of a client: letters, digits, `-`, `_`, `.` and `@`, beginning with a letter or digit. Safe in file names,
/// in a terminal and in a profile.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(String);

/// The person who uses a client: any text of one line.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Operator(String);

/// Why a client was suspended or revoked: any text of one line.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Remark(String);

const MAX_NAME: usize = 63;
/// At four bytes each they fit into a label of the audit log, which would cut a longer name.
const MAX_OPERATOR: usize = 64;
const MAX_REMARK: usize = 200;

impl ClientName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Operator {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Remark {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Under which two names that differ in letter case alone are the same.
pub(crate) fn name_key(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl FromStr for ClientName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if begins_well && text.len() <= MAX_NAME && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Client)
        }
    }
}

impl FromStr for Operator {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        one_line(text, MAX_OPERATOR).map(Self).ok_or(NameError::Operator)
    }
}

impl FromStr for Remark {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        one_line(text, MAX_REMARK).map(Self).ok_or(NameError::Remark)
    }
}

/// An operator becomes a comment of a profile, where a line end would begin a setting.
fn one_line(text: &str, max_characters: usize) -> Option<String> {
    let harmless =
        |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}');
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= max_characters && text.chars().all(harmless);
    fits.then(|| text.to_owned())
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "a client name has 1 to {MAX_NAME} letters, digits, `-`, `_`, `.` or `@` and begins with a letter or digit"
    )]
    Client,
    #[error("an operator has 1 to {MAX_OPERATOR} characters on one line")]
    Operator,
    #[error("a reason has 1 to {MAX_REMARK} characters on one line")]
    Remark,
}

macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )*};
}
text_traits!(ClientName, Operator, Remark);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_name_is_safe_everywhere() {
        for good in ["anna", "anna-laptop.2", "A@site_1", &"x".repeat(63)] {
            assert_eq!(good.parse::<ClientName>().unwrap().as_str(), good);
        }
        for bad in ["", "-q", ".hidden", "a b", "a/b", "a\nb", "änna", &"x".repeat(64)] {
            assert_eq!(bad.parse::<ClientName>(), Err(NameError::Client), "{bad:?}");
        }
    }

    #[test]
    fn an_operator_is_one_line_of_any_script() {
        assert_eq!(" Zoë Müller 李 ".parse::<Operator>().unwrap().as_str(), "Zoë Müller 李");
        for bad in ["", "  ", "a\n[Peer]", "a\rb", "a\u{2028}b", "a\u{202e}b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Operator>(), Err(NameError::Operator), "{bad:?}");
        }
    }
}
