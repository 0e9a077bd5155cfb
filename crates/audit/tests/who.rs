//! Whom an address in another system's log leads to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use vmsgate_audit::{
    Event, HostPort, Record,
    event::{FlowClosed, FlowOpened, SessionClosed, SessionOpened, SessionRoamed},
    query::{Certainty, Listing, SeenAs, Sighting, who},
};

const MINUTE: i64 = 60_000;

/// Three people, each with one flow an hour long. The first two used the same port of the gateway, one after the
/// other; the third has a source address of its own.
async fn recorded() -> TestDb {
    let test = TestDb::new().await;
    let mut records = Vec::new();
    for (n, from, lan) in [
        (1, 0, "192.168.10.5:40112"),
        (2, 60 * MINUTE + 30_000, "192.168.10.5:40112"),
        (3, 0, "192.168.10.77:50000"),
    ] {
        let until = from + 60 * MINUTE;
        records.extend([opened(n, from), flow_from(n, from, until, Some(lan)), closed(n, from, until)]);
    }
    test.append(&gw1(), &records).await;
    test
}

#[tokio::test]
async fn the_gateways_address_and_port_tell_one_person_at_each_time() {
    let test = recorded().await;
    let found = ask(&test, "192.168.10.5:40112", 30 * MINUTE).await;
    assert_eq!(summary(&found), [("Person 1", Certainty::Exact, SeenAs::LanSource)]);
    let row = &found.rows[0];
    assert_eq!((row.session, row.flow, row.ended), (session(1).id, Some(1), Some(at(60 * MINUTE))));
    assert_eq!(row.destination.as_ref().unwrap().server.as_ref().unwrap().as_str(), "rec01");

    let found = ask(&test, "192.168.10.5:40112", 90 * MINUTE).await;
    assert_eq!(summary(&found), [("Person 2", Certainty::Exact, SeenAs::LanSource)]);
}

#[tokio::test]
async fn between_two_users_of_a_port_both_are_candidates_and_the_nearer_comes_first() {
    let test = recorded().await;
    let found = ask(&test, "192.168.10.5:40112", 60 * MINUTE + 20_000).await;
    let near = |person| (person, Certainty::Near, SeenAs::LanSource);
    assert_eq!(summary(&found), [near("Person 2"), near("Person 1")]);
    assert_eq!(summary(&ask(&test, "192.168.10.5:40112", 200 * MINUTE).await), []);
}

#[tokio::test]
async fn an_address_alone_leads_to_everybody_who_used_it_then() {
    let test = recorded().await;
    let address_only = |person| (person, Certainty::AddressOnly, SeenAs::LanSource);
    let found = ask(&test, "192.168.10.77", 30 * MINUTE).await;
    assert_eq!(summary(&found), [address_only("Person 3")]);
    let other_port = ask(&test, "192.168.10.77:1", 30 * MINUTE).await;
    assert_eq!(summary(&other_port), [address_only("Person 3")], "its port is no other's");
    assert_eq!(summary(&ask(&test, "192.168.10.5", 200 * MINUTE).await), []);
}

#[tokio::test]
async fn an_address_inside_the_tunnel_leads_to_the_flow_or_to_the_session_without_one() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[opened(1, 0), flow_from(1, 0, MINUTE, None), closed(1, 0, 60 * MINUTE)]).await;
    let found = ask(&test, "10.99.0.2:50312", MINUTE).await;
    assert_eq!(summary(&found), [("Person 1", Certainty::Exact, SeenAs::TunnelAddress)]);
    assert_eq!(found.rows[0].flow, Some(1));
    let found = ask(&test, "10.99.0.2", 30 * MINUTE).await;
    assert_eq!(summary(&found), [("Person 1", Certainty::AddressOnly, SeenAs::TunnelAddress)]);
    assert_eq!(found.rows[0].flow, None, "no flow was open then");
}

