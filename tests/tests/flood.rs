//! While 20,000 worthless datagrams per second come from everywhere, a client's stream loses no byte, and memory stays flat.
//!
//! `vmsgate-bench flood` does the same at up to 200,000 per second and measures the delay, which a test cannot judge.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use vmsgate_tests::{bench::flood::Scene, require::can_run, site, stock};

/// The node's table of 65,536 sources with its buckets is 3 MiB; the rest is slack of the allocator.
const FLAT: u64 = 8 << 20;

#[test]
fn a_flood_from_everywhere_costs_a_stream_no_byte_and_the_gateway_no_memory() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS].concat()) {
        return;
    }
    let scene = Scene::build().unwrap();
    // The first fills the table of sources.
    scene.flood(20_000, Duration::from_secs(2)).unwrap();
    let seen = scene.flood(20_000, Duration::from_secs(3)).unwrap();
    assert_eq!(seen.flooded.pieces(), seen.calm.pieces());
    assert!(seen.sent.total() > 20_000, "it was no flood: {:?}", seen.sent);
    assert!(seen.dropped > seen.sent.total() / 2, "{} of {:?} counted", seen.dropped, seen.sent);
    let (before, after) = seen.resident;
    assert!(after < before + FLAT, "memory grew from {before} to {after} bytes");
    let sessions = scene.site.status().unwrap().sessions;
    assert_eq!(sessions.len(), 2, "the stream's and the one that was recorded: {sessions:?}");
    let recorded = sessions.iter().find(|session| session.client != "anna").unwrap();
    let endpoint = recorded.endpoint.as_deref().unwrap();
    assert!(endpoint.starts_with("198.18."), "a datagram played again moved the session to {endpoint}");
}
