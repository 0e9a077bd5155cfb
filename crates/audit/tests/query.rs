//! What `sessions`, `flows` and `denials` answer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::*;
use vmsgate_audit::{
    Create, Database, Event, Label, Reason, Record,
    event::SessionRoamed,
    query::{Filter, denials, flows, sessions},
};

#[tokio::test]
async fn a_session_shows_its_latest_source_and_its_end() {
    let test = TestDb::new().await;
    let mut moved = (*session(1)).clone();
    moved.source = "[2001:db8::7]:6000".parse().unwrap();
    let previous_source = session(1).source;
    let roamed = Record::new(
        at(500),
        Event::SessionRoamed(SessionRoamed { session: moved.into(), previous_source, continues: None }),
    );
    test.append(&gw1(), &[session_opened(0, 1), roamed]).await;

    let listing = sessions(&test.db, &any()).await.unwrap();
    let row = &listing.rows[0];
    assert_eq!((listing.rows.len(), listing.truncated, listing.unreadable), (1, false, 0));
    assert_eq!(row.source, "[2001:db8::7]:6000".parse().unwrap());
    assert_eq!((row.opened, row.ended, row.last_seen), (at(0), None, at(500)));
    assert_eq!((row.client.as_str(), row.gateway.as_str()), ("laptop-1", "gw-1"));

    test.append(&gw1(), &[session_closed(0, 9000, 1)]).await;
    let row = &sessions(&test.db, &any()).await.unwrap().rows[0];
    assert_eq!((row.opened, row.ended, row.traffic), (at(0), Some(at(9000)), traffic(7)));
    assert_eq!(row.reason, Some(Reason::new("idle")));
}

#[tokio::test]
async fn what_is_open_comes_first_and_then_the_latest_end() {
    let test = TestDb::new().await;
    let records = [
        session_opened(0, 1),
        session_opened(1, 2),
        session_opened(2, 3),
        session_opened(3, 4),
        session_closed(2, 100, 3),
        session_closed(0, 200, 1),
    ];
    test.append(&gw1(), &records).await;
    assert_eq!(clients(&test.db, any()).await, ["laptop-4", "laptop-2", "laptop-1", "laptop-3"]);
    assert_eq!(clients(&test.db, Filter { limit: 2, ..any() }).await, ["laptop-4", "laptop-2"]);
    let listing = sessions(&test.db, &Filter { limit: 2, ..any() }).await.unwrap();
    assert!(listing.truncated);
    assert!(!sessions(&test.db, &Filter { limit: 4, ..any() }).await.unwrap().truncated);
}

#[tokio::test]
async fn a_time_range_lists_whoever_was_there_at_any_moment_of_it() {
    let test = TestDb::new().await;
    let records = [
        session_opened(0, 1),
        session_closed(0, 100, 1),
        session_opened(50, 2),
        session_closed(50, 300, 2),
        session_opened(250, 3),
    ];
    test.append(&gw1(), &records).await;
    let range = |since, until| Filter { since: Some(at(since)), until: Some(at(until)), ..any() };
    assert_eq!(clients(&test.db, range(0, 50)).await, ["laptop-1"]);
    assert_eq!(clients(&test.db, range(60, 70)).await, ["laptop-2", "laptop-1"]);
    assert_eq!(clients(&test.db, range(101, 249)).await, ["laptop-2"]);
    assert_eq!(clients(&test.db, range(1000, 2000)).await, ["laptop-3"]);
    assert_eq!(clients(&test.db, range(-100, 0)).await, Vec::<String>::new());
}

