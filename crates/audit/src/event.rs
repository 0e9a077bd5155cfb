//! What can happen. One variant per kind of record, with exactly the fields of that kind.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    chain::Hash,
    checkpoint::Checkpoint,
    ports::Ports,
    subject::{Destination, FlowSubject, Protocol, SessionSubject, Tls, Traffic},
    text::{Label, Reason, Snapshot},
    time::UtcTime,
    tombstone::Tombstone,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    SessionOpened(SessionOpened),
    SessionRoamed(SessionRoamed),
    SessionClosed(SessionClosed),
    SessionLimited(SessionLimited),
    FlowOpened(FlowOpened),
    FlowClosed(FlowClosed),
    FlowDenied(FlowDenied),
    HandshakeRejected(HandshakeRejected),
    /// The kind of the record is `admin.` and the act.
    Admin(Admin),
    GatewayStarted(GatewayStarted),
    GatewayStopped(GatewayStopped),
    GatewayConfig(GatewayConfig),
    ConfigRefused(ConfigRefused),
    ClockStepped(ClockStepped),
    Gap(Gap),
    Checkpoint(Checkpoint),
    Tombstone(Tombstone),
    /// A kind that a later version wrote: kept as it is, so that an older program still reads the whole log.
    Unknown(Unknown),
}

/// The first authenticated handshake of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    pub session: Arc<SessionSubject>,
    /// The session that a restart of the gateway interrupted and this one takes up, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Uuid>,
}

/// The client now comes from another address; `session.source` is the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRoamed {
    pub session: Arc<SessionSubject>,
    pub previous_source: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Uuid>,
}

/// Self-contained: this record alone tells the whole session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClosed {
    pub session: Arc<SessionSubject>,
    pub reason: Reason,
    pub opened: UtcTime,
    pub duration_ms: u64,
    pub traffic: Traffic,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Uuid>,
}

/// A limit of bandwidth held packets of the session up, up to a minute's worth of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimited {
    pub session: Arc<SessionSubject>,
    /// Which limit: `bandwidth-up`, `bandwidth-down`.
    pub reason: Reason,
    /// The configuration's words for it.
    pub rule: Label,
    /// How many times: packets that were dropped, and waits of flows.
    pub count: u64,
    pub first: UtcTime,
    pub last: UtcTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowOpened {
    pub session: Arc<SessionSubject>,
    pub flow: FlowSubject,
}

/// Self-contained: this record alone tells the whole flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowClosed {
    pub session: Arc<SessionSubject>,
    pub flow: FlowSubject,
    pub reason: Reason,
    pub opened: UtcTime,
    pub duration_ms: u64,
    pub traffic: Traffic,
    /// What a TCP connection was seen to carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Attempts that policy refused, all of one session and destination within ten seconds.
///
/// `destination.port` is set when it was one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowDenied {
    pub session: Arc<SessionSubject>,
    pub protocol: Protocol,
    /// The client's address inside the tunnel.
    pub source: IpAddr,
    pub destination: Destination,
    /// Every port that was tried: one, or those of a scan; none for protocols without ports.
    #[serde(default, skip_serializing_if = "Ports::is_empty")]
    pub ports: Ports,
    pub count: u64,
    pub first: UtcTime,
    pub last: UtcTime,
    pub reason: Reason,
    /// The rule that decided; none when nothing allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Label>,
    /// The nearest rule that would have allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Label>,
}

/// Handshakes that failed, all from one address within ten seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeRejected {
    pub source: IpAddr,
    pub count: u64,
    pub first: UtcTime,
    pub last: UtcTime,
    pub reason: Reason,
    /// Set when the key belongs to a client that may not connect (suspended, revoked, expired).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Label>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    /// What was done, e.g. `client.add`; becomes part of the kind.
    #[serde(skip)]
    pub act: Label,
    /// Who did it, e.g. `alice (uid 1000)`.
    pub actor: Label,
    /// To what, e.g. the name of the client.
    pub object: Label,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Snapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Snapshot>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStarted {
    pub version: Label,
    pub listen: Vec<SocketAddr>,
    /// SHA-256 of the configuration file; none if there was no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<Hash>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStopped {
    pub reason: Reason,
}

/// Another configuration is in force; the record's policy version is the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayConfig {
    pub previous_policy: Label,
    /// Live flows that the new policy no longer allows and that were cut.
    pub flows_cut: u64,
    /// SHA-256 of the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<Hash>,
}

/// Somebody tried to put a configuration in force that cannot be used; the old one stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRefused {
    pub errors: u64,
    /// The first of them.
    pub error: Label,
    /// SHA-256 of the refused file; none if it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<Hash>,
}

/// The wall clock was set, by hand or by a time service: times before and after it do not compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStepped {
    /// What the clock would have shown had it just gone on.
    pub expected: UtcTime,
    pub found: UtcTime,
}

