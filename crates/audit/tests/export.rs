//! What an export holds, what an access request is answered with, and that pseudonyms leave no name behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::*;
use vmsgate_audit::{
    Chain, Event, Label, Reason, Record, Snapshot, StoredEntry,
    event::{Admin, HandshakeRejected, SessionRoamed},
    export::{Export, Exported, Selection, flat},
    head,
    pseudonym::{MappingError, Pseudonyms},
};

/// Two people with a session each; the first one's client was added, asked for, and rejected once.
async fn recorded() -> TestDb {
    let test = TestDb::new().await;
    let state = json!({
        "id": "0195…", "name": "laptop-1", "operator": "Person 1", "role": "smart-client", "state": "active",
        "reason": "the phone of person 1, see laptop-2 and bo", "addresses": ["10.99.0.2", "fd00:99::2"],
        "keys": [{"public_key": "PUBLICKEY1", "fingerprint": "0000000000000001"}],
    });
    let other = json!({"name": "laptop-2", "operator": "Person 2"});
    let asked = json!({"filters": {"operator": "Person 1", "limit": 100}, "rows": 1});
    let sighting = json!({"filters": {"address": "203.0.113.9", "port": 51820}, "rows": 2});
    let acts = [
        admin(0, "client.add", "laptop-1", Some(state)),
        admin(1, "client.add", "laptop-2", Some(other)),
        admin(2, "client.suspend", "laptop-1", None),
        admin(3, "audit.read", "sessions", Some(asked)),
        admin(4, "audit.read", "who", Some(sighting)),
    ];
    test.append(&Chain::admin(), &acts).await;
    let mut moved = (*session(1)).clone();
    moved.source = "[2001:db9::7]:6000".parse().unwrap();
    let roamed = SessionRoamed { session: moved.into(), previous_source: session(1).source, continues: None };
    let rejected = HandshakeRejected {
        source: "198.51.100.77".parse().unwrap(),
        count: 2,
        first: at(5),
        last: at(6),
        reason: Reason::new("suspended"),
        client: Some(Label::new("laptop-1")),
    };
    let records = [
        session_opened(0, 1),
        flow_opened(1, 1, 1, "rec01"),
        Record::new(at(2), Event::SessionRoamed(roamed)),
        flow_closed(1, 3, 1, 1, "rec01"),
        Record::new(at(6), Event::HandshakeRejected(rejected)),
        session_opened(7, 2),
        denied(8, 2, None, 1433),
        session_closed(0, 9, 1),
    ];
    test.append(&gw1(), &records).await;
    test
}

