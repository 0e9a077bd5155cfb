//! The sessions of a time, where they came from, and which of them were at the address in question.

use std::{collections::HashMap, net::SocketAddr};

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{SeenAs, Sighting};
use crate::{
    db::Database,
    event::{Event, SessionClosed, SessionOpened, SessionRoamed},
    index,
    query::select::Select,
    record::Entry,
    store::StoreError,
    subject::SessionSubject,
    text::Label,
    time::UtcTime,
};

/// A session at an address.
pub(super) struct Presence {
    pub(super) session: SessionSubject,
    pub(super) gateway: Label,
    pub(super) seen_as: SeenAs,
    pub(super) opened: UtcTime,
    pub(super) ended: Option<UtcTime>,
}

/// One record of a session: from when on it came from where.
struct Move {
    from: UtcTime,
    seq: u64,
    session: SessionSubject,
    gateway: Label,
    opened: UtcTime,
    ended: Option<UtcTime>,
}

/// Every presence at the address within the time, and how many records could not be read.
pub(super) async fn of(db: &Database, sighting: &Sighting) -> Result<(Vec<Presence>, u64), StoreError> {
    let mut sessions: HashMap<Uuid, Vec<Move>> = HashMap::new();
    let unreadable = select(sighting)
        .each(db, to_move, |step| sessions.entry(step.session.id).or_default().push(step))
        .await?;
    let mut found = Vec::new();
    for (_, mut moves) in sessions {
        moves.sort_by_key(|step| step.seq);
        found.extend(tunnel_presence(&moves, sighting));
        found.extend(internet_presences(&moves, sighting));
    }
    Ok((found, unreadable))
}

pub(super) fn select(sighting: &Sighting) -> Select {
    // A cross join is done in this order: from the few sessions of that time to their records.
    Select::new(
        "SELECT r.chain, r.seq, r.body, i.opened_ms, i.ended_ms, i.last_seen_ms, i.from_client_bytes,
            i.from_client_packets, i.to_client_bytes, i.to_client_packets
         FROM audit_session i CROSS JOIN audit_record r
         WHERE r.session = i.session AND r.kind IN ('session.opened', 'session.roamed', 'session.closed')",
    )
    .and_number("i.ended_ms >= ?", sighting.earliest_ms())
    .and_number("i.opened_ms <= ?", sighting.latest_ms())
}

fn to_move(row: &AnyRow, entry: Entry) -> Result<Option<Move>, sqlx::Error> {
    let index::Times { opened, ended, .. } = index::read_times(row)?;
    let (session, from) = match &entry.record.event {
        Event::SessionOpened(SessionOpened { session, .. }) => (session, opened),
        Event::SessionRoamed(SessionRoamed { session, .. }) => (session, entry.record.time),
        // Tells nothing new, unless it is the only record that was kept.
        Event::SessionClosed(SessionClosed { session, .. }) => (session, opened),
        _ => return Ok(None),
    };
    let gateway = Label::new(entry.chain.gateway_name().unwrap_or_default());
    Ok(Some(Move { from, seq: entry.seq, session: (**session).clone(), gateway, opened, ended }))
}

fn tunnel_presence(moves: &[Move], sighting: &Sighting) -> Option<Presence> {
    let step = moves.last().filter(|step| step.session.tunnel.contains(&sighting.address))?;
    Some(step.presence(SeenAs::TunnelAddress, step.opened, step.ended))
}

/// From each move to the next one the session was at one address.
fn internet_presences(moves: &[Move], sighting: &Sighting) -> Vec<Presence> {
    let mut stays: Vec<(SocketAddr, Presence)> = Vec::new();
    for step in moves {
        let source = step.session.source;
        match stays.last_mut() {
            Some((last, _)) if *last == source => continue,
            Some((_, stay)) => stay.ended = Some(step.from),
            None => {}
        }
        stays.push((source, step.presence(SeenAs::InternetSource, step.from, step.ended)));
    }
    let latest = sighting.latest_ms();
    let overlaps = |stay: &Presence| {
        stay.opened.unix_ms() <= latest
            && stay.ended.is_none_or(|ended| ended.unix_ms() >= sighting.earliest_ms())
    };
    stays
        .into_iter()
        .filter(|(source, stay)| source.ip() == sighting.address && overlaps(stay))
        .map(|(_, stay)| stay)
        .collect()
}

impl Move {
    fn presence(&self, seen_as: SeenAs, opened: UtcTime, ended: Option<UtcTime>) -> Presence {
        Presence { session: self.session.clone(), gateway: self.gateway.clone(), seen_as, opened, ended }
    }
}
