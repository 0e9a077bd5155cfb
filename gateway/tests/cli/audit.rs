//! `vmsgate audit`: the log is proven, kept elsewhere, pruned, and every edit with the sqlite3 shell is found. What our
//! verifier says is held against an independent one, `tests/verify.py`.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;
use vmsgate_audit::{
    AuditWriter, Chain, Checkpoints, Database, Destination, Event, Fingerprint, FlowSubject, HostPort, Label,
    Ports, Protocol, Reason, Record, SessionSubject, SigningKey, Traffic, UtcTime, WriterConfig,
    event::{FlowClosed, FlowDenied, FlowOpened, SessionClosed, SessionOpened},
};
use vmsgate_keys::{Actor, Passphrase, Settings, TunnelRanges};

use crate::site::{CONFIG, Site, json};

const DAY_MS: i64 = 86_400_000;

struct Log {
    site: Site,
    key: SigningKey,
}

/// An installation with two days of records, each signed, and a session that is open.
async fn log() -> Log {
    let site = Site::new(CONFIG);
    fs::write(site.path("passphrase"), "correct horse battery\n").unwrap();
    let passphrase = Passphrase::from_file(&site.path("passphrase")).unwrap();
    let made = site.data().initialise(&passphrase, &settings(), &Actor::current()).await.unwrap();
    let key = made.registry.audit_signing_key(&made.master, &Actor::current()).await.unwrap();
    made.registry.close().await;
    let log = Log { site, key };
    log.record(day(1)).await;
    log.record(day(2)).await;
    log.record(vec![opened(3), flow_opened(3)]).await;
    log
}

fn settings() -> Settings {
    Settings {
        name: "gw-1".to_owned(),
        endpoints: vec!["vpn.example.org:51820".parse().unwrap()],
        tunnel: TunnelRanges::new(vec!["10.99.0.0/16".parse().unwrap()]).unwrap(),
    }
}

impl Log {
    async fn record(&self, records: Vec<Record>) {
        let database = self.open().await;
        let checkpoints = Some(Checkpoints { key: self.key.clone(), every: Duration::from_secs(3600) });
        let config = WriterConfig { checkpoints, ..WriterConfig::default() };
        let writer = AuditWriter::spawn(&database, Chain::gateway("gw-1"), config, time(4)).await.unwrap();
        for record in records {
            writer.handle().append(record);
        }
        writer.stop(Duration::from_secs(10)).await.unwrap();
        database.close().await;
    }

    async fn open(&self) -> Database {
        Database::open(&self.site.data().database(), vmsgate_audit::Create::No).await.unwrap()
    }

    /// A copy after edits with the sqlite3 shell.
    fn edited(&self, sql: &str) -> PathBuf {
        let copy = self.site.path("copy.db");
        // With what is still in the write-ahead log, which a plain copy of the file would lack.
        let backup = format!(".backup '{}'", copy.display());
        let done = Command::new("sqlite3").arg(self.site.data().database()).arg(backup).status().unwrap();
        assert!(done.success());
        let output = Command::new("sqlite3").arg("-bail").arg(&copy).arg(sql).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{sql}: {output:?}");
        copy
    }

    /// What our verifier says, once it is clear that the independent one comes to the same verdict.
    fn verify(&self, database: &Path, more: &[&str]) -> String {
        let database = database.to_str().unwrap();
        let outcome = self.site.plain_vmsgate(&[&["audit", "verify", database], more].concat());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/verify.py");
        let mut python = Command::new("python3");
        python.arg("-I").arg(script).arg(database).args(more).current_dir(self.site.path("."));
        let other = python.output().unwrap();
        let same = outcome.starts_with("exit 0\n") == other.status.success();
        assert!(same && other.stderr.is_empty(), "{outcome}\nindependent: {other:?}");
        outcome
    }