#[tokio::test]
async fn a_whole_log_is_exported_as_it_is_stored_and_verifies_elsewhere() {
    let test = recorded().await;
    let (texts, exported) = export(&test, &Selection::default()).await;
    assert_eq!(exported, Exported { records: 13, unreadable: 0 });
    for (chain, prefix) in [(Chain::admin(), r#""chain":"admin""#), (gw1(), r#""chain":"gateway/gw-1""#)] {
        // Hashes need not be exported: they follow from the texts.
        let mut end = chain.genesis();
        for text in texts.iter().filter(|text| text.contains(prefix)) {
            end = end.extended_by(text);
            let entry = StoredEntry { seq: end.seq, text: text.clone(), hash: end.hash.to_string() };
            assert!(vmsgate_audit::Entry::parse(&entry.text).unwrap().chain == chain);
        }
        assert_eq!(end, head(&test.db, &chain).await.unwrap());
    }
}

#[tokio::test]
async fn a_selection_narrows_by_time_name_and_server() {
    let test = recorded().await;
    let count = async |selection: Selection| export(&test, &selection).await.1.records;
    let name = |text: &str| Some(Label::new(text));
    let any = Selection::default;
    assert_eq!(count(Selection { since: Some(at(8)), ..any() }).await, 2);
    assert_eq!(count(Selection { since: Some(at(2)), until: Some(at(4)), ..any() }).await, 4);
    assert_eq!(count(Selection { client: name("laptop-1"), ..any() }).await, 8);
    assert_eq!(count(Selection { operator: name("Person 2"), ..any() }).await, 2);
    assert_eq!(count(Selection { server: name("rec01"), ..any() }).await, 2);
    assert_eq!(count(Selection { server: name("192.168.10.21"), ..any() }).await, 1);
    assert_eq!(count(Selection { client: name("' OR 1=1 --"), ..any() }).await, 0);
}

#[tokio::test]
async fn an_access_request_is_answered_with_everything_about_the_person_and_nothing_about_others() {
    let test = recorded().await;
    let (texts, exported) =
        export(&test, &Selection { subject: Some("Person 1".into()), ..Selection::default() }).await;
    let kinds: Vec<_> = texts.iter().map(|text| kind(text)).collect();
    let expected = [
        "admin.client.add",
        "admin.client.suspend",
        "admin.audit.read",
        "session.opened",
        "flow.opened",
        "session.roamed",
        "flow.closed",
        "handshake.rejected",
        "session.closed",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(exported.records, 9);
    assert!(texts.iter().all(|text| !text.contains("Person 2")));
}

#[tokio::test]
async fn an_altered_record_is_left_out_and_counted() {
    let test = recorded().await;
    test.tamper("UPDATE audit_record SET body = 'x' WHERE chain = 'admin' AND seq = 2").await;
    let (_, exported) = export(&test, &Selection::default()).await;
    assert_eq!(exported, Exported { records: 12, unreadable: 1 });
}

#[tokio::test]
async fn pseudonyms_leave_no_name_address_or_key_behind() {
    let test = recorded().await;
    let (texts, _) = export(&test, &Selection::default()).await;
    let mut pseudonyms = Pseudonyms::generate();
    let replaced = pseudonymised(&mut pseudonyms, &texts);
    let all = replaced.join("\n").to_lowercase();
    let gone = [
        "person 1",
        "person 2",
        "laptop-1",
        "laptop-2",
        "0000000000000001",
        "0000000000000002",
        "publickey1",
        "203.0.113.9",
        "198.51.100.77",
        "2001:db9::7",
        "10.99.0.2",
        "fd00:99::2",
        "192.168.10.5\"",
        "carol",
        "uid 1000",
    ];
    for name in gone {
        assert!(texts.join("\n").to_lowercase().contains(name), "{name} was there before");
        assert!(!all.contains(name), "{name} is left in {all}");
    }
    for kept in ["192.168.10.21", "rec01", "smart-client", "gw-1", "session.opened", "audit.read", "51820"] {
        assert!(all.contains(kept), "{kept} says nothing about a person: {all}");
    }
}

#[tokio::test]
async fn the_same_name_has_the_same_pseudonym_under_one_key_and_another_under_another() {
    let test = recorded().await;
    let (texts, _) = export(&test, &Selection::default()).await;
    let mut first = Pseudonyms::generate();
    let once = pseudonymised(&mut first, &texts);
    let mut again = Pseudonyms::from_text(&first.to_text()).unwrap();
    assert_eq!(pseudonymised(&mut again, &texts), once);
    assert_ne!(pseudonymised(&mut Pseudonyms::generate(), &texts), once);

    let operator = |text: &str| json_of(text)["session"]["operator"].as_str().map(str::to_owned);
    let people: std::collections::BTreeSet<_> = once.iter().filter_map(|text| operator(text)).collect();
    assert_eq!(people.len(), 2, "{people:?}");
    for text in &once {
        vmsgate_audit::Entry::parse(text).unwrap_or_else(|e| panic!("still a record: {e}: {text}"));
    }
}

#[test]
fn what_is_no_mapping_is_refused_without_quoting_it() {
    let mut pseudonyms = Pseudonyms::generate();
    pseudonyms.learn(&json!({"kind": "session.opened", "session": {"operator": "Anna"}}));
    let text = pseudonyms.to_text();
    assert!(Pseudonyms::from_text(&text).is_ok());
    assert_eq!(Pseudonyms::from_text(&text.replace("Anna", "Bert")).unwrap_err(), MappingError::Altered);
    for other in ["", "secret", "{}", r#"{"schema_version":1,"kind":"x","key":"","names":[]}"#] {
        let error = Pseudonyms::from_text(other).unwrap_err();
        assert_eq!(error, MappingError::NotAMapping, "{other}");
    }
    assert!(!format!("{pseudonyms:?}").contains("Anna"));
}

#[tokio::test]
async fn a_record_becomes_one_row_with_a_cell_for_every_column() {
    let test = recorded().await;
    let (texts, _) = export(&test, &Selection::default()).await;
    let headings = flat::headings();
    let cell = |text: &str, name: &str| {
        let cells = flat::cells(&json_of(text));
        assert_eq!(cells.len(), headings.len());
        cells[headings.iter().position(|heading| *heading == name).unwrap()].clone()
    };
    let flow = texts.iter().find(|text| kind(text) == "flow.closed").unwrap();
    assert_eq!(cell(flow, "operator"), "Person 1");
    assert_eq!(cell(flow, "tunnel"), "10.99.0.2 fd00:99::2");
    assert_eq!((cell(flow, "server"), cell(flow, "port")), ("rec01".into(), "7563".into()));
    assert_eq!((cell(flow, "lan_address"), cell(flow, "lan_port")), ("192.168.10.5".into(), "40112".into()));
    let add = texts.iter().find(|text| kind(text) == "admin.client.add").unwrap();
    assert_eq!((cell(add, "object"), cell(add, "before")), ("laptop-1".into(), String::new()));
    assert!(cell(add, "after").contains("\"operator\":\"Person 1\""));
}

async fn export(test: &TestDb, selection: &Selection) -> (Vec<String>, Exported) {
    let mut texts = Vec::new();
    let export = Export::begin(&test.db, selection).await.unwrap();
    let exported = export.each(|_, text| {
        texts.push(text.to_owned());
        Ok(())
    });
    let exported = exported.await.unwrap();
    (texts, exported)
}

fn pseudonymised(pseudonyms: &mut Pseudonyms, texts: &[String]) -> Vec<String> {
    texts.iter().for_each(|text| pseudonyms.learn(&json_of(text)));
    let replacer = pseudonyms.replacer();
    texts.iter().map(|text| replacer.replace(&json_of(text)).unwrap()).collect()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn kind(text: &str) -> String {
    json_of(text)["kind"].as_str().unwrap().to_owned()
}

fn admin(ms: i64, act: &str, object: &str, after: Option<Value>) -> Record {
    let event = Admin {
        act: Label::new(act),
        actor: Label::new("carol (uid 1000), logged in as bo (uid 1001)"),
        object: Label::new(object),
        before: None,
        after: after.map(|state| Snapshot::of(&state).unwrap()),
    };
    Record::new(at(ms), Event::Admin(event))
}
