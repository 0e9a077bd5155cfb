//! The tables that sessions and flows are found by. They hold nothing that the records do not say, but for the
//! counters of what is still open.

use sqlx::{AnyConnection, Row, any::AnyRow};
use uuid::Uuid;

use crate::{
    event::{Event, FlowClosed, FlowOpened, SessionClosed, SessionOpened, SessionRoamed},
    record::Entry,
    store::{to_i64, to_u64},
    subject::{Destination, FlowSubject, SessionSubject, Traffic, Volume},
    time::UtcTime,
};

/// `ended_ms` of a session or flow that is still open.
pub(crate) const OPEN: i64 = i64::MAX;

/// What the index calls a destination: the server's name, or the address of a machine that is no configured server.
pub(crate) fn server_key(destination: &Destination) -> String {
    match &destination.server {
        Some(name) => name.as_str().to_owned(),
        None => destination.address.to_string(),
    }
}

/// Brings the index up to date with one new record.
pub(crate) async fn follow(tx: &mut AnyConnection, entry: &Entry) -> Result<(), sqlx::Error> {
    let time = entry.record.time;
    match &entry.record.event {
        Event::SessionOpened(SessionOpened { session, .. }) => {
            put_session(tx, entry, session, Span::open(time), Traffic::default()).await
        }
        Event::SessionRoamed(SessionRoamed { session, .. }) => {
            sqlx::query("UPDATE audit_session SET last_seq = $1, last_seen_ms = $2 WHERE session = $3")
                .bind(to_i64(entry.seq))
                .bind(time.unix_ms())
                .bind(session.id.to_string())
                .execute(tx)
                .await
                .map(drop)
        }
        Event::SessionClosed(SessionClosed { session, opened, duration_ms, traffic, .. }) => {
            put_session(tx, entry, session, Span::closed(*opened, *duration_ms), *traffic).await
        }
        Event::FlowOpened(FlowOpened { session, flow }) => {
            put_flow(tx, entry, session, flow, Span::open(time), Traffic::default()).await
        }
        Event::FlowClosed(FlowClosed { session, flow, opened, duration_ms, traffic, .. }) => {
            put_flow(tx, entry, session, flow, Span::closed(*opened, *duration_ms), *traffic).await
        }
        _ => Ok(()),
    }
}

/// Notes the counters of an open session, or of one of its open flows.
pub(crate) async fn note_progress(
    tx: &mut AnyConnection,
    (session, flow): (Uuid, Option<u64>),
    seen: UtcTime,
    traffic: Traffic,
) -> Result<(), sqlx::Error> {
    let sql = match flow {
        None => {
            "UPDATE audit_session SET last_seen_ms = $1, from_client_bytes = $2, from_client_packets = $3,
                to_client_bytes = $4, to_client_packets = $5
             WHERE session = $6 AND ended_ms = $7"
        }
        Some(_) => {
            "UPDATE audit_flow SET last_seen_ms = $1, from_client_bytes = $2, from_client_packets = $3,
                to_client_bytes = $4, to_client_packets = $5
             WHERE session = $6 AND ended_ms = $7 AND flow = $8"
        }
    };
    let query = sqlx::query(sql)
        .bind(seen.unix_ms())
        .bind(to_i64(traffic.from_client.bytes))
        .bind(to_i64(traffic.from_client.packets))
        .bind(to_i64(traffic.to_client.bytes))
        .bind(to_i64(traffic.to_client.packets))
        .bind(session.to_string())
        .bind(OPEN);
    let query = match flow {
        None => query,
        Some(flow) => query.bind(to_i64(flow)),
    };
    query.execute(tx).await.map(drop)
}

/// What an index row says of its session or flow.
pub(crate) struct Times {
    pub(crate) opened: UtcTime,
    pub(crate) ended: Option<UtcTime>,
    pub(crate) last_seen: UtcTime,
    pub(crate) traffic: Traffic,
}

