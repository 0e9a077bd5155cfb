//! A record on its way out: its text, and what the formats want to know about it.

use serde_json::Value;
use vmsgate_audit::{Chain, StoredEntry, UtcTime};

/// A record as it is in the store, and the members that a receiver can filter by.
///
/// Only looked at, never judged: a record that was altered is shipped as it is. Whether the log is genuine is what
/// `vmsgate audit verify` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub chain: Chain,
    pub seq: u64,
    /// The canonical text.
    pub text: String,
    /// None if the text does not say.
    pub time: Option<UtcTime>,
    pub kind: String,
    pub session: Option<String>,
    pub client: Option<String>,
    pub operator: Option<String>,
}

/// The syslog severities in use (RFC 5424, section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// The kind of a text that is no record.
const UNREADABLE: &str = "unreadable";

impl Outgoing {
    pub fn read(chain: &Chain, entry: StoredEntry) -> Self {
        let record: Value = serde_json::from_str(&entry.text).unwrap_or_default();
        let member = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            chain: chain.clone(),
            seq: entry.seq,
            time: member("/time").and_then(|time| time.parse().ok()),
            kind: member("/kind").unwrap_or_else(|| UNREADABLE.to_owned()),
            session: member("/session/id"),
            client: member("/session/client").or_else(|| member("/client")),
            operator: member("/session/operator").or_else(|| member("/actor")),
            text: entry.text,
        }
    }

    pub fn severity(&self) -> Severity {
        match self.kind.as_str() {
            "audit.gap" | UNREADABLE => Severity::Error,
            "flow.denied" | "handshake.rejected" | "gateway.clock-stepped" => Severity::Warning,
            kind if kind.starts_with("admin.") => Severity::Notice,
            _ => Severity::Info,
        }
    }
}

#[cfg(test)]
pub(super) fn example(seq: u64, text: &str) -> Outgoing {
    Outgoing::read(&Chain::gateway("gw-1"), StoredEntry { seq, text: text.to_owned(), hash: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_to_filter_by_are_found_in_every_kind() {
        let flow = example(
            7,
            r#"{"kind":"flow.denied","session":{"client":"anna","id":"0189","operator":"Anna Berg"},"time":"2026-03-01T09:30:00.125Z"}"#,
        );
        assert_eq!(flow.time.unwrap().to_string(), "2026-03-01T09:30:00.125Z");
        assert_eq!(flow.session.as_deref(), Some("0189"));
        assert_eq!((flow.client.as_deref(), flow.operator.as_deref()), (Some("anna"), Some("Anna Berg")));
        assert_eq!(flow.severity(), Severity::Warning);

        let admin = example(1, r#"{"actor":"alice (uid 1000)","kind":"admin.client.add"}"#);
        assert_eq!(admin.operator.as_deref(), Some("alice (uid 1000)"));
        assert_eq!(admin.severity(), Severity::Notice);
        assert_eq!(example(1, r#"{"kind":"audit.gap"}"#).severity(), Severity::Error);
        assert_eq!(example(1, r#"{"kind":"session.opened"}"#).severity(), Severity::Info);
    }

    #[test]
    fn what_is_no_record_is_still_shipped() {
        for text in ["", "not JSON", "[1]", r#"{"kind":5,"time":"yesterday","session":"x"}"#] {
            let outgoing = example(9, text);
            assert_eq!((outgoing.text.as_str(), outgoing.kind.as_str()), (text, UNREADABLE));
            assert_eq!((outgoing.time, outgoing.severity()), (None, Severity::Error));
        }
    }
}
