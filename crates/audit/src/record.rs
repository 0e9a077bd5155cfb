//! One line of the audit log and its text.
//!
//! ```json
//! {"chain":"gateway/gw-1","destination":{"address":"192.168.10.21","port":1433,"server":"rec01"},"count":3,
//!  "first":"…","gateway":"gw-1","kind":"flow.denied","last":"…","policy":"…","protocol":"tcp",
//!  "reason":"never-expose","schema_version":1,"seq":42,"session":{"client":"…","id":"…",…},
//!  "source":"10.99.0.2","time":"2026-03-01T09:30:00.125Z"}
//! ```
//!
//! `schema_version`, `chain`, `seq`, `time`, `kind`, and where they apply `gateway` and `policy`, are in every record;
//! the others belong to the kind (see [`crate::event`]). New members and new kinds may appear within one schema
//! version; a member never changes its meaning.

use serde_json::{Map, Value};

use crate::{canonical, chain::Chain, event::Event, text::Label, time::UtcTime};

/// The version of the text that this program writes, and the newest that it reads.
pub const SCHEMA_VERSION: u64 = 1;

/// What happened, when, and under which policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub time: UtcTime,
    /// The policy version in force.
    pub policy: Option<Label>,
    pub event: Event,
}

/// A record with its place in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub chain: Chain,
    /// From 1, without gaps.
    pub seq: u64,
    pub record: Record,
}

impl Record {
    pub fn new(time: UtcTime, event: Event) -> Self {
        Self { time, policy: None, event }
    }

    pub fn under_policy(self, version: Label) -> Self {
        Self { policy: Some(version), ..self }
    }
}

impl Entry {
    /// The canonical text: what is stored, hashed and exported.
    pub fn to_text(&self) -> String {
        let mut members = self.record.event.fields();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("schema_version", SCHEMA_VERSION.into());
        put("chain", self.chain.as_str().into());
        put("seq", self.seq.into());
        put("time", self.record.time.to_string().into());
        put("kind", self.record.event.kind().as_str().into());
        if let Some(gateway) = self.chain.gateway_name() {
            put("gateway", gateway.into());
        }
        if let Some(policy) = &self.record.policy {
            put("policy", policy.as_str().into());
        }
        canonical::to_string(&Value::Object(members))
            .unwrap_or_else(|float| unreachable!("records are made of integers only: {float}"))
    }

    /// Reads a record back. An unknown kind is kept ([`Event::Unknown`]), an unknown member is passed over.
    ///
    /// # Errors
    /// [`ParseError`] for text that is not a record, or one of a newer schema version.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_BYTES {
            return Err(ParseError::TooLong { bytes: text.len() });
        }
        let value: Value = serde_json::from_str(text).map_err(ParseError::Json)?;
        canonical::to_string(&value)?;
        let Value::Object(mut members) = value else { return Err(ParseError::NotAnObject) };

        match take(&mut members, "schema_version")?.as_u64() {
            Some(SCHEMA_VERSION) => {}
            Some(version) => return Err(ParseError::Version(version)),
            None => return Err(ParseError::Member("schema_version")),
        }
        let seq = take(&mut members, "seq")?.as_u64().ok_or(ParseError::Member("seq"))?;
        let chain =
            Chain::from_name(&take_text(&mut members, "chain")?).ok_or(ParseError::Member("chain"))?;
        let time = take_text(&mut members, "time")?.parse().map_err(|_| ParseError::Member("time"))?;
        let kind = take_text(&mut members, "kind")?;
        let policy = match members.remove("policy") {
            None => None,
            Some(Value::String(version)) => Some(Label::new(&version)),
            Some(_) => return Err(ParseError::Member("policy")),
        };
        members.remove("gateway");
        let event = Event::from_fields(&kind, members)
            .map_err(|source| ParseError::Event { kind: Label::new(&kind), source })?;
        Ok(Self { chain, seq, record: Record { time, policy, event } })
    }
}

/// Above the largest record that this program can write (two snapshots and its own few labels).
const MAX_BYTES: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("a record of {bytes} bytes is longer than any that was written")]
    TooLong { bytes: usize },
    #[error("not JSON")]
    Json(#[source] serde_json::Error),
    #[error("not a JSON object")]
    NotAnObject,
    #[error(transparent)]
    Float(#[from] canonical::NotAnInteger),
    #[error("member `{0}` is missing or malformed")]
    Member(&'static str),
    #[error("schema version {0} is newer than this program (it reads version {SCHEMA_VERSION})")]
    Version(u64),
    #[error("malformed `{kind}` record")]
    Event { kind: Label, source: serde_json::Error },
}

fn take(members: &mut Map<String, Value>, name: &'static str) -> Result<Value, ParseError> {
    members.remove(name).ok_or(ParseError::Member(name))
}

fn take_text(members: &mut Map<String, Value>, name: &'static str) -> Result<String, ParseError> {
    match take(members, name)? {
        Value::String(text) => Ok(text),
        _ => Err(ParseError::Member(name)),
    }
}