pub(crate) fn read_times(row: &AnyRow) -> Result<Times, sqlx::Error> {
    let number = |column| row.try_get::<i64, _>(column);
    let volume = |bytes, packets| -> Result<_, sqlx::Error> {
        Ok(Volume { bytes: to_u64(number(bytes)?), packets: to_u64(number(packets)?) })
    };
    let ended_ms = number("ended_ms")?;
    Ok(Times {
        opened: UtcTime::from_unix_ms(number("opened_ms")?),
        ended: (ended_ms != OPEN).then(|| UtcTime::from_unix_ms(ended_ms)),
        last_seen: UtcTime::from_unix_ms(number("last_seen_ms")?),
        traffic: Traffic {
            from_client: volume("from_client_bytes", "from_client_packets")?,
            to_client: volume("to_client_bytes", "to_client_packets")?,
        },
    })
}

struct Span {
    opened_ms: i64,
    ended_ms: i64,
    last_seen_ms: i64,
}

impl Span {
    fn open(time: UtcTime) -> Self {
        Self { opened_ms: time.unix_ms(), ended_ms: OPEN, last_seen_ms: time.unix_ms() }
    }

    /// From what the closing record says, not from its own time: after a crash it is written at the next start.
    fn closed(opened: UtcTime, duration_ms: u64) -> Self {
        let opened_ms = opened.unix_ms();
        let ended_ms = opened_ms.saturating_add(to_i64(duration_ms)).min(OPEN - 1);
        Self { opened_ms, ended_ms, last_seen_ms: ended_ms }
    }
}

async fn put_session(
    tx: &mut AnyConnection,
    entry: &Entry,
    session: &SessionSubject,
    span: Span,
    traffic: Traffic,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit_session (session, chain, last_seq, client, operator, opened_ms, ended_ms, last_seen_ms,
            from_client_bytes, from_client_packets, to_client_bytes, to_client_packets)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (session) DO UPDATE SET last_seq = excluded.last_seq, opened_ms = excluded.opened_ms,
            ended_ms = excluded.ended_ms, last_seen_ms = excluded.last_seen_ms, from_client_bytes = excluded.from_client_bytes,
            from_client_packets = excluded.from_client_packets, to_client_bytes = excluded.to_client_bytes,
            to_client_packets = excluded.to_client_packets",
    )
    .bind(session.id.to_string())
    .bind(entry.chain.as_str())
    .bind(to_i64(entry.seq))
    .bind(session.client.as_str())
    .bind(session.operator.as_str())
    .bind(span.opened_ms)
    .bind(span.ended_ms)
    .bind(span.last_seen_ms)
    .bind(to_i64(traffic.from_client.bytes))
    .bind(to_i64(traffic.from_client.packets))
    .bind(to_i64(traffic.to_client.bytes))
    .bind(to_i64(traffic.to_client.packets))
    .execute(tx)
    .await
    .map(drop)
}

async fn put_flow(
    tx: &mut AnyConnection,
    entry: &Entry,
    session: &SessionSubject,
    flow: &FlowSubject,
    span: Span,
    traffic: Traffic,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit_flow (session, flow, chain, last_seq, client, operator, server, opened_ms, ended_ms,
            last_seen_ms, from_client_bytes, from_client_packets, to_client_bytes, to_client_packets, lan_address,
            lan_port)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (session, flow) DO UPDATE SET last_seq = excluded.last_seq, opened_ms = excluded.opened_ms,
            ended_ms = excluded.ended_ms, last_seen_ms = excluded.last_seen_ms, from_client_bytes = excluded.from_client_bytes,
            from_client_packets = excluded.from_client_packets, to_client_bytes = excluded.to_client_bytes,
            to_client_packets = excluded.to_client_packets, lan_address = excluded.lan_address,
            lan_port = excluded.lan_port",
    )
    .bind(session.id.to_string())
    .bind(to_i64(flow.id))
    .bind(entry.chain.as_str())
    .bind(to_i64(entry.seq))
    .bind(session.client.as_str())
    .bind(session.operator.as_str())
    .bind(server_key(&flow.destination))
    .bind(span.opened_ms)
    .bind(span.ended_ms)
    .bind(span.last_seen_ms)
    .bind(to_i64(traffic.from_client.bytes))
    .bind(to_i64(traffic.from_client.packets))
    .bind(to_i64(traffic.to_client.bytes))
    .bind(to_i64(traffic.to_client.packets))
    .bind(flow.lan_source.map(|source| source.address.to_string()))
    .bind(flow.lan_source.and_then(|source| source.port).map(i64::from))
    .execute(tx)
    .await
    .map(drop)
}