    fn anchor(&self) -> &'static str {
        let outcome = self.site.vmsgate(&["audit", "checkpoint"]);
        assert!(outcome.starts_with("exit 0\n-- out\nvmsgate-checkpoint 1 admin "), "{outcome}");
        fs::write(self.site.path("ticket.txt"), outcome).unwrap();
        "ticket.txt"
    }
}

fn time(day: i64) -> UtcTime {
    UtcTime::from_unix_ms(1_772_357_400_000 + day * DAY_MS)
}

fn session(day: i64) -> Arc<SessionSubject> {
    Arc::new(SessionSubject {
        id: Uuid::from_u128(day as u128),
        client: Label::new(&format!("laptop-{day}")),
        operator: Label::new("Anna \"Ann\" Berg"),
        role: Label::new("smart-client"),
        key: Fingerprint::new("0123456789abcdef").unwrap(),
        source: "203.0.113.7:40000".parse().unwrap(),
        tunnel: vec!["10.99.0.2".parse().unwrap()],
    })
}

fn flow() -> FlowSubject {
    let address = "10.99.0.2".parse().unwrap();
    let source = HostPort { address, port: Some(50_000) };
    FlowSubject { id: 1, protocol: Protocol::Tcp, source, destination: destination(), lan_source: None }
}

fn destination() -> Destination {
    let address = "192.168.10.21".parse().unwrap();
    Destination { server: Some(Label::new("rec01")), service: None, address, port: Some(7563) }
}

fn opened(day: i64) -> Record {
    Record::new(time(day), Event::SessionOpened(SessionOpened { session: session(day), continues: None }))
}

fn flow_opened(day: i64) -> Record {
    Record::new(time(day), Event::FlowOpened(FlowOpened { session: session(day), flow: flow() }))
}

/// Six records: a session, a flow, two denials.
fn day(day: i64) -> Vec<Record> {
    let (session, opened_at, traffic) = (session(day), time(day), Traffic::default());
    let denied = |address: &str| {
        let destination =
            Destination { server: None, service: None, address: address.parse().unwrap(), port: Some(1433) };
        let event = FlowDenied {
            session: session.clone(),
            protocol: Protocol::Tcp,
            source: "10.99.0.2".parse().unwrap(),
            destination,
            ports: Ports::new([1433..=1433]),
            count: 1,
            first: time(day),
            last: time(day),
            reason: Reason::new("never-exposed"),
            rule: None,
            nearest: None,
        };
        Record::new(time(day), Event::FlowDenied(event))
    };
    let (reason, duration_ms) = (Reason::new("finished"), 1000);
    let flow_closed = FlowClosed {
        session: session.clone(),
        flow: flow(),
        reason: reason.clone(),
        opened: opened_at,
        duration_ms,
        traffic,
        tls: None,
    };
    let closed = SessionClosed {
        session: session.clone(),
        reason,
        opened: opened_at,
        duration_ms,
        traffic,
        continues: None,
    };
    vec![
        opened(day),
        flow_opened(day),
        denied("192.168.10.21"),
        denied("192.168.10.22"),
        Record::new(time(day), Event::FlowClosed(flow_closed)),
        Record::new(time(day), Event::SessionClosed(closed)),
    ]
}

/// Whether what these tests need is installed; says so aloud when it is not, and fails where nothing may be skipped.
fn has_tools() -> bool {
    let folders: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let installed = |program: &&str| folders.iter().any(|folder| folder.join(program).is_file());
    let absent: Vec<_> = ["sqlite3", "python3"].into_iter().filter(|program| !installed(program)).collect();
    if absent.is_empty() {
        return true;
    }
    let required = env::var("VMSGATE_REQUIRE_NETNS").as_deref() == Ok("1");
    assert!(!required, "{absent:?} not installed; VMSGATE_REQUIRE_NETNS=1 forbids skipping");
    let _ = writeln!(io::stderr(), "SKIPPED: {absent:?} not installed (.ci/run lists the packages)");
    false
}

