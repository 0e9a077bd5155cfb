//! Text that may enter a record: bounded in length, harmless on a terminal, and never a secret.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

/// A name (client, operator, server, rule …) of at most [`Label::MAX_BYTES`].
///
/// Names come from people and from configuration files. A longer one is cut and ends in `…`; control characters and
/// bidirectional overrides, which could rewrite the terminal of whoever reads the log, become U+FFFD.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    pub const MAX_BYTES: usize = 256;

    pub fn new(text: &str) -> Self {
        Self(bounded(text, Self::MAX_BYTES).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why something ended or was refused: a short kebab-case word chosen by the code that decided it.
///
/// Only a literal of the program can make one, so no input from outside ends up in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// The reason of every session and flow that a crash of the gateway left open.
    pub const GATEWAY_CRASH: Reason = Reason::new("gateway-crash");

    const MAX_BYTES: usize = 64;

    pub const fn new(word: &'static str) -> Self {
        Self(Cow::Borrowed(word))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The short public name of a key.
///
/// At most [`Fingerprint::MAX_BYTES`]: a whole key (44 characters of base64, 64 of hex) does not fit, so a key can't
/// reach the log by mistake.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    pub const MAX_BYTES: usize = 40;

    /// # Errors
    /// [`TextError::Fingerprint`] for text that is empty, too long, or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let printable = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if printable && text.len() <= Self::MAX_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(TextError::Fingerprint { bytes: text.len() })
        }
    }

    /// Stands for a key that has no name.
    pub fn unknown() -> Self {
        Self("unknown".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The state of an object before or after an administrative act, as JSON.
///
/// Made from a type that implements `Serialize`; key and passphrase types do not, so no secret fits into one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot(Value);

impl Snapshot {
    pub const MAX_BYTES: usize = 16 * 1024;

    /// # Errors
    /// [`TextError::Float`] for a fractional number (see [`crate::canonical`]), [`TextError::TooLarge`] above
    /// [`Snapshot::MAX_BYTES`], [`TextError::Json`] for what JSON cannot express.
    pub fn of(state: &impl Serialize) -> Result<Self, TextError> {
        Self::check(serde_json::to_value(state).map_err(TextError::Json)?)
    }

    pub fn value(&self) -> &Value {
        &self.0
    }

    fn check(value: Value) -> Result<Self, TextError> {
        let text = crate::canonical::to_string(&value).map_err(|_| TextError::Float)?;
        if text.len() > Self::MAX_BYTES {
            return Err(TextError::TooLarge { bytes: text.len() });
        }
        Ok(Self(value))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error(
        "a key fingerprint is 1 to {max} printable ASCII characters, this one has {bytes} bytes",
        max = Fingerprint::MAX_BYTES
    )]
    Fingerprint { bytes: usize },
    #[error("a record cannot hold fractional numbers; use an integer with a smaller unit")]
    Float,
    #[error("a state of {bytes} bytes is too large for a record (at most {max})", max = Snapshot::MAX_BYTES)]
    TooLarge { bytes: usize },
    #[error("the state cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::check(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Cow::Owned(bounded(&text, Self::MAX_BYTES))))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}
text_traits!(Label, Reason, Fingerprint);

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

const CUT: char = '…';

fn bounded(text: &str, max_bytes: usize) -> String {
    // No character is shorter than a byte, so this many hold all that can be kept and one more to show the cut.
    let mut clean: String = text.chars().take(max_bytes + 1).map(harmless).collect();
    if clean.len() > max_bytes {
        clean.truncate(clean.floor_char_boundary(max_bytes - CUT.len_utf8()));
        clean.push(CUT);
    }
    clean
}

fn harmless(c: char) -> char {
    match c {
        '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_cut_at_a_character_boundary_and_says_so() {
        for filler in ["x", "ä", "€", "😀"] {
            let label = Label::new(&filler.repeat(1000));
            assert!(label.as_str().len() <= Label::MAX_BYTES, "{filler}: {} bytes", label.as_str().len());
            assert!(label.as_str().len() > Label::MAX_BYTES - 8);
            assert!(label.as_str().ends_with('…'));
            assert_eq!(Label::new(label.as_str()), label, "reading it back changes nothing");
        }
        let exact = "x".repeat(Label::MAX_BYTES);
        assert_eq!(Label::new(&exact).as_str(), exact);
    }

    #[test]
    fn a_label_cannot_drive_the_terminal_of_its_reader() {
        let label = Label::new("a\x1b[2Jb\r\nc\0d\u{202E}e\u{9b}f");
        assert!(label.as_str().chars().all(|c| !c.is_control() && c != '\u{202E}'), "{label:?}");
        assert!(label.as_str().starts_with("a\u{FFFD}[2Jb"));
        assert!(Label::new(&"\0".repeat(Label::MAX_BYTES)).as_str().len() <= Label::MAX_BYTES);
    }

    #[test]
    fn a_whole_key_does_not_fit_into_a_fingerprint() {
        assert!(Fingerprint::new("0123456789abcdef").is_ok());
        let base64_key = "kO0h5dVXgI0BRfKTxm6yl0Fu2T0NxfLK6dlGdGG0mFA=";
        for bad in ["", base64_key, "with space", "tab\t", "ümlaut", &"f".repeat(64)] {
            assert!(Fingerprint::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_snapshot_refuses_floats_and_floods() {
        assert!(Snapshot::of(&serde_json::json!({"role": "smart-client", "n": -3, "u": u64::MAX})).is_ok());
        assert!(matches!(Snapshot::of(&serde_json::json!([{"x": 0.5}])), Err(TextError::Float)));
        let flood = "x".repeat(Snapshot::MAX_BYTES);
        assert!(matches!(Snapshot::of(&flood), Err(TextError::TooLarge { .. })));
    }
}
