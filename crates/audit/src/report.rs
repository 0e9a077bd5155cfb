//! What a report on a period is made of: people, sessions, traffic, servers, refusals, administrative acts.
//!
//! One walk over the sessions, one over the flows and one over the refusals of the period, added up as they come:
//! memory grows with the number of people, servers and sessions, not with that of the flows. How it looks is not said
//! here.
//!
//! Sessions and flows that reach beyond the period count with their part within it; the bytes of a flow are taken as
//! spread evenly over its duration, because a record tells their sum alone.

mod acts;
mod gather;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    db::Database,
    query::{self, Filter},
    store::StoreError,
    subject::{Destination, Protocol},
    text::{Label, Reason, Snapshot},
    time::UtcTime,
};

pub use self::traffic::{Bytes, TrafficOverTime};

/// What a report is about. What is none does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scope {
    pub since: UtcTime,
    /// Not included.
    pub until: UtcTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<Label>,
    /// The name of a server, or the address of a machine that is no configured server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Label>,
}

#[derive(Debug)]
pub struct Report {
    pub scope: Scope,
    /// By the name of the operator.
    pub people: BTreeMap<Label, Person>,
    /// By the name of the client.
    pub clients: BTreeMap<Label, Presence>,
    pub traffic: TrafficOverTime,
    /// By server and service.
    pub reached: BTreeMap<(String, Option<Label>), Reached>,
    pub denials: BTreeMap<Denied, Denials>,
    /// Attempts beyond the kinds of refusals that are told apart.
    pub other_denials: u64,
    /// The newest, in order; reads of the log are apart.
    pub acts: Vec<Act>,
    /// Acts that are not listed because newer ones are.
    pub older_acts: u64,
    /// Reads and exports of the log, by who and what.
    pub reads: BTreeMap<(Label, Label), u64>,
    /// Records that are missing or were altered.
    pub unreadable: u64,
}

/// One operator.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub clients: BTreeSet<Label>,
    pub roles: BTreeSet<Label>,
    pub sessions: u64,
    /// How long its sessions lasted, added up.
    pub connected_ms: u64,
    pub bytes: Bytes,
}

/// When a client was connected.
#[derive(Debug, PartialEq, Eq)]
pub struct Presence {
    pub operator: Label,
    pub connected_ms: u64,
    /// The part of each session within the period.
    pub spans: Vec<(UtcTime, UtcTime)>,
}

/// A service of a server, or an address that is no configured server.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reached {
    pub flows: u64,
    pub operators: BTreeSet<Label>,
    pub bytes: Bytes,
    /// TCP connections seen to carry TLS.
    pub encrypted: u64,
    /// TCP connections seen to carry something else.
    pub clear_text: u64,
}

/// What tells refusals apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    pub client: Label,
    pub operator: Label,
    /// The server's name or address, and the port if it was one.
    pub destination: String,
    pub reason: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Denials {
    pub attempts: u64,
    pub first: UtcTime,
    pub last: UtcTime,
    pub rule: Option<Label>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub time: UtcTime,
    pub actor: Label,
    pub act: Label,
    pub object: Label,
    pub before: Option<Snapshot>,
    pub after: Option<Snapshot>,
}

impl Report {
    /// Reads all that the report tells. `now` ends what is still open.
    pub async fn gather(db: &Database, scope: Scope, now: UtcTime) -> Result<Self, StoreError> {
        let filter = Filter {
            since: Some(scope.since),
            until: Some(scope.until),
            client: scope.client.clone(),
            operator: scope.operator.clone(),
            server: scope.server.clone(),
            ..Filter::default()
        };
        let mut report = Self::empty(scope);
        let mut unreadable = query::each_session(db, &filter, |row| report.add_session(row, now)).await?;
        unreadable += query::each_flow(db, &filter, |row| report.add_flow(row, now)).await?;
        unreadable += query::each_denial(db, &filter, |row| report.add_denial(row)).await?;
        report.add_acts(db).await?;
        report.unreadable += unreadable;
        Ok(report)
    }

    fn empty(scope: Scope) -> Self {
        Self {
            traffic: TrafficOverTime::new(scope.since, scope.until),
            scope,
            people: BTreeMap::new(),
            clients: BTreeMap::new(),
            reached: BTreeMap::new(),
            denials: BTreeMap::new(),
            other_denials: 0,
            acts: Vec::new(),
            older_acts: 0,
            reads: BTreeMap::new(),
            unreadable: 0,
        }
    }
}

/// `tcp/1433 on mgmt`
fn place(protocol: Protocol, destination: &Destination) -> String {
    let port = destination.port.map(|port| format!("/{port}")).unwrap_or_default();
    format!("{protocol}{port} on {}", crate::index::server_key(destination))
}

fn word(reason: &Reason) -> String {
    reason.as_str().to_owned()
}
