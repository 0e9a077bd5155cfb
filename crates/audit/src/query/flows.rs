use std::net::SocketAddr;

use serde::Serialize;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{Filter, Listing, select::Select};
use crate::{
    db::Database,
    event::{Event, FlowClosed, FlowOpened},
    index,
    record::Entry,
    store::StoreError,
    subject::{Destination, HostPort, Protocol, Tls, Traffic},
    text::{Fingerprint, Label, Reason},
    time::UtcTime,
};

/// One flow, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowRow {
    pub session: Uuid,
    /// The flow's number within its session.
    pub flow: u64,
    pub gateway: Label,
    pub client: Label,
    pub operator: Label,
    pub role: Label,
    pub key: Fingerprint,
    /// Where the client came from on the internet.
    pub source: SocketAddr,
    pub protocol: Protocol,
    /// The client's side inside the tunnel.
    pub tunnel_source: HostPort,
    pub destination: Destination,
    /// The gateway's side on the recording network: what the VMS's own log shows as the user's location.
    pub lan_source: Option<HostPort>,
    pub opened: UtcTime,
    /// None while it is open.
    pub ended: Option<UtcTime>,
    pub reason: Option<Reason>,
    /// What a TCP connection that has ended was seen to carry.
    pub tls: Option<Tls>,
    pub last_seen: UtcTime,
    pub traffic: Traffic,
    pub policy: Option<Label>,
}

pub async fn flows(db: &Database, filter: &Filter) -> Result<Listing<FlowRow>, StoreError> {
    select(filter).list(db, filter.limit, to_row).await
}

/// All of them, whatever the limit; answers how many records could not be read.
pub async fn each_flow(db: &Database, filter: &Filter, take: impl FnMut(FlowRow)) -> Result<u64, StoreError> {
    select(filter).each(db, to_row, take).await
}

pub(super) fn select(filter: &Filter) -> Select {
    let select = match filter.session {
        // The flows of one session lie side by side, in the order of their numbers: by computing something, the other
        // conditions keep away from their own indexes.
        Some(session) => columns()
            .and_session("i.session = ?", Some(session))
            .and_time("i.ended_ms + 0 >= ?", filter.since)
            .and_time("i.opened_ms < ?", filter.until)
            .and_name("i.client || '' = ?", filter.client.as_ref())
            .and_name("i.operator || '' = ?", filter.operator.as_ref())
            .and_name("i.server || '' = ?", filter.server.as_ref()),
        None => columns()
            .and_time("i.ended_ms >= ?", filter.since)
            .and_time("i.opened_ms < ?", filter.until)
            .and_name("i.client = ?", filter.client.as_ref())
            .and_name("i.operator = ?", filter.operator.as_ref())
            .and_name("i.server = ?", filter.server.as_ref()),
    };
    let order = match filter.session {
        Some(_) => "i.flow DESC",
        None => "i.ended_ms DESC, i.opened_ms DESC",
    };
    select.and_reason(r"r.body LIKE ? ESCAPE '\'", filter.reason.as_ref()).order_by(order)
}

macro_rules! select_from {
    ($tables:literal, $condition:literal) => {
        Select::new(concat!(
            "SELECT i.chain, i.last_seq AS seq, i.opened_ms, i.ended_ms, i.last_seen_ms, i.from_client_bytes,
                i.from_client_packets, i.to_client_bytes, i.to_client_packets, r.body
             FROM ",
            $tables,
            " LEFT JOIN audit_record r ON r.chain = i.chain AND r.seq = i.last_seq WHERE ",
            $condition
        ))
    };
}

/// What [`to_row`] reads, of flows.
pub(super) fn columns() -> Select {
    select_from!("audit_flow i", "1 = 1")
}

/// What [`to_row`] reads, of the flows of sessions `s`; in this order, which is what a cross join is for.
pub(super) fn columns_by_session() -> Select {
    select_from!("audit_session s CROSS JOIN audit_flow i", "i.session = s.session")
}

pub(super) fn to_row(row: &AnyRow, entry: Entry) -> Result<Option<FlowRow>, sqlx::Error> {
    let gateway = Label::new(entry.chain.gateway_name().unwrap_or_default());
    let policy = entry.record.policy;
    let (session, flow, reason, tls) = match entry.record.event {
        Event::FlowOpened(FlowOpened { session, flow }) => (session, flow, None, None),
        Event::FlowClosed(FlowClosed { session, flow, reason, tls, .. }) => {
            (session, flow, Some(reason), tls)
        }
        _ => return Ok(None),
    };
    let index::Times { opened, ended, last_seen, traffic } = index::read_times(row)?;
    Ok(Some(FlowRow {
        session: session.id,
        flow: flow.id,
        gateway,
        client: session.client.clone(),
        operator: session.operator.clone(),
        role: session.role.clone(),
        key: session.key.clone(),
        source: session.source,
        protocol: flow.protocol,
        tunnel_source: flow.source,
        destination: flow.destination,
        lan_source: flow.lan_source,
        opened,
        ended,
        reason,
        tls,
        last_seen,
        traffic,
        policy,
    }))
}