#[tokio::test]
async fn the_untouched_a_pruned_and_a_crashed_log_are_proven() {
    if !has_tools() {
        return;
    }
    let log = log().await;
    let anchor = log.anchor();
    let database = log.site.data().database();
    let outcome = log.verify(&database, &["--anchor", anchor]);
    assert!(outcome.starts_with("exit 0\n"), "{outcome}");
    assert!(
        outcome.contains("gateway/gw-1: 17 records, ") && outcome.contains("the log has it"),
        "{outcome}"
    );
    let key = log.key.verifying_key().to_string();
    assert!(log.verify(&database, &["--key", &key]).starts_with("exit 0\n"));
    let outcome = log.verify(&database, &[]);
    assert!(
        outcome.contains("with the key") && outcome.contains("hint: this proves nothing against"),
        "{outcome}"
    );

    // The next start after a crash closes what was open.
    log.record(Vec::new()).await;
    assert!(log.verify(&database, &["--anchor", anchor]).starts_with("exit 0\n"));

    let cut_off = time(2).to_string();
    let would = log.site.vmsgate(&["audit", "prune", "--before", &cut_off, "--kind", "flows", "--dry-run"]);
    assert!(would.contains("2 of ") && would.contains("would be deleted"), "{would}");
    for kinds in [&["--kind", "flows"][..], &["--kind", "denials"], &[]] {
        let prune = ["--passphrase-file", "passphrase", "audit", "prune", "--before", &cut_off];
        let outcome = log.site.vmsgate(&[&prune, kinds].concat());
        assert!(outcome.starts_with("exit 0\n") && outcome.contains(" deleted, 2026-"), "{outcome}");
        let outcome = log.verify(&database, &["--anchor", anchor]);
        assert!(outcome.starts_with("exit 0\n") && outcome.contains(" pruned"), "{outcome}");
    }
    let acts = log.edited("SELECT 1");
    let acts = Command::new("sqlite3")
        .arg(acts)
        .arg("SELECT body FROM audit_record WHERE kind = 'admin.audit.prune'")
        .output();
    let acts = String::from_utf8(acts.unwrap().stdout).unwrap();
    assert_eq!(acts.lines().count(), 3, "{acts}");
    assert!(acts.contains("\"object\":\"flows\"") && acts.contains("(uid "), "{acts}");
    for listing in ["sessions", "flows", "denials"] {
        assert!(log.site.vmsgate(&[listing]).starts_with("exit 0\n"), "{listing}");
    }
}