#[tokio::test]
async fn an_internet_address_is_the_clients_only_while_it_came_from_there() {
    let test = TestDb::new().await;
    let mut moved = (*session(1)).clone();
    moved.source = "198.51.100.4:6000".parse().unwrap();
    let previous_source = session(1).source;
    let roamed = SessionRoamed { session: moved.clone().into(), previous_source, continues: None };
    let end = SessionClosed {
        session: moved.into(),
        reason: vmsgate_audit::Reason::new("idle"),
        opened: at(0),
        duration_ms: 60 * MINUTE as u64,
        traffic: traffic(1),
        continues: None,
    };
    let records = [
        opened(1, 0),
        Record::new(at(30 * MINUTE), Event::SessionRoamed(roamed)),
        Record::new(at(60 * MINUTE), Event::SessionClosed(end)),
    ];
    test.append(&gw1(), &records).await;

    let exact = ("Person 1", Certainty::Exact, SeenAs::InternetSource);
    let found = ask(&test, "203.0.113.9:51820", 10 * MINUTE).await;
    assert_eq!(summary(&found), [exact]);
    assert_eq!((found.rows[0].opened, found.rows[0].ended), (at(0), Some(at(30 * MINUTE))));
    assert_eq!(summary(&ask(&test, "203.0.113.9:51820", 40 * MINUTE).await), []);
    assert_eq!(summary(&ask(&test, "198.51.100.4:6000", 40 * MINUTE).await), [exact]);
    assert_eq!(summary(&ask(&test, "198.51.100.4:6000", 10 * MINUTE).await), []);
}

#[tokio::test]
async fn more_candidates_than_the_limit_are_said_to_be_there() {
    let test = TestDb::new().await;
    let records: Vec<_> = (1..=5).map(|n| opened(n, 0)).collect();
    test.append(&gw1(), &records).await;
    let sighting = Sighting { limit: 3, ..sighting("203.0.113.9", 0) };
    let found = who(&test.db, &sighting).await.unwrap();
    assert_eq!((found.rows.len(), found.truncated), (3, true));
}

fn opened(n: u128, ms: i64) -> Record {
    Record::new(at(ms), Event::SessionOpened(SessionOpened { session: session(n), continues: None }))
}

fn closed(n: u128, from: i64, until: i64) -> Record {
    session_closed(from, until, n)
}

/// A flow with a beginning and an end.
fn flow_from(n: u128, from: i64, until: i64, lan: Option<&str>) -> Record {
    let mut subject = flow(1, "rec01");
    subject.lan_source = lan.map(|lan| HostPort::from(lan.parse::<std::net::SocketAddr>().unwrap()));
    let event = FlowClosed {
        session: session(n),
        flow: subject,
        reason: vmsgate_audit::Reason::new("finished"),
        opened: at(from),
        duration_ms: (until - from) as u64,
        traffic: traffic(1),
        tls: None,
    };
    Record::new(at(until), Event::FlowClosed(event))
}

#[tokio::test]
async fn a_flow_that_is_still_open_is_found() {
    let test = TestDb::new().await;
    let event = FlowOpened { session: session(1), flow: flow(7, "rec01") };
    test.append(&gw1(), &[opened(1, 0), Record::new(at(0), Event::FlowOpened(event))]).await;
    let found = ask(&test, "192.168.10.5:40112", 500 * MINUTE).await;
    assert_eq!(summary(&found), [("Person 1", Certainty::Exact, SeenAs::LanSource)]);
    assert_eq!((found.rows[0].flow, found.rows[0].ended), (Some(7), None));
}

fn sighting(address: &str, ms: i64) -> Sighting {
    let with_port = address.parse::<std::net::SocketAddr>();
    let (address, port) = match with_port {
        Ok(address) => (address.ip(), Some(address.port())),
        Err(_) => (address.parse().unwrap(), None),
    };
    Sighting { address, port, at: at(ms), within: Duration::from_secs(60), limit: 100 }
}

async fn ask(test: &TestDb, address: &str, ms: i64) -> Listing<vmsgate_audit::query::Candidate> {
    who(&test.db, &sighting(address, ms)).await.unwrap()
}

fn summary(found: &Listing<vmsgate_audit::query::Candidate>) -> Vec<(&str, Certainty, SeenAs)> {
    assert_eq!((found.truncated, found.unreadable), (false, 0));
    found.rows.iter().map(|row| (row.operator.as_str(), row.certainty, row.seen_as)).collect()
}