/// Records that could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub missing: u64,
    pub first: UtcTime,
    pub last: UtcTime,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    kind: Label,
    fields: Map<String, Value>,
}

const ADMIN: &str = "admin.";

impl Event {
    pub fn kind(&self) -> Label {
        Label::new(match self {
            Self::SessionOpened(_) => "session.opened",
            Self::SessionRoamed(_) => "session.roamed",
            Self::SessionClosed(_) => "session.closed",
            Self::SessionLimited(_) => "session.limited",
            Self::FlowOpened(_) => "flow.opened",
            Self::FlowClosed(_) => "flow.closed",
            Self::FlowDenied(_) => "flow.denied",
            Self::HandshakeRejected(_) => "handshake.rejected",
            Self::Admin(admin) => return Label::new(&format!("{ADMIN}{}", admin.act)),
            Self::GatewayStarted(_) => "gateway.started",
            Self::GatewayStopped(_) => "gateway.stopped",
            Self::GatewayConfig(_) => "gateway.config",
            Self::ConfigRefused(_) => "gateway.config-refused",
            Self::ClockStepped(_) => "gateway.clock-stepped",
            Self::Gap(_) => "audit.gap",
            Self::Checkpoint(_) => "audit.checkpoint",
            Self::Tombstone(_) => "audit.tombstone",
            Self::Unknown(unknown) => return unknown.kind.clone(),
        })
    }

    pub fn session(&self) -> Option<&SessionSubject> {
        match self {
            Self::SessionOpened(SessionOpened { session, .. })
            | Self::SessionRoamed(SessionRoamed { session, .. })
            | Self::SessionClosed(SessionClosed { session, .. })
            | Self::SessionLimited(SessionLimited { session, .. })
            | Self::FlowOpened(FlowOpened { session, .. })
            | Self::FlowClosed(FlowClosed { session, .. })
            | Self::FlowDenied(FlowDenied { session, .. }) => Some(session),
            _ => None,
        }
    }

    pub fn destination(&self) -> Option<&Destination> {
        match self {
            Self::FlowOpened(FlowOpened { flow, .. }) | Self::FlowClosed(FlowClosed { flow, .. }) => {
                Some(&flow.destination)
            }
            Self::FlowDenied(denied) => Some(&denied.destination),
            _ => None,
        }
    }

    /// The members of the record that belong to this kind.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        match self {
            Self::SessionOpened(event) => object(event),
            Self::SessionRoamed(event) => object(event),
            Self::SessionClosed(event) => object(event),
            Self::SessionLimited(event) => object(event),
            Self::FlowOpened(event) => object(event),
            Self::FlowClosed(event) => object(event),
            Self::FlowDenied(event) => object(event),
            Self::HandshakeRejected(event) => object(event),
            Self::Admin(event) => object(event),
            Self::GatewayStarted(event) => object(event),
            Self::GatewayStopped(event) => object(event),
            Self::GatewayConfig(event) => object(event),
            Self::ConfigRefused(event) => object(event),
            Self::ClockStepped(event) => object(event),
            Self::Gap(event) => object(event),
            Self::Checkpoint(event) => object(event),
            Self::Tombstone(event) => object(event),
            Self::Unknown(unknown) => unknown.fields.clone(),
        }
    }

    pub(crate) fn from_fields(kind: &str, fields: Map<String, Value>) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            "session.opened" => Self::SessionOpened(parse(fields)?),
            "session.roamed" => Self::SessionRoamed(parse(fields)?),
            "session.closed" => Self::SessionClosed(parse(fields)?),
            "session.limited" => Self::SessionLimited(parse(fields)?),
            "flow.opened" => Self::FlowOpened(parse(fields)?),
            "flow.closed" => Self::FlowClosed(parse(fields)?),
            "flow.denied" => Self::FlowDenied(parse(fields)?),
            "handshake.rejected" => Self::HandshakeRejected(parse(fields)?),
            "gateway.started" => Self::GatewayStarted(parse(fields)?),
            "gateway.stopped" => Self::GatewayStopped(parse(fields)?),
            "gateway.config" => Self::GatewayConfig(parse(fields)?),
            "gateway.config-refused" => Self::ConfigRefused(parse(fields)?),
            "gateway.clock-stepped" => Self::ClockStepped(parse(fields)?),
            "audit.gap" => Self::Gap(parse(fields)?),
            "audit.checkpoint" => Self::Checkpoint(parse(fields)?),
            "audit.tombstone" => Self::Tombstone(parse(fields)?),
            other => match other.strip_prefix(ADMIN) {
                Some(act) => Self::Admin(Admin { act: Label::new(act), ..parse(fields)? }),
                None => Self::Unknown(Unknown { kind: Label::new(other), fields }),
            },
        })
    }
}

fn object(event: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(event) {
        Ok(Value::Object(members)) => members,
        other => unreachable!("derived structs with string names always become objects, not {other:?}"),
    }
}

fn parse<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::Object(fields))
}