#[tokio::test]
async fn every_edit_with_the_sqlite3_shell_is_found_and_its_place_is_named() {
    if !has_tools() {
        return;
    }
    let log = log().await;
    let record =
        |change: &str| format!("UPDATE audit_record SET {change} WHERE chain = 'gateway/gw-1' AND seq = 5");
    let mut edits: Vec<(String, &str)> = [
        "body = replace(body, 'rec01', 'rec02')",
        "body = body || ' '",
        "hash = substr(hash, 2) || '0'",
        "time_ms = time_ms - 1",
        "kind = 'flow.denied'",
        "session = replace(session, '1', '2')",
        "client = 'laptop-2'",
        "operator = NULL",
        "server = 'rec02'",
        "server = CAST('rec01' AS BLOB)",
        "seq = 500",
        "chain = 'admin', seq = 500",
    ]
    .map(|change| (record(change), "record 5"))
    .into();
    let chain = "chain = 'gateway/gw-1'";
    let columns = "time_ms, kind, session, client, operator, server, body, hash FROM audit_record";
    edits.extend([
        (format!("DELETE FROM audit_record WHERE {chain} AND seq = 9"), "record 9"),
        (
            format!("DELETE FROM audit_record WHERE {chain} AND seq BETWEEN 3 AND 12"),
            "records 3 to 12 are missing",
        ),
        (
            format!("INSERT INTO audit_record SELECT chain, 18, {columns} WHERE {chain} AND seq = 2"),
            "record 18",
        ),
        (
            format!(
                "UPDATE audit_record SET seq = -seq WHERE {chain} AND seq IN (3, 4);
                 UPDATE audit_record SET seq = 7 + seq WHERE {chain} AND seq < 0"
            ),
            "record 3",
        ),
        (format!("DELETE FROM audit_record WHERE {chain} AND seq > 14"), "record 14"),
        (format!("DELETE FROM audit_record WHERE {chain}"), "the tail was cut"),
        (format!("DELETE FROM audit_chain WHERE {chain}"), "`audit_chain` says nothing"),
        (format!("UPDATE audit_chain SET seq = 16 WHERE {chain}"), "record 16"),
        ("UPDATE audit_key SET public_key = 'x' || substr(public_key, 2)".into(), "NOT PROVEN"),
        (
            "UPDATE audit_session SET ended_ms = 5 WHERE client = 'laptop-2'".into(),
            "`ended_ms` is not what record",
        ),
        ("DELETE FROM audit_flow WHERE client = 'laptop-1'".into(), "the end of what it tells of"),
        ("UPDATE audit_flow SET from_client_bytes = 5 WHERE client = 'laptop-1'".into(), "`counters` is not"),
    ]);
    for (sql, place) in edits {
        let outcome = log.verify(&log.edited(&sql), &[]);
        assert!(outcome.starts_with("exit 1\n") && outcome.contains(place), "{sql}\n{outcome}");
    }
    let outcome = log.verify(&log.edited(&record("client = 'x'")), &[]);
    assert!(outcome.contains("its look-up column `client`"), "{outcome}");
    let late = format!("UPDATE audit_record SET client = 'x' WHERE {chain} AND seq = 9");
    let outcome = log.verify(&log.edited(&late), &[]);
    assert!(outcome.contains("still proven: 2026-03-02 09:30:00 UTC to "), "{outcome}");
}

#[tokio::test]
async fn a_cut_that_was_covered_up_and_a_log_written_anew_need_an_anchor_or_the_key() {
    if !has_tools() {
        return;
    }
    let log = log().await;
    let anchor = log.anchor();
    let cut = "DELETE FROM audit_record WHERE chain = 'gateway/gw-1' AND seq > 14;
        UPDATE audit_chain SET (seq, hash) =
            (SELECT seq, hash FROM audit_record WHERE chain = 'gateway/gw-1' AND seq = 14) WHERE chain = 'gateway/gw-1';
        DELETE FROM audit_session WHERE last_seq > 14; DELETE FROM audit_flow WHERE last_seq > 14;";
    let copy = log.edited(cut);
    assert!(log.verify(&copy, &[]).starts_with("exit 0\n"));
    let outcome = log.verify(&copy, &["--anchor", anchor]);
    assert!(outcome.starts_with("exit 1\n") && outcome.contains("its tail was cut off"), "{outcome}");

    // The same chains from another installation: other records from some point on, signed with its own key.
    let mut other = self::log().await;
    other.site = Site::new(CONFIG);
    let passphrase = log.site.path("passphrase");
    let passphrase = Passphrase::from_file(&passphrase).unwrap();
    let made = other.site.data().initialise(&passphrase, &settings(), &Actor::current()).await.unwrap();
    other.key = made.registry.audit_signing_key(&made.master, &Actor::current()).await.unwrap();
    made.registry.close().await;
    other.record(day(1)).await;
    other.record(vec![opened(2)]).await;
    let forged = other.site.data().database();
    assert!(log.verify(&forged, &[]).starts_with("exit 0\n"), "it is whole in itself");
    let outcome = log.verify(&forged, &["--anchor", anchor]);
    assert!(outcome.starts_with("exit 1\n") && outcome.contains("signed with the key"), "{outcome}");
    let key = log.key.verifying_key().to_string();
    let outcome = log.verify(&forged, &["--key", &key]);
    assert!(outcome.starts_with("exit 1\n") && outcome.contains("it was replaced"), "{outcome}");
}

