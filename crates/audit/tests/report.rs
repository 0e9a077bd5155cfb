//! What a report adds up, and what it leaves to others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::*;
use vmsgate_audit::{
    Chain, Event, Label, Record, Tls, UtcTime,
    event::Admin,
    report::{Bytes, Report, Scope},
};

const HOUR: i64 = 3_600_000;

#[tokio::test]
async fn sessions_and_flows_count_with_their_part_within_the_period() {
    let test = TestDb::new().await;
    // Half of it, and half of what flowed, is before the period.
    let records = [
        session_opened(-HOUR, 1),
        flow_closed(-HOUR, HOUR, 1, 1000, "rec01"),
        session_closed(-HOUR, HOUR, 1),
    ];
    test.append(&gw1(), &records).await;
    let report = gather(&test, scope()).await;
    let person = &report.people[&Label::new("Person 1")];
    assert_eq!((person.sessions, person.connected_ms), (1, HOUR as u64));
    assert_eq!(person.bytes, Bytes { from_client: 500, to_client: 500_000 });
    assert_eq!(report.clients[&Label::new("laptop-1")].spans, [(at(0), at(HOUR))]);
    let steps: u64 = report.traffic.steps().map(|(_, bytes)| bytes.to_client).sum();
    assert_eq!(steps, 500_000);
}

#[tokio::test]
async fn what_is_still_open_counts_until_now() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1)]).await;
    let report = Report::gather(&test.db, scope(), at(2 * HOUR)).await.unwrap();
    assert_eq!(report.people[&Label::new("Person 1")].connected_ms, 2 * HOUR as u64);
}

#[tokio::test]
async fn services_reached_in_clear_text_are_told_from_those_with_tls() {
    let test = TestDb::new().await;
    let seen = |id, tls| {
        let mut record = flow_closed(1, 2, 1, id, "rec01");
        if let Event::FlowClosed(closed) = &mut record.event {
            closed.tls = tls;
        }
        record
    };
    let records =
        [seen(1, Some(Tls::Plain)), seen(2, Some(Tls::Tls)), seen(3, Some(Tls::None)), seen(4, None)];
    test.append(&gw1(), &records).await;
    let report = gather(&test, scope()).await;
    let reached = &report.reached[&("rec01".to_owned(), Some(Label::new("recording-server")))];
    assert_eq!((reached.flows, reached.clear_text, reached.encrypted), (4, 1, 1));
}

#[tokio::test]
async fn repeated_refusals_add_up_and_different_ones_stay_apart() {
    let test = TestDb::new().await;
    let records = [
        denied(2000, 1, Some("mgmt"), 1433),
        denied(9000, 1, Some("mgmt"), 1433),
        denied(3000, 1, Some("mgmt"), 22),
        denied(4000, 2, Some("mgmt"), 22),
    ];
    test.append(&gw1(), &records).await;
    let report = gather(&test, scope()).await;
    assert_eq!(report.denials.len(), 3);
    let (denied, denials) = report.denials.iter().find(|(_, denials)| denials.attempts == 6).unwrap();
    assert_eq!((denied.destination.as_str(), denied.reason.as_str()), ("tcp/1433 on mgmt", "never-expose"));
    assert_eq!((denials.first, denials.last), (at(1000), at(9000)));
}

#[tokio::test]
async fn acts_are_those_of_the_period_and_of_the_client_and_reads_are_counted_apart() {
    let test = TestDb::new().await;
    let acts = [
        admin(-1, "client.add", "laptop-1"),
        admin(1, "client.suspend", "laptop-1"),
        admin(2, "client.suspend", "laptop-2"),
        admin(3, "audit.read", "sessions"),
        admin(4, "audit.read", "sessions"),
    ];
    test.append(&Chain::admin(), &acts).await;
    let report = gather(&test, scope()).await;
    let objects = |report: &Report| report.acts.iter().map(|act| act.object.to_string()).collect::<Vec<_>>();
    assert_eq!(objects(&report), ["laptop-1", "laptop-2"]);
    assert_eq!(report.reads[&(Label::new("carol (uid 1000)"), Label::new("sessions"))], 2);
    let of_client = gather(&test, Scope { client: Some("laptop-2".into()), ..scope() }).await;
    assert_eq!((objects(&of_client), of_client.reads.len()), (vec!["laptop-2".to_owned()], 0));
    let of_server = gather(&test, Scope { server: Some("rec01".into()), ..scope() }).await;
    assert_eq!(objects(&of_server), Vec::<String>::new());
}

#[tokio::test]
async fn a_report_on_one_server_has_the_people_who_reached_it() {
    let test = TestDb::new().await;
    let records = [
        session_opened(0, 1),
        session_opened(0, 2),
        flow_closed(1, 2, 1, 1, "rec01"),
        flow_closed(1, 2, 2, 1, "rec02"),
    ];
    test.append(&gw1(), &records).await;
    let report = gather(&test, Scope { server: Some("rec02".into()), ..scope() }).await;
    assert_eq!(report.people.keys().collect::<Vec<_>>(), [&Label::new("Person 2")]);
    assert_eq!(report.reached.len(), 1);
}

#[tokio::test]
async fn records_that_cannot_be_read_are_counted() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1), session_opened(0, 2)]).await;
    test.tamper("UPDATE audit_record SET body = 'x' WHERE seq = 1").await;
    let report = gather(&test, scope()).await;
    assert_eq!((report.unreadable, report.people.len()), (1, 1));
}

/// The day after [`T0`].
fn scope() -> Scope {
    Scope { since: at(0), until: at(24 * HOUR), client: None, operator: None, server: None }
}

async fn gather(test: &TestDb, scope: Scope) -> Report {
    Report::gather(&test.db, scope, UtcTime::from_unix_ms(T0 + 48 * HOUR)).await.unwrap()
}

fn admin(ms: i64, act: &str, object: &str) -> Record {
    let event = Admin {
        act: Label::new(act),
        actor: Label::new("carol (uid 1000)"),
        object: Label::new(object),
        before: None,
        after: None,
    };
    Record::new(at(ms), Event::Admin(event))
}
