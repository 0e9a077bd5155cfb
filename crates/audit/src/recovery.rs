//! Closing what a crash left open.
//!
//! Everything needed is in the database: the latest record of each open session and flow, and the counters last noted
//! beside it.

use sqlx::{Row, any::AnyRow};

use crate::{
    chain::Chain,
    db::Database,
    event::{Event, FlowClosed, FlowOpened, Gap, SessionClosed, SessionOpened, SessionRoamed},
    index::{self, OPEN, Times},
    record::{Entry, Record},
    store::{StoreError, append},
    text::Reason,
    time::UtcTime,
};

/// Appends a closing record, with the last known counters, for every session and flow of `chain` that is still open.
pub(crate) async fn close_left_open(db: &Database, chain: &Chain, now: UtcTime) -> Result<(), StoreError> {
    let mut tx = db.begin_write().await?;
    for (table, select) in [("audit_flow", OPEN_FLOWS), ("audit_session", OPEN_SESSIONS)] {
        let rows = sqlx::query(select).bind(chain.as_str()).bind(OPEN).fetch_all(&mut *tx).await?;
        if rows.is_empty() {
            continue;
        }
        tracing::warn!(table, count = rows.len(), "closing what an earlier run left open");
        let records = rows.iter().map(|row| closing_record(row, now)).collect::<Result<Vec<_>, _>>()?;
        append(&mut tx, chain, &records).await?;
    }
    // What is still open now has no readable record to be closed by; the gap records tell of it.
    for statement in [END_FLOWS, END_SESSIONS] {
        sqlx::query(statement).bind(chain.as_str()).bind(OPEN).execute(&mut *tx).await?;
    }
    Ok(db.commit(tx).await?)
}

const OPEN_FLOWS: &str =
    "SELECT i.opened_ms, i.ended_ms, i.last_seen_ms, i.from_client_bytes, i.from_client_packets,
        i.to_client_bytes, i.to_client_packets, r.body
    FROM audit_flow i LEFT JOIN audit_record r ON r.chain = i.chain AND r.seq = i.last_seq
    WHERE i.chain = $1 AND i.ended_ms = $2 ORDER BY i.last_seq";
const OPEN_SESSIONS: &str =
    "SELECT i.opened_ms, i.ended_ms, i.last_seen_ms, i.from_client_bytes, i.from_client_packets,
        i.to_client_bytes, i.to_client_packets, r.body
    FROM audit_session i LEFT JOIN audit_record r ON r.chain = i.chain AND r.seq = i.last_seq
    WHERE i.chain = $1 AND i.ended_ms = $2 ORDER BY i.last_seq";
const END_FLOWS: &str = "UPDATE audit_flow SET ended_ms = last_seen_ms WHERE chain = $1 AND ended_ms = $2";
const END_SESSIONS: &str =
    "UPDATE audit_session SET ended_ms = last_seen_ms WHERE chain = $1 AND ended_ms = $2";

fn closing_record(row: &AnyRow, now: UtcTime) -> Result<Record, sqlx::Error> {
    let Times { opened, last_seen, traffic, .. } = index::read_times(row)?;
    let duration_ms = last_seen.ms_since(opened);
    let reason = Reason::GATEWAY_CRASH;
    let text: Option<String> = row.try_get("body")?;
    let latest = text.as_deref().and_then(|text| Entry::parse(text).ok()).map(|entry| entry.record);
    let (policy, event) = latest.map_or((None, None), |record| (record.policy, Some(record.event)));
    let event = match event {
        Some(
            Event::SessionOpened(SessionOpened { session, continues })
            | Event::SessionRoamed(SessionRoamed { session, continues, .. }),
        ) => Event::SessionClosed(SessionClosed { session, reason, opened, duration_ms, traffic, continues }),
        Some(Event::FlowOpened(FlowOpened { session, flow })) => {
            Event::FlowClosed(FlowClosed { session, flow, reason, opened, duration_ms, traffic, tls: None })
        }
        _ => Event::Gap(Gap {
            missing: 1,
            first: opened,
            last: last_seen,
            reason: Reason::new("unreadable-record"),
        }),
    };
    Ok(Record { time: now, policy, event })
}