#[tokio::test]
async fn administrative_records_of_the_last_year_are_not_deleted_and_it_is_said() {
    let log = log().await;
    for more in [&["--dry-run"][..], &["--passphrase-file", "passphrase"]] {
        let outcome =
            log.site.vmsgate(&[&["audit", "prune", "--before", "now", "--kind", "admin"], more].concat());
        assert!(outcome.starts_with("exit 0\n") && outcome.contains(" kept: younger than 365"), "{outcome}");
        assert!(outcome.contains("nothing else is that old"), "{outcome}");
    }
    let would = json(&log.site.vmsgate(&["--json", "audit", "prune", "--before", "now", "--dry-run"]));
    assert!(would["acts_kept"].as_u64().unwrap() > 0 && would["counts"]["flow.denied"] == 4, "{would}");
}

/// The key is in the database from the installation on, before anything is signed with it.
#[tokio::test]
async fn a_log_without_a_signature_is_intact_and_not_proven() {
    if !has_tools() {
        return;
    }
    let log = log().await;
    let unsigned = log.edited(
        "DELETE FROM audit_record WHERE chain <> 'admin' OR kind = 'audit.checkpoint';
         DELETE FROM audit_chain WHERE chain <> 'admin';
         UPDATE audit_chain SET (seq, hash) = (SELECT seq, hash FROM audit_record ORDER BY seq DESC LIMIT 1);
         DELETE FROM audit_session; DELETE FROM audit_flow;",
    );
    let outcome = log.verify(&unsigned, &[]);
    assert!(
        outcome.starts_with("exit 0\n") && outcome.contains("intact, but nothing in it is signed"),
        "{outcome}"
    );
    assert!(!outcome.contains("with the key"), "{outcome}");
    // Whoever has the key expects signatures, and whoever kept an anchor knows that there was one.
    let key = log.key.verifying_key().to_string();
    let outcome = log.verify(&unsigned, &["--key", &key]);
    assert!(
        outcome.starts_with("exit 1\n") && outcome.contains("NOT PROVEN: nothing in it is signed"),
        "{outcome}"
    );
    let outcome = log.verify(&unsigned, &["--anchor", log.anchor()]);
    assert!(outcome.starts_with("exit 1\n") && outcome.contains("its tail was cut off"), "{outcome}");
}

#[tokio::test]
async fn the_answers_are_there_for_programs_too() {
    let log = log().await;
    let verified = json(&log.site.vmsgate(&["--json", "audit", "verify"]));
    assert_eq!((&verified["schema_version"], &verified["proven"]), (&1.into(), &true.into()));
    assert_eq!(verified["key_source"], "database");
    assert_eq!(verified["chains"][1]["records"], 17);
    let kept = json(&log.site.vmsgate(&["--json", "audit", "checkpoint"]));
    assert_eq!(kept["checkpoints"][1]["seq"], 17);
    let would = json(&log.site.vmsgate(&["--json", "audit", "prune", "--before", "2026-03-03", "--dry-run"]));
    assert_eq!(would["counts"]["flow.denied"], 2);
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let site = Site::new(CONFIG);
    let outcome = site.vmsgate(&["audit", "verify"]);
    assert!(outcome.starts_with("exit 1\n-- out\n-- err\nerror: there is no database at "), "{outcome}");
    let outcome = site.vmsgate(&["audit", "prune", "--before", "90d"]);
    assert!(outcome.contains("tombstones are signed, so the keystore's passphrase is needed"), "{outcome}");
    fs::write(site.path("ticket.txt"), "hello\n").unwrap();
    let outcome = site.vmsgate(&["audit", "verify", "--anchor", "ticket.txt"]);
    assert!(outcome.contains("there is no checkpoint line in it"), "{outcome}");
}
