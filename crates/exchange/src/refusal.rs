//! The last that a client hears: why the gateway accepts it no longer. See docs/decisions/0012-refusal-notice.md.

use serde::{Deserialize, Serialize};
use vmsgate_config::profile::MAX_CONTACT_CHARS;

/// The version of [`Refusal`]; raised when a field changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;
/// UDP, at both ends. Nothing listens there.
pub const PORT: u16 = 51_819;
/// Of a notice: the longest contact, of four bytes a character, and everything else.
pub const MAX_BYTES: usize = 512;

/// Why a client may not connect any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Revoked,
    Suspended,
    Expired,
}

/// The notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    schema_version: u32,
    pub reason: Reason,
    /// Whom to ask about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

impl Refusal {
    pub fn new(reason: Reason, contact: Option<&str>) -> Self {
        Self { schema_version: SCHEMA_VERSION, reason, contact: contact.map(ToOwned::to_owned) }
    }

    /// The payload of the datagram.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a payload; none if it is no notice that this version understands.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        if payload.len() > MAX_BYTES {
            return None;
        }
        let refusal: Self = serde_json::from_slice(payload).ok()?;
        let sound = refusal.contact.as_deref().is_none_or(is_contact);
        (refusal.schema_version == SCHEMA_VERSION && sound).then_some(refusal)
    }
}

/// Whether this can be shown as whom to ask.
pub fn is_contact(text: &str) -> bool {
    text.chars().count() <= MAX_CONTACT_CHARS && !text.chars().any(char::is_control)
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_the_largest_one_fits() {
        let longest = "\u{10ffff}".repeat(MAX_CONTACT_CHARS);
        for contact in [None, Some("VMS operations, +45 12 34 56 78"), Some(longest.as_str())] {
            let refusal = Refusal::new(Reason::Suspended, contact);
            let bytes = refusal.to_bytes();
            assert!(bytes.len() <= MAX_BYTES, "{}", bytes.len());
            assert_eq!(Refusal::parse(&bytes), Some(refusal));
        }
        assert_eq!(
            Refusal::new(Reason::Revoked, None).to_bytes(),
            br#"{"schema_version":1,"reason":"revoked"}"#
        );
    }

    #[test]
    fn what_is_something_else_is_no_notice() {
        for text in [
            "",
            "{}",
            r#"{"schema_version":2,"reason":"revoked"}"#,
            r#"{"schema_version":1,"reason":"bored"}"#,
            "{\"schema_version\":1,\"reason\":\"revoked\",\"contact\":\"\\u001b[2J\"}",
        ] {
            assert_eq!(Refusal::parse(text.as_bytes()), None, "{text}");
        }
        let long = Refusal::new(Reason::Revoked, Some(&"x".repeat(MAX_CONTACT_CHARS + 1)));
        assert_eq!(Refusal::parse(&long.to_bytes()), None);
        assert_eq!(Refusal::parse(&vec![b' '; MAX_BYTES + 1]), None);
    }
}
