//! Records to test with. Times are milliseconds after [`T0`].

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use uuid::Uuid;
use vmsgate_audit::{
    AuditWriter, Chain, Create, Database, Destination, Fingerprint, FlowSubject, HostPort, Label, Ports,
    Protocol, Reason, Record, SessionSubject, StoredEntry, Traffic, UtcTime, Volume, WriterConfig, entries,
    event::{Admin, Event, FlowClosed, FlowDenied, FlowOpened, SessionClosed, SessionOpened},
};

pub const T0: i64 = 1_772_357_400_000; // 2026-03-01T09:30:00.000Z

pub fn at(ms: i64) -> UtcTime {
    UtcTime::from_unix_ms(T0 + ms)
}

pub fn gw1() -> Chain {
    Chain::gateway("gw-1")
}

/// Session number `n` of the person of the same number.
pub fn session(n: u128) -> Arc<SessionSubject> {
    Arc::new(SessionSubject {
        id: Uuid::from_u128(0x0195_5000_0000_7000_8000_0000_0000_0000 + n),
        client: Label::new(&format!("laptop-{n}")),
        operator: Label::new(&format!("Person {n}")),
        role: Label::new("smart-client"),
        key: Fingerprint::new(&format!("{n:016x}")).unwrap(),
        source: "203.0.113.9:51820".parse().unwrap(),
        tunnel: vec!["10.99.0.2".parse().unwrap(), "fd00:99::2".parse().unwrap()],
    })
}

pub fn destination(server: &str) -> Destination {
    Destination {
        server: Some(Label::new(server)),
        service: Some(Label::new("recording-server")),
        address: "192.168.10.21".parse().unwrap(),
        port: Some(7563),
    }
}

pub fn flow(id: u64, server: &str) -> FlowSubject {
    FlowSubject {
        id,
        protocol: Protocol::Tcp,
        source: HostPort { address: "10.99.0.2".parse().unwrap(), port: Some(50_312) },
        destination: destination(server),
        lan_source: Some(HostPort { address: "192.168.10.5".parse().unwrap(), port: Some(40_112) }),
    }
}

pub fn traffic(n: u64) -> Traffic {
    Traffic {
        from_client: Volume { bytes: n, packets: 1 },
        to_client: Volume { bytes: n.saturating_mul(1000), packets: n },
    }
}

pub fn session_opened(ms: i64, n: u128) -> Record {
    Record::new(at(ms), Event::SessionOpened(SessionOpened { session: session(n), continues: None }))
        .under_policy(Label::new("p1"))
}

pub fn session_closed(opened: i64, ended: i64, n: u128) -> Record {
    let event = SessionClosed {
        session: session(n),
        reason: Reason::new("idle"),
        opened: at(opened),
        duration_ms: (ended - opened) as u64,
        traffic: traffic(7),
        continues: None,
    };
    Record::new(at(ended), Event::SessionClosed(event))
}

pub fn flow_opened(ms: i64, n: u128, id: u64, server: &str) -> Record {
    Record::new(at(ms), Event::FlowOpened(FlowOpened { session: session(n), flow: flow(id, server) }))
}

pub fn flow_closed(opened: i64, ended: i64, n: u128, id: u64, server: &str) -> Record {
    let event = FlowClosed {
        session: session(n),
        flow: flow(id, server),
        reason: Reason::new("finished"),
        opened: at(opened),
        duration_ms: (ended - opened) as u64,
        traffic: traffic(id),
        tls: None,
    };
    Record::new(at(ended), Event::FlowClosed(event))
}

pub fn denied(ms: i64, n: u128, server: Option<&str>, port: u16) -> Record {
    let event = FlowDenied {
        session: session(n),
        protocol: Protocol::Tcp,
        source: "10.99.0.2".parse().unwrap(),
        destination: Destination {
            server: server.map(Label::new),
            service: None,
            address: "192.168.10.21".parse().unwrap(),
            port: Some(port),
        },
        ports: Ports::new([port..=port]),
        count: 3,
        first: at(ms - 1000),
        last: at(ms),
        reason: Reason::new("never-expose"),
        rule: Some(Label::new("never-expose tcp/1433")),
        nearest: None,
    };
    Record::new(at(ms), Event::FlowDenied(event))
}

pub struct TestDb {
    pub db: Database,
    pub path: PathBuf,
    _dir: TempDir,
}

impl TestDb {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmsgate.db");
        let db = Database::open(&path, Create::Yes).await.unwrap();
        Self { db, path, _dir: dir }
    }

    pub async fn append(&self, chain: &Chain, records: &[Record]) {
        append(&self.db, chain, records).await;
    }

    pub async fn writer(&self, capacity: usize) -> AuditWriter {
        AuditWriter::spawn(&self.db, gw1(), WriterConfig { capacity, ..WriterConfig::default() }, at(0))
            .await
            .unwrap()
    }

    pub async fn all(&self, chain: &Chain) -> Vec<StoredEntry> {
        entries(&self.db, chain, 0, u32::MAX).await.unwrap()
    }

    /// Runs a statement as somebody with a database tool would.
    pub async fn tamper(&self, sql: &str) {
        let changed = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(self.db.pool()).await.unwrap();
        assert_ne!(changed.rows_affected(), 0, "{sql}");
    }
}

pub fn administrative_act() -> Record {
    let act = Admin {
        act: "client.add".into(),
        actor: "anna (uid 1000)".into(),
        object: "laptop".into(),
        before: None,
        after: None,
    };
    Record::new(at(0), Event::Admin(act))
}

pub async fn append(db: &Database, chain: &Chain, records: &[Record]) {
    let mut tx = db.begin_write().await.unwrap();
    vmsgate_audit::append(&mut tx, chain, records).await.unwrap();
    db.commit(tx).await.unwrap();
}

/// Waits for a condition that another thread brings about.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = Duration::from_secs(30);
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, poll).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
