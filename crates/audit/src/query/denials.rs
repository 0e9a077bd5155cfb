use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use uuid::Uuid;

use super::{Filter, Listing, select::Select};
use crate::{
    db::Database,
    event::Event,
    ports::Ports,
    record::Entry,
    store::StoreError,
    subject::{Destination, Protocol},
    text::{Fingerprint, Label, Reason},
    time::UtcTime,
};

/// Attempts that policy refused, counted per session and destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DenialRow {
    pub session: Uuid,
    pub gateway: Label,
    pub client: Label,
    pub operator: Label,
    pub role: Label,
    pub key: Fingerprint,
    /// Where the client came from on the internet.
    pub source: SocketAddr,
    pub protocol: Protocol,
    /// The client's address inside the tunnel.
    pub tunnel_source: IpAddr,
    pub destination: Destination,
    /// Every port that was tried; `destination.port` is set when it was one.
    pub ports: Ports,
    pub count: u64,
    pub first: UtcTime,
    pub last: UtcTime,
    pub reason: Reason,
    pub rule: Option<Label>,
    pub nearest: Option<Label>,
    pub policy: Option<Label>,
}

pub async fn denials(db: &Database, filter: &Filter) -> Result<Listing<DenialRow>, StoreError> {
    select(filter).list(db, filter.limit, |_, entry| Ok(to_row(entry))).await
}

/// All of them, whatever the limit; answers how many records could not be read.
pub async fn each_denial(
    db: &Database,
    filter: &Filter,
    take: impl FnMut(DenialRow),
) -> Result<u64, StoreError> {
    select(filter).each(db, |_, entry| Ok(to_row(entry)), take).await
}

pub(super) fn select(filter: &Filter) -> Select {
    // The kind as a literal: only so does it match the condition of the partial indexes.
    Select::new("SELECT chain, seq, body FROM audit_record WHERE kind = 'flow.denied'")
        .and_time("time_ms >= ?", filter.since)
        .and_time("time_ms < ?", filter.until)
        .and_name("client = ?", filter.client.as_ref())
        .and_name("operator = ?", filter.operator.as_ref())
        .and_name("server = ?", filter.server.as_ref())
        .and_session("session = ?", filter.session)
        .and_reason(r"body LIKE ? ESCAPE '\'", filter.reason.as_ref())
        .order_by("time_ms DESC, seq DESC")
}

fn to_row(entry: Entry) -> Option<DenialRow> {
    let gateway = Label::new(entry.chain.gateway_name().unwrap_or_default());
    let policy = entry.record.policy;
    let Event::FlowDenied(denied) = entry.record.event else { return None };
    Some(DenialRow {
        session: denied.session.id,
        gateway,
        client: denied.session.client.clone(),
        operator: denied.session.operator.clone(),
        role: denied.session.role.clone(),
        key: denied.session.key.clone(),
        source: denied.session.source,
        protocol: denied.protocol,
        tunnel_source: denied.source,
        destination: denied.destination,
        ports: denied.ports,
        count: denied.count,
        first: denied.first,
        last: denied.last,
        reason: denied.reason,
        rule: denied.rule,
        nearest: denied.nearest,
        policy,
    })
}
