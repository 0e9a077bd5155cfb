use std::{sync::Arc, time::Duration};

use serde_json::json;
use uuid::Uuid;
use vmsgate_audit::{
    AuditWriter, Chain, Create, Database, Destination, Event, Fingerprint, FlowSubject, HostPort, Label,
    Ports, Protocol, Reason, Record, SessionSubject, Tls, Traffic, UtcTime, Volume, WriterConfig,
    event::{Admin, FlowClosed, FlowDenied, FlowOpened, SessionClosed, SessionOpened},
};

use crate::site::{CONFIG, Site, json};

/// 2026-03-01 09:30:00 UTC, and seconds after it.
pub(crate) fn at(seconds: i64) -> UtcTime {
    UtcTime::from_unix_ms(1_772_357_400_000 + seconds * 1000)
}

pub(crate) fn session(number: u128, client: &str, operator: &str) -> Arc<SessionSubject> {
    Arc::new(SessionSubject {
        id: Uuid::from_u128(number),
        client: Label::new(client),
        operator: Label::new(operator),
        role: Label::new("smart-client"),
        key: Fingerprint::new("0123456789abcdef").unwrap(),
        source: "203.0.113.7:40000".parse().unwrap(),
        tunnel: vec!["10.99.0.2".parse().unwrap()],
    })
}

fn destination(server: &str, service: Option<&str>, port: u16) -> Destination {
    Destination {
        server: Some(Label::new(server)),
        service: service.map(Label::new),
        address: "192.168.10.21".parse().unwrap(),
        port: Some(port),
    }
}

fn flow() -> FlowSubject {
    FlowSubject {
        id: 1,
        protocol: Protocol::Tcp,
        source: HostPort { address: "10.99.0.2".parse().unwrap(), port: Some(50_000) },
        destination: destination("rec01", Some("recording-server"), 7563),
        lan_source: None,
    }
}

fn traffic() -> Traffic {
    let volume = |bytes, packets| Volume { bytes, packets };
    Traffic { from_client: volume(1_500, 10), to_client: volume(2_000_000, 1_500) }
}

/// Anna came, watched, was refused SQL, and left; Bo is still there.
pub(crate) async fn site_with_records() -> Site {
    let site = Site::new(CONFIG);
    let database = Database::open(&site.data().database(), Create::Yes).await.unwrap();
    let config = WriterConfig::default();
    let writer = AuditWriter::spawn(&database, Chain::gateway("gw-1"), config, at(0)).await.unwrap();
    let (anna, bo) = (session(1, "anna-laptop", "Anna Berg"), session(2, "bo-pc", "Bo \u{1b}[2J"));
    let events = [
        (0, Event::SessionOpened(SessionOpened { session: anna.clone(), continues: None })),
        (1, Event::FlowOpened(FlowOpened { session: anna.clone(), flow: flow() })),
        (
            2,
            Event::FlowDenied(FlowDenied {
                session: anna.clone(),
                protocol: Protocol::Tcp,
                source: "10.99.0.2".parse().unwrap(),
                destination: destination("mgmt", None, 1433),
                ports: Ports::new([1433..=1433]),
                count: 3,
                first: at(2),
                last: at(4),
                reason: Reason::new("never-exposed"),
                rule: Some(Label::new("never-expose: SQL Server")),
                nearest: None,
            }),
        ),
        (
            60,
            Event::FlowClosed(FlowClosed {
                session: anna.clone(),
                flow: flow(),
                reason: Reason::new("client-closed"),
                opened: at(1),
                duration_ms: 59_000,
                traffic: traffic(),
                tls: Some(Tls::Plain),
            }),
        ),
        (
            61,
            Event::SessionClosed(SessionClosed {
                session: anna,
                reason: Reason::new("idle"),
                opened: at(0),
                duration_ms: 61_000,
                traffic: traffic(),
                continues: None,
            }),
        ),
        (90, Event::SessionOpened(SessionOpened { session: bo, continues: None })),
    ];
    for (seconds, event) in events {
        writer.handle().append(Record::new(at(seconds), event));
    }
    writer.stop(Duration::from_secs(10)).await.unwrap();
    site
}

