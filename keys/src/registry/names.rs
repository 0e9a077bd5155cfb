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

const MAX_NAME: usize = 63;
const MAX_OPERATOR: usize = 128;

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
        // The text becomes a comment of a profile, where a line end would begin a setting.
        let harmless =
            |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}');
        let text = text.trim();
        if !text.is_empty() && text.chars().count() <= MAX_OPERATOR && text.chars().all(harmless) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Operator)
        }
    }
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
text_traits!(ClientName, Operator);

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
        for bad in ["", "  ", "a\n[Peer]", "a\rb", "a\u{2028}b", "a\u{202e}b", &"x".repeat(129)] {
            assert_eq!(bad.parse::<Operator>(), Err(NameError::Operator), "{bad:?}");
        }
    }
}
