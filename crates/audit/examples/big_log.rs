//! Makes a log to measure on, and measures: `cargo run --release -p vmsgate-audit --example big_log -- FILE RECORDS`.
//!
//! Sessions of 100 flows each, as a gateway would write them, signed every second. A log that is there is used again.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for measurements")]

use std::{
    env,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;
use vmsgate_audit::{
    AuditWriter, Chain, Checkpoints, Create, Database, Destination, Event, Fingerprint, FlowSubject,
    HostPort, Label, Protocol, Reason, Record, SessionSubject, SigningKey, StoredSigningKey, Traffic,
    UtcTime, Volume, WriterConfig,
    event::{FlowClosed, FlowOpened, SessionClosed, SessionOpened},
    store_signing_key,
    verify::{Known, verify},
};

const FLOWS_PER_SESSION: u64 = 100;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = env::args().collect();
    let [_, path, records] = &arguments[..] else { panic!("usage: big_log FILE RECORDS") };
    if !Path::new(path).exists() {
        write(Path::new(path), records.parse().unwrap()).await;
    }
    let started = Instant::now();
    let db = Database::open_read_only(Path::new(path)).await.unwrap();
    let report = verify(&db, &Known::default(), |_| ()).await.unwrap();
    assert!(report.proven, "{report:#?}");
    let records: u64 = report.chains.iter().map(|chain| chain.records).sum();
    let seconds = started.elapsed().as_secs_f64();
    println!("{records} records verified in {seconds:.2} s: {:.0} per second", records as f64 / seconds);
}

async fn write(path: &Path, records: u64) {
    let db = Database::open(path, Create::Yes).await.unwrap();
    let key = SigningKey::from_seed(&[7; 32]);
    let stored = StoredSigningKey {
        public_key: key.verifying_key(),
        sealed_private_key: "of no use".into(),
        created: time(0),
    };
    let mut tx = db.begin_write().await.unwrap();
    store_signing_key(&mut tx, &stored).await.unwrap();
    db.commit(tx).await.unwrap();

    let checkpoints = Some(Checkpoints { key, every: Duration::from_secs(1) });
    let config = WriterConfig { checkpoints, ..WriterConfig::default() };
    let writer = AuditWriter::spawn(&db, Chain::gateway("gw-1"), config, time(0)).await.unwrap();
    let handle = writer.handle();
    let sessions = records / (2 * FLOWS_PER_SESSION + 2);
    for number in 0..sessions {
        for record in session(number) {
            handle.append(record);
        }
        if number % 50 == 0 {
            handle.flush().await.unwrap();
        }
    }
    writer.stop(Duration::from_secs(60)).await.unwrap();
    db.close().await;
}

fn time(ms: u64) -> UtcTime {
    UtcTime::from_unix_ms(1_772_357_400_000 + ms as i64)
}

fn session(number: u64) -> Vec<Record> {
    let session = Arc::new(SessionSubject {
        id: Uuid::from_u128(0x0195_5000_0000_7000_8000_0000_0000_0000 + u128::from(number)),
        client: Label::new(&format!("laptop-{}", number % 500)),
        operator: Label::new(&format!("Operator number {}", number % 500)),
        role: Label::new("smart-client"),
        key: Fingerprint::new(&format!("{:016x}", number % 500)).unwrap(),
        source: "203.0.113.9:51820".parse().unwrap(),
        tunnel: vec!["10.99.0.2".parse().unwrap(), "fd00:99::2".parse().unwrap()],
    });
    let (start, duration_ms) = (number * 10_000, 9000);
    let traffic = Traffic {
        from_client: Volume { bytes: 123_456, packets: 1234 },
        to_client: Volume { bytes: 98_765_432, packets: 98_765 },
    };
    let event = |ms, event| Record::new(time(ms), event).under_policy(Label::new("0123456789abcdef"));
    let mut records =
        vec![event(start, Event::SessionOpened(SessionOpened { session: session.clone(), continues: None }))];
    for id in 0..FLOWS_PER_SESSION {
        let opened = start + id * 10;
        let flow = FlowSubject {
            id,
            protocol: Protocol::Tcp,
            source: HostPort { address: "10.99.0.2".parse().unwrap(), port: Some(50_312) },
            destination: Destination {
                server: Some(Label::new("rec01")),
                service: Some(Label::new("recording-server")),
                address: "192.168.10.21".parse().unwrap(),
                port: Some(7563),
            },
            lan_source: Some(HostPort { address: "192.168.10.5".parse().unwrap(), port: Some(40_112) }),
        };
        let (session, reason) = (session.clone(), Reason::new("finished"));
        let opening = FlowOpened { session: session.clone(), flow: flow.clone() };
        let closing =
            FlowClosed { session, flow, reason, opened: time(opened), duration_ms, traffic, tls: None };
        records.push(event(opened, Event::FlowOpened(opening)));
        records.push(event(opened + duration_ms, Event::FlowClosed(closing)));
    }
    let reason = Reason::new("idle");
    let closing =
        SessionClosed { session, reason, opened: time(start), duration_ms, traffic, continues: None };
    records.push(event(start + duration_ms, Event::SessionClosed(closing)));
    records
}
