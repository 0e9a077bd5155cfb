use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{Filter, Listing, select::Select};
use crate::{
    db::Database,
    event::{Event, SessionClosed, SessionOpened, SessionRoamed},
    index,
    record::Entry,
    store::StoreError,
    subject::{SessionSubject, Traffic},
    text::{Fingerprint, Label, Reason},
    time::UtcTime,
};

/// One session, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionRow {
    pub session: Uuid,
    pub gateway: Label,
    pub client: Label,
    pub operator: Label,
    pub role: Label,
    pub key: Fingerprint,
    /// Where the client came from last.
    pub source: SocketAddr,
    pub tunnel: Vec<IpAddr>,
    pub opened: UtcTime,
    /// None while it is open.
    pub ended: Option<UtcTime>,
    pub reason: Option<Reason>,
    pub last_seen: UtcTime,
    pub traffic: Traffic,
    /// The policy version of its latest record.
    pub policy: Option<Label>,
    /// The session before a restart of the gateway that it takes up.
    pub continues: Option<Uuid>,
}

pub async fn sessions(db: &Database, filter: &Filter) -> Result<Listing<SessionRow>, StoreError> {
    select(filter).list(db, filter.limit, to_row).await
}

/// All of them, whatever the limit; answers how many records could not be read.
pub(crate) async fn each_session(
    db: &Database,
    filter: &Filter,
    take: impl FnMut(SessionRow),
) -> Result<u64, StoreError> {
    select(filter).each(db, to_row, take).await
}

pub(super) fn select(filter: &Filter) -> Select {
    Select::new(
        "SELECT i.chain, i.last_seq AS seq, i.opened_ms, i.ended_ms, i.last_seen_ms, i.from_client_bytes,
            i.from_client_packets, i.to_client_bytes, i.to_client_packets, r.body
         FROM audit_session i LEFT JOIN audit_record r ON r.chain = i.chain AND r.seq = i.last_seq
         WHERE 1 = 1",
    )
    .and_time("i.ended_ms >= ?", filter.since)
    .and_time("i.opened_ms < ?", filter.until)
    .and_name("i.client = ?", filter.client.as_ref())
    .and_name("i.operator = ?", filter.operator.as_ref())
    .and_name(
        "EXISTS (SELECT 1 FROM audit_flow f WHERE f.session = i.session AND f.server = ?)",
        filter.server.as_ref(),
    )
    .and_session("i.session = ?", filter.session)
    .and_reason(r"r.body LIKE ? ESCAPE '\'", filter.reason.as_ref())
    .order_by("i.ended_ms DESC, i.opened_ms DESC")
}

fn to_row(row: &AnyRow, entry: Entry) -> Result<Option<SessionRow>, sqlx::Error> {
    let gateway = Label::new(entry.chain.gateway_name().unwrap_or_default());
    let policy = entry.record.policy;
    let (session, reason, continues) = match entry.record.event {
        Event::SessionOpened(SessionOpened { session, continues }) => (session, None, continues),
        Event::SessionRoamed(SessionRoamed { session, continues, .. }) => (session, None, continues),
        Event::SessionClosed(SessionClosed { session, reason, continues, .. }) => {
            (session, Some(reason), continues)
        }
        _ => return Ok(None),
    };
    let SessionSubject { id, client, operator, role, key, source, tunnel } = (*session).clone();
    let index::Times { opened, ended, last_seen, traffic } = index::read_times(row)?;
    Ok(Some(SessionRow {
        session: id,
        gateway,
        client,
        operator,
        role,
        key,
        source,
        tunnel,
        opened,
        ended,
        reason,
        last_seen,
        traffic,
        policy,
        continues,
    }))
}