#[tokio::test]
async fn filters_combine() {
    let test = TestDb::new().await;
    let mut records = Vec::new();
    for n in 1..=3 {
        records.push(session_opened(n as i64, n));
        records.push(flow_opened(10, n, 1, "rec01"));
        records.push(flow_opened(20, n, 2, if n == 2 { "rec02" } else { "mgmt" }));
        records.push(denied(30, n, Some("rec01"), 1433));
        records.push(denied(40, n, None, 22));
    }
    test.append(&gw1(), &records).await;
    let name = |text: &str| Some(Label::new(text));

    assert_eq!(clients(&test.db, Filter { client: name("laptop-2"), ..any() }).await, ["laptop-2"]);
    assert_eq!(clients(&test.db, Filter { operator: name("Person 3"), ..any() }).await, ["laptop-3"]);
    assert_eq!(clients(&test.db, Filter { server: name("rec02"), ..any() }).await, ["laptop-2"]);
    assert_eq!(clients(&test.db, Filter { server: name("mgmt"), ..any() }).await.len(), 2);
    let nobody = Filter { client: name("laptop-1"), operator: name("Person 2"), ..any() };
    assert_eq!(clients(&test.db, nobody).await.len(), 0);

    let rows = flows(&test.db, &Filter { server: name("rec01"), client: name("laptop-1"), ..any() })
        .await
        .unwrap()
        .rows;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].lan_source.unwrap().to_string(), "192.168.10.5:40112");
    assert_eq!(flows(&test.db, &Filter { operator: name("Person 1"), ..any() }).await.unwrap().rows.len(), 2);

    let denied_ports = async |filter: Filter| -> Vec<Option<u16>> {
        let rows = denials(&test.db, &filter).await.unwrap().rows;
        rows.into_iter().map(|row| row.destination.port).collect()
    };
    assert_eq!(denied_ports(Filter { client: name("laptop-1"), ..any() }).await, [Some(22), Some(1433)]);
    assert_eq!(denied_ports(Filter { operator: name("Person 1"), limit: 1, ..any() }).await, [Some(22)]);
    assert_eq!(denied_ports(Filter { server: name("rec01"), ..any() }).await.len(), 3);
    assert_eq!(denied_ports(Filter { server: name("192.168.10.21"), ..any() }).await.len(), 3, "by address");
    assert_eq!(denied_ports(Filter { since: Some(at(40)), ..any() }).await.len(), 3);
    assert_eq!(denied_ports(Filter { until: Some(at(40)), ..any() }).await.len(), 3);
}

#[tokio::test]
async fn one_id_joins_a_session_to_its_flows_and_denials() {
    let test = TestDb::new().await;
    let mut records = Vec::new();
    for n in 1..=2 {
        records.extend([
            session_opened(0, n),
            flow_opened(1, n, 1, "rec01"),
            flow_closed(1, 9, n, 2, "rec01"),
        ]);
        records.push(denied(3, n, Some("rec01"), 1433));
    }
    test.append(&gw1(), &records).await;
    let filter = Filter { session: Some(session(2).id), ..any() };
    assert_eq!(clients(&test.db, filter.clone()).await, ["laptop-2"]);
    let flows: Vec<_> = flows(&test.db, &filter).await.unwrap().rows.into_iter().map(|f| f.flow).collect();
    assert_eq!(flows, [2, 1], "the newest first");
    let denials = denials(&test.db, &filter).await.unwrap().rows;
    assert_eq!((denials.len(), denials[0].client.as_str()), (1, "laptop-2"));
}