#[tokio::test]
async fn sessions_show_who_is_and_was_there() {
    let outcome = site_with_records().await.vmsgate(&["sessions"]);
    let lines: Vec<&str> = outcome.lines().collect();
    assert_eq!(lines.len(), 6, "{outcome}");
    let words = |line: &str| {
        line.split("  ").map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        words(lines[2]),
        ["OPENED", "ENDED", "CLIENT", "OPERATOR", "ROLE", "FROM", "RECEIVED", "SENT", "REASON"]
    );
    assert_eq!(
        words(lines[3]),
        [
            "2026-03-01 09:31:30 UTC",
            "open",
            "bo-pc",
            "Bo \u{fffd}[2J",
            "smart-client",
            "203.0.113.7:40000",
            "0 B",
            "0 B"
        ],
        "open sessions come first, and a name cannot write escape sequences"
    );
    assert_eq!(
        words(lines[4]),
        [
            "2026-03-01 09:30:00 UTC",
            "2026-03-01 09:31:01 UTC",
            "anna-laptop",
            "Anna Berg",
            "smart-client",
            "203.0.113.7:40000",
            "1.5 kB",
            "2.0 MB",
            "idle"
        ]
    );
}

#[tokio::test]
async fn flows_and_denials_name_server_service_and_rule() {
    let site = site_with_records().await;
    let flows = site.vmsgate(&["flows", "--server", "rec01"]);
    assert!(flows.contains("tcp/7563 on rec01 (192.168.10.21)  recording-server  plain  1.5 kB"), "{flows}");
    let denials = site.vmsgate(&["denials"]);
    assert!(
        denials.contains("tcp/1433 on mgmt (192.168.10.21)  never-exposed  never-expose: SQL Server\n"),
        "{denials}"
    );
}

#[tokio::test]
async fn filters_narrow_and_nothing_found_is_no_failure() {
    let site = site_with_records().await;
    let clients = |args: &[&str]| {
        let report = json(&site.vmsgate(&[&["sessions", "--json"], args].concat()));
        let rows = report["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["client"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(clients(&["--client", "anna-laptop"]), ["anna-laptop"]);
    assert_eq!(clients(&["--operator", "Anna Berg"]), ["anna-laptop"]);
    assert_eq!(clients(&["--server", "rec01"]), ["anna-laptop"]);
    assert_eq!(clients(&["--since", "2026-03-01T09:31:02Z"]), ["bo-pc"]);
    assert_eq!(clients(&["--until", "2026-03-01T09:31:00Z"]), ["anna-laptop"]);
    assert_eq!(site.vmsgate(&["sessions", "--client", "nobody"]), "exit 0\n-- out\n-- err\nnone\n");
}

#[tokio::test]
async fn a_limit_that_cuts_says_so() {
    let site = site_with_records().await;
    let outcome = site.vmsgate(&["sessions", "--limit", "1"]);
    assert!(outcome.ends_with("-- err\nthere are more; raise --limit to see them\n"), "{outcome}");
    let report = json(&site.vmsgate(&["sessions", "--limit", "1", "--json"]));
    assert_eq!((&report["schema_version"], &report["truncated"]), (&json!(1), &json!(true)));
}

#[tokio::test]
async fn an_empty_time_range_is_refused() {
    let outcome =
        site_with_records().await.vmsgate(&["flows", "--since", "2026-03-02", "--until", "2026-03-01"]);
    assert_eq!(
        outcome,
        "exit 1\n-- out\n-- err\n\
         error: --since 2026-03-02T00:00:00.000Z is not before --until 2026-03-01T00:00:00.000Z\n\n\
         hint: both may be distances from now, as in `--since 48h --until 24h`\n"
    );
}

#[test]
fn a_database_that_is_none_is_said() {
    let site = Site::new(CONFIG);
    let missing = site.vmsgate(&["denials"]);
    assert!(missing.starts_with("exit 1\n-- out\n-- err\nerror: there is no database at "), "{missing}");
    assert!(missing.contains("\n\nhint: "), "{missing}");
    std::fs::write(site.path("data/vmsgate.db"), "not a database, ".repeat(100)).unwrap();
    let foreign = site.vmsgate(&["denials"]);
    assert!(foreign.starts_with("exit 1\n") && foreign.contains("is not a database"), "{foreign}");
}

/// The administrative records of a site's log, in order.
pub(crate) async fn admin_records(site: &Site) -> Vec<Admin> {
    let database = Database::open(&site.data().database(), Create::No).await.unwrap();
    let stored = vmsgate_audit::entries(&database, &Chain::admin(), 0, u32::MAX).await.unwrap();
    let entries = stored.iter().map(|stored| vmsgate_audit::Entry::parse(&stored.text).unwrap());
    entries
        .map(|entry| match entry.record.event {
            Event::Admin(admin) => admin,
            other => panic!("{other:?} in the chain of administrative acts"),
        })
        .collect()
}
