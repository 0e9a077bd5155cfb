//! The text of records: what is written, what is read back, what hostile text can do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::*;
use vmsgate_audit::{
    Chain, Entry, Event, Fingerprint, Label, Reason, Record, Snapshot,
    event::{
        Admin, ConfigRefused, Gap, GatewayConfig, GatewayStarted, GatewayStopped, HandshakeRejected,
        SessionLimited, SessionRoamed,
    },
    record::ParseError,
};

#[test]
fn the_text_of_a_record_never_changes() {
    let flow = Entry { chain: gw1(), seq: 42, record: flow_closed(0, 61_250, 1, 17, "rec01") };
    assert_eq!(
        flow.to_text(),
        concat!(
            r#"{"chain":"gateway/gw-1","duration_ms":61250,"#,
            r#""flow":{"destination":{"address":"192.168.10.21","port":7563,"server":"rec01","service":"recording-server"},"#,
            r#""id":17,"lan_source":{"address":"192.168.10.5","port":40112},"protocol":"tcp","#,
            r#""source":{"address":"10.99.0.2","port":50312}},"#,
            r#""gateway":"gw-1","kind":"flow.closed","opened":"2026-03-01T09:30:00.000Z","reason":"finished","#,
            r#""schema_version":1,"seq":42,"#,
            r#""session":{"client":"laptop-1","id":"01955000-0000-7000-8000-000000000001","key":"0000000000000001","#,
            r#""operator":"Person 1","role":"smart-client","source":"203.0.113.9:51820","tunnel":["10.99.0.2","fd00:99::2"]},"#,
            r#""time":"2026-03-01T09:31:01.250Z","#,
            r#""traffic":{"from_client":{"bytes":17,"packets":1},"to_client":{"bytes":17000,"packets":17}}}"#,
        )
    );
    let admin = Entry { chain: Chain::admin(), seq: 1, record: added_client() };
    assert_eq!(
        admin.to_text(),
        concat!(
            r#"{"actor":"alice (uid 1000)","after":{"role":"smart-client"},"chain":"admin","kind":"admin.client.add","#,
            r#""object":"laptop-1","schema_version":1,"seq":1,"time":"2026-03-01T09:30:00.000Z"}"#,
        )
    );
}

#[test]
fn the_hash_of_a_record_never_changes() {
    let text = Entry { chain: gw1(), seq: 1, record: session_opened(0, 1) }.to_text();
    let genesis = gw1().genesis();
    assert_eq!(genesis.hash.to_string(), GENESIS);
    assert_eq!(genesis.extended_by(&text).hash.to_string(), FIRST, "{text}");
}