#[tokio::test]
async fn a_reason_is_found_whole_and_by_nothing_that_looks_like_it() {
    let test = TestDb::new().await;
    let mut impostor = (*session(3)).clone();
    impostor.client = Label::new(r#""reason":"idle""#);
    let event = vmsgate_audit::event::SessionOpened { session: impostor.into(), continues: None };
    let impostor = Record::new(at(3), Event::SessionOpened(event));
    let records = [
        session_opened(0, 1),
        session_closed(0, 5, 1),
        session_opened(1, 2),
        impostor,
        flow_closed(0, 5, 1, 1, "rec01"),
        denied(6, 1, Some("rec01"), 1433),
    ];
    test.append(&gw1(), &records).await;
    let reason = |word: &str| Filter { reason: Some(Label::new(word)), ..any() };
    assert_eq!(clients(&test.db, reason("idle")).await, ["laptop-1"]);
    for other in ["idl", "idl_", "%", r"idle\", r#"idle","x"#] {
        assert_eq!(clients(&test.db, reason(other)).await, Vec::<String>::new(), "{other}");
    }
    assert_eq!(flows(&test.db, &reason("finished")).await.unwrap().rows.len(), 1);
    assert_eq!(denials(&test.db, &reason("never-expose")).await.unwrap().rows.len(), 1);
    assert_eq!(denials(&test.db, &reason("idle")).await.unwrap().rows.len(), 0);
}

#[tokio::test]
async fn hostile_names_are_found_by_their_name_and_by_nothing_else() {
    let test = TestDb::new().await;
    let hostile = ["' OR 1=1 --", "%", "laptop-1'; DROP TABLE audit_session; --", "?", "$1"];
    let mut records = vec![session_opened(0, 1)];
    for (n, name) in hostile.iter().enumerate() {
        let mut subject = (*session(100 + n as u128)).clone();
        subject.client = Label::new(name);
        let event = vmsgate_audit::event::SessionOpened { session: subject.into(), continues: None };
        records.push(Record::new(at(1), Event::SessionOpened(event)));
    }
    test.append(&gw1(), &records).await;
    for name in hostile {
        let filter = Filter { client: Some(Label::new(name)), ..any() };
        assert_eq!(clients(&test.db, filter).await, [name]);
    }
}

#[tokio::test]
async fn an_altered_record_is_counted_and_does_not_hide_the_others() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1), session_opened(1, 2), session_opened(2, 3)]).await;
    test.tamper("UPDATE audit_record SET body = 'x' WHERE seq = 1").await;
    test.tamper("DELETE FROM audit_record WHERE seq = 2").await;
    let listing = sessions(&test.db, &any()).await.unwrap();
    assert_eq!((listing.rows.len(), listing.unreadable), (1, 2));
}

#[tokio::test]
async fn listings_become_json_with_a_schema_version() {
    let test = TestDb::new().await;
    test.append(
        &gw1(),
        &[session_opened(0, 1), flow_opened(1, 1, 1, "rec01"), denied(2, 1, Some("rec01"), 1433)],
    )
    .await;
    let json = serde_json::to_value(denials(&test.db, &any()).await.unwrap()).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["rows"][0]["destination"]["port"], 1433);
    assert_eq!(json["rows"][0]["reason"], "never-expose");
    let json = serde_json::to_value(flows(&test.db, &any()).await.unwrap()).unwrap();
    assert_eq!(json["rows"][0]["protocol"], "tcp");
    assert_eq!(json["rows"][0]["ended"], serde_json::Value::Null);
}

#[tokio::test]
async fn readers_see_committed_records_while_a_writer_works() {
    let test = TestDb::new().await;
    let reader = Database::open(&test.path, Create::No).await.unwrap();
    test.append(&gw1(), &[session_opened(0, 1)]).await;
    let mut writing = test.db.begin_write().await.unwrap();
    vmsgate_audit::append(&mut writing, &gw1(), &[session_opened(1, 2)]).await.unwrap();
    assert_eq!(clients(&reader, any()).await, ["laptop-1"]);
    test.db.commit(writing).await.unwrap();
    assert_eq!(clients(&reader, any()).await, ["laptop-2", "laptop-1"]);
}

#[tokio::test]
async fn a_flow_whose_opening_was_lost_is_listed_from_its_closing_record() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[flow_closed(100, 900, 1, 5, "rec01"), session_closed(50, 1000, 1)]).await;
    let flow = &flows(&test.db, &any()).await.unwrap().rows[0];
    assert_eq!((flow.opened, flow.ended), (at(100), Some(at(900))));
    let session = &sessions(&test.db, &any()).await.unwrap().rows[0];
    assert_eq!((session.opened, session.ended), (at(50), Some(at(1000))));
}

fn any() -> Filter {
    Filter { limit: 100, ..Filter::default() }
}

async fn clients(db: &Database, filter: Filter) -> Vec<String> {
    let rows = sessions(db, &filter).await.unwrap().rows;
    rows.into_iter().map(|row| row.client.as_str().to_owned()).collect()
}
