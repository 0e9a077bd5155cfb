//! Three ways to flows that were open around a time; each walks an index.

use uuid::Uuid;

use super::Sighting;
use crate::query::{flows, select::Select};

pub(super) fn by_port(sighting: &Sighting, port: u16) -> Select {
    flows::columns()
        .and_address("i.lan_address = ?", sighting.address)
        .and_number("i.lan_port = ?", i64::from(port))
        .and_number("i.ended_ms >= ?", sighting.earliest_ms())
        .and_number("i.opened_ms <= ?", sighting.latest_ms())
        .order_by("i.ended_ms")
}

/// By way of the sessions of that time: an address that all clients share is no way to find anything.
pub(super) fn by_address(sighting: &Sighting) -> Select {
    flows::columns_by_session()
        .and_number("s.ended_ms >= ?", sighting.earliest_ms())
        .and_number("s.opened_ms <= ?", sighting.latest_ms())
        .and_number("i.ended_ms >= ?", sighting.earliest_ms())
        .and_number("i.opened_ms <= ?", sighting.latest_ms())
        .and_address("i.lan_address = ?", sighting.address)
}

pub(super) fn of_session(sighting: &Sighting, session: Uuid) -> Select {
    flows::columns()
        .and_session("i.session = ?", Some(session))
        .and_number("i.ended_ms >= ?", sighting.earliest_ms())
        .and_number("i.opened_ms <= ?", sighting.latest_ms())
        .order_by("i.flow")
}