#[test]
fn every_kind_reads_back_as_it_was_written() {
    for (i, record) in one_of_each().into_iter().enumerate() {
        let chain = if i % 2 == 0 { gw1() } else { Chain::admin() };
        let entry = Entry { chain, seq: i as u64 + 1, record };
        let text = entry.to_text();
        let back = Entry::parse(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(back, entry);
        assert_eq!(back.to_text(), text);
    }
}

#[test]
fn a_kind_from_the_future_is_kept_whole() {
    let text = r#"{"chain":"gateway/gw-1","gateway":"gw-1","kind":"camera.viewed","lens":{"name":"n","zoom":3},"schema_version":1,"seq":7,"time":"2026-03-01T09:30:00.000Z"}"#;
    let entry = Entry::parse(text).unwrap();
    assert!(matches!(entry.record.event, Event::Unknown(_)));
    assert_eq!(entry.record.event.kind().as_str(), "camera.viewed");
    assert_eq!(entry.to_text(), text);
}

#[test]
fn a_member_from_the_future_does_not_stop_an_older_reader() {
    let mut value: Value = serde_json::from_str(&text_of(session_opened(0, 1))).unwrap();
    value["weather"] = json!("rain");
    value["session"]["shoe_size"] = json!(43);
    assert_eq!(Entry::parse(&value.to_string()).unwrap().record, session_opened(0, 1));
}

#[test]
fn what_is_not_a_record_is_refused_with_the_reason() {
    let with = |name: &str, new: Value| {
        let mut value: Value = serde_json::from_str(&text_of(session_opened(0, 1))).unwrap();
        value[name] = new;
        Entry::parse(&value.to_string()).unwrap_err()
    };
    assert!(matches!(with("schema_version", json!(2)), ParseError::Version(2)));
    assert!(matches!(with("schema_version", json!("1")), ParseError::Member("schema_version")));
    assert!(matches!(with("seq", json!(-1)), ParseError::Member("seq")));
    assert!(matches!(with("chain", json!("elsewhere")), ParseError::Member("chain")));
    assert!(matches!(with("time", json!("yesterday")), ParseError::Member("time")));
    assert!(matches!(with("policy", json!(1)), ParseError::Member("policy")));
    assert!(matches!(with("session", json!(null)), ParseError::Event { .. }));
    assert!(matches!(with("extra", json!(0.5)), ParseError::Float(_)));
    assert!(matches!(Entry::parse("[]").unwrap_err(), ParseError::NotAnObject));
    assert!(matches!(Entry::parse("").unwrap_err(), ParseError::Json(_)));
    assert!(matches!(Entry::parse(&"[".repeat(100_000)).unwrap_err(), ParseError::Json(_)));
    assert!(matches!(Entry::parse(&" ".repeat(1 << 20)).unwrap_err(), ParseError::TooLong { .. }));
}

#[test]
fn hostile_names_stay_inside_their_string() {
    for name in [
        "\",\"kind\":\"flow.opened",
        "a\nb\r\n\0\x1b[31m",
        "\u{202E}evil",
        "'); DROP TABLE audit_record; --",
        "💥\\\"",
    ] {
        let mut subject = (*session(1)).clone();
        subject.client = Label::new(name);
        let event = Event::SessionOpened(vmsgate_audit::event::SessionOpened {
            session: subject.into(),
            continues: None,
        });
        let entry = Entry { chain: Chain::gateway(name), seq: 1, record: Record::new(at(0), event) };
        let text = entry.to_text();
        assert!(!text.contains(|c: char| c.is_control()), "{text}");
        assert_eq!(Entry::parse(&text).unwrap(), entry);
        assert_eq!(entry.record.event.kind().as_str(), "session.opened");
    }
}

#[test]
fn mutilated_records_never_panic_and_what_reads_back_is_stable() {
    let seed = std::env::var("VMSGATE_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("VMSGATE_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let texts: Vec<String> = one_of_each().into_iter().map(text_of).collect();
    let mut readable = 0;
    for _ in 0..20_000 {
        let mut bytes = texts[random.usize(..texts.len())].clone().into_bytes();
        for _ in 0..random.usize(0..4) {
            if bytes.is_empty() {
                break;
            }
            let i = random.usize(..bytes.len());
            match random.u8(0..5) {
                0 => bytes[i] = random.u8(..),
                1 => bytes[i] = b"{}[]\",:0123456789-.e\\u"[random.usize(..22)],
                2 => drop(bytes.remove(i)),
                3 => bytes.truncate(i),
                _ => bytes.splice(i..i, texts[random.usize(..texts.len())].bytes().take(30)).for_each(drop),
            }
        }
        if let Ok(entry) = Entry::parse(&String::from_utf8_lossy(&bytes)) {
            readable += 1;
            let text = entry.to_text();
            assert_eq!(Entry::parse(&text).map(|e| e.to_text()).ok(), Some(text), "seed {seed}");
        }
    }
    assert!(readable > 1000, "the mutations leave enough records readable to test both sides: {readable}");
}

const GENESIS: &str = "1d8b1214b8a398d909f73fe77086120f24f217c91fca9cc9a5c9481a7d334dac";
const FIRST: &str = "f30a8a6b27f86dc54eef014d505157d5ef9004e664ddf3214d8fe72bcb5aebdf";

fn text_of(record: Record) -> String {
    Entry { chain: gw1(), seq: 1, record }.to_text()
}

fn added_client() -> Record {
    let admin = Admin {
        act: Label::new("client.add"),
        actor: Label::new("alice (uid 1000)"),
        object: Label::new("laptop-1"),
        before: None,
        after: Some(Snapshot::of(&json!({"role": "smart-client"})).unwrap()),
    };
    Record::new(at(0), Event::Admin(admin))
}

fn one_of_each() -> Vec<Record> {
    let roamed = SessionRoamed {
        session: session(1),
        previous_source: "[2001:db8::1]:4000".parse().unwrap(),
        continues: None,
    };
    let rejected = HandshakeRejected {
        source: "2001:db8::bad".parse().unwrap(),
        count: u64::MAX,
        first: at(0),
        last: at(9000),
        reason: Reason::new("revoked"),
        client: Some(Label::new("laptop-1")),
    };
    let limited = SessionLimited {
        session: session(1),
        reason: Reason::new("bandwidth-down"),
        rule: Label::new("role smart-client: bandwidth-down = 20Mbit/s"),
        count: 7,
        first: at(0),
        last: at(60_000),
    };
    let started = GatewayStarted {
        version: Label::new("0.1.0"),
        listen: vec!["0.0.0.0:51820".parse().unwrap(), "[::]:51820".parse().unwrap()],
        config_hash: None,
    };
    let events = [
        Event::SessionRoamed(roamed),
        Event::HandshakeRejected(rejected),
        Event::SessionLimited(limited),
        Event::GatewayStarted(started),
        Event::GatewayStopped(GatewayStopped { reason: Reason::new("sigterm") }),
        Event::GatewayConfig(GatewayConfig {
            previous_policy: Label::new("p0"),
            flows_cut: 2,
            config_hash: None,
        }),
        Event::ConfigRefused(ConfigRefused {
            errors: 2,
            error: Label::new("gateway.toml:3: unknown key"),
            config_hash: Some([7; 32].into()),
        }),
        Event::Gap(Gap { missing: 5, first: at(1), last: at(2), reason: Reason::new("queue-full") }),
    ];
    let mut records = vec![
        session_opened(0, 1),
        session_closed(0, 5000, 1),
        flow_opened(0, 1, 1, "rec01"),
        flow_closed(0, 5000, 1, u64::MAX, "rec01"),
        denied(2000, 1, Some("rec01"), 1433),
        denied(2000, 1, None, 22),
        added_client(),
    ];
    records.extend(events.map(|event| Record::new(at(3), event)));
    records
}

#[test]
fn a_private_key_has_no_place_in_a_record() {
    assert!(Fingerprint::new("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=").is_err());
}
