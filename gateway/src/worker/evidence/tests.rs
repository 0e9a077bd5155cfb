//! Whatever the state machine reports is a record afterwards, in the database, with the reason in the same words.

use serde_json::Value;
use vmsgate_audit::{AuditWriter, Chain, Create, Database, WriterConfig, entries};
use vmsgate_tunnel::event::{ClientInfo, Rejection, SessionEnd};
use vmsgate_tunnel::flow::{CloseReason, FirstBytes, FlowLimits, FlowTable};
use vmsgate_tunnel::gateway::tests::verdicts;
use vmsgate_tunnel::packet::FiveTuple;
use vmsgate_tunnel::policy::{Allowed, DenyReason};

use super::*;

#[tokio::test]
async fn every_verdict_of_the_state_machine_leaves_its_record_and_so_does_what_came_before_it() {
    let all = [
        ("flow.denied", verdicts::denials()),
        ("handshake.rejected", verdicts::rejections()),
        ("flow.closed", verdicts::closings()),
        ("session.closed", verdicts::ends()),
    ];
    for (kind, verdicts) in all {
        for (reason, events) in verdicts {
            let wanted: Vec<_> = events.iter().filter_map(wanted).collect();
            let found = recorded(events).await;
            assert_eq!(found, wanted, "{kind} {reason}");
            let verdict = (kind.to_owned(), Some(reason.to_owned()));
            assert_eq!(
                found.iter().filter(|record| **record == verdict).count(),
                1,
                "{kind} {reason}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_event_of_the_state_machine_becomes_a_record_with_its_reason() {
    let wanted: Vec<_> = events().iter().filter_map(wanted).collect();
    assert_eq!(recorded(events()).await, wanted);
}

/// Kinds and reasons of the records that events leave in a new database.
async fn recorded(events: Vec<GatewayEvent>) -> Vec<(String, Option<String>)> {
    let text = |record: &Value, member: &str| record[member].as_str().map(str::to_owned);
    let records = records(events).await;
    records.iter().map(|record| (text(record, "kind").unwrap(), text(record, "reason"))).collect()
}

async fn records(events: Vec<GatewayEvent>) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("vmsgate.db"), Create::Yes).await.unwrap();
    let chain = Chain::gateway("gw-1");
    let writer =
        AuditWriter::spawn(&database, chain.clone(), WriterConfig::default(), time(0)).await.unwrap();
    let recording = Recording {
        audit: writer.handle(),
        durability: Durability::BeforeForward,
        on_failure: OnFailure::Refuse,
        failure_grace: Duration::ZERO,
    };
    let mut evidence = Evidence::new(recording, "policy-1");
    for event in events {
        match event {
            GatewayEvent::FlowOpened { flow, at } => {
                let Clearance::Recorded(record) = evidence.flow_opened(&flow, at, None) else {
                    panic!("it would go before its record is kept")
                };
                assert!(record.wait().await);
            }
            event => evidence.record(event),
        }
    }
    writer.stop(Duration::from_secs(10)).await.unwrap();

    let stored = entries(&database, &chain, 0, 100).await.unwrap();
    let read = |text: &str| {
        let record: Value = serde_json::from_str(text).unwrap();
        assert_eq!(record["policy"], "policy-1");
        record
    };
    stored.iter().map(|entry| read(&entry.text)).collect()
}

/// One of each, in an order in which they may happen.
fn events() -> Vec<GatewayEvent> {
    let (flow, denied) = (flow(), denial());
    let session = flow.session.clone();
    let traffic = flow::Traffic::default();
    vec![
        GatewayEvent::HandshakeRejected(rejected_handshakes()),
        GatewayEvent::SessionOpened { session: session.clone(), at: 1 },
        GatewayEvent::SessionRoamed {
            session: session.clone(),
            from: "198.51.100.9:7".parse().unwrap(),
            at: 2,
        },
        GatewayEvent::FlowOpened { flow: flow.clone(), at: 3 },
        GatewayEvent::FlowClosed {
            flow,
            reason: CloseReason::Reset,
            reset_at: None,
            traffic,
            first_bytes: Some(FirstBytes::Tls),
            opened: 3,
            at: 4,
        },
        GatewayEvent::FlowDenied(denied),
        GatewayEvent::SessionLimited(limited()),
        GatewayEvent::SessionClosed {
            session,
            reason: SessionEnd::Expired,
            traffic,
            last_forwarded: None,
            flows_cut: 0,
            opened: 1,
            at: 6,
        },
    ]
}

/// Kind and reason of the record. A new event does not compile before it has its own.
fn wanted(event: &GatewayEvent) -> Option<(String, Option<String>)> {
    let (kind, reason) = match event {
        GatewayEvent::SessionOpened { .. } => ("session.opened", None),
        GatewayEvent::SessionRoamed { .. } => ("session.roamed", None),
        GatewayEvent::SessionClosed { reason, .. } => ("session.closed", Some(reason.as_str())),
        // The registry learns it, with a record of its own.
        GatewayEvent::KeyConfirmed { .. } => return None,
        GatewayEvent::FlowOpened { .. } => ("flow.opened", None),
        GatewayEvent::FlowClosed { reason, .. } => ("flow.closed", Some(reason.as_str())),
        GatewayEvent::FlowDenied(denial) => ("flow.denied", Some(denial.reason.as_str())),
        GatewayEvent::HandshakeRejected(rejected) => ("handshake.rejected", Some(rejected.reason.as_str())),
        GatewayEvent::SessionLimited(limited) => ("session.limited", Some(limited.reason())),
    };
    Some((kind.to_owned(), reason.map(str::to_owned)))
}

fn session() -> SessionInfo {
    let client = ClientInfo {
        id: uuid::Uuid::from_u128(1),
        name: "anna-laptop".into(),
        operator: "Anna Berg".into(),
        role: "smart-client".into(),
        addresses: vec!["10.99.0.2".parse().unwrap()],
    };
    SessionInfo {
        id: uuid::Uuid::from_u128(2),
        client: client.into(),
        key: PublicKey::from([7; 32]),
        identity: PublicKey::from([8; 32]),
        post_quantum: false,
        endpoint: "198.51.100.7:4000".parse().unwrap(),
        continues: Some(uuid::Uuid::from_u128(1)),
    }
}

fn flow() -> FlowInfo {
    let long = Duration::from_secs(60);
    let limits = FlowLimits {
        tcp_established: long,
        tcp_transitory: long,
        udp: long,
        icmp: long,
        per_client: 1,
        total: 1,
        new_per_second: 1000,
    };
    let tuple = FiveTuple {
        protocol: policy::Protocol::Tcp,
        source: "10.99.0.2:5000".parse().unwrap(),
        destination: "192.168.10.21:7563".parse().unwrap(),
    };
    let allowed = Allowed {
        server: "rec01".into(),
        service: "recording-server".into(),
        rule: "smart-client: *:recording-server".into(),
        require_tls: None,
        control: false,
    };
    let opened = FlowTable::new(limits, 1).open(0, tuple, allowed.clone(), Instant::now());
    let Ok((id, _)) = opened else { panic!("the table is empty") };
    FlowInfo { id, session: session(), tuple, allowed }
}

fn denial() -> Denial {
    Denial {
        session: session(),
        destination: "192.168.10.10".parse().unwrap(),
        protocol: policy::Protocol::Tcp,
        ports: vec![1433..=1433],
        reason: DenyReason::NotInRole,
        server: Some("mgmt".into()),
        rule: "role smart-client has no rule for it".into(),
        nearest: None,
        count: 3,
        first: 4,
        last: 5,
    }
}

fn limited() -> LimitedSession {
    let rule = "role smart-client: bandwidth-down = 20Mbit/s".into();
    LimitedSession { session: session(), direction: flow::Direction::Down, rule, count: 7, first: 4, last: 5 }
}

fn rejected_handshakes() -> RejectedHandshakes {
    RejectedHandshakes {
        source: "198.51.100.66:9".parse().unwrap(),
        reason: Rejection::UnknownKey,
        client: None,
        key: None,
        count: 2,
        first: 0,
        last: 1,
    }
}

#[tokio::test]
async fn every_record_of_a_session_itself_says_which_one_it_continues() {
    let subjects = ["session.opened", "session.roamed", "session.closed"];
    let records = records(events()).await;
    let told = records.iter().filter(|record| subjects.contains(&record["kind"].as_str().unwrap()));
    let told: Vec<_> = told.map(|record| record["continues"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, vec![uuid::Uuid::from_u128(1).to_string(); 3]);
}
