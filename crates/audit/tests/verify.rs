//! A log that was written is proven; every edit of it is found, where it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use vmsgate_audit::{
    Anchor, AuditWriter, Chain, Checkpoints, Database, SigningKey, StoredSigningKey, WriterConfig,
    store_signing_key,
    verify::{AnchorState, IndexState, KeySource, Known, Report, What, newest_checkpoints, verify},
};

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// A log of two chains that ends in a checkpoint: a closed session with two flows and denials, and an open one.
async fn log() -> TestDb {
    let test = TestDb::new().await;
    store_key(&test, &key()).await;
    test.append(&Chain::admin(), &[administrative_act()]).await;
    run(&test, &key(), &records()).await;
    run(&test, &key(), &[session_opened(100, 2), flow_opened(110, 2, 1, "mgmt")]).await;
    test
}

fn records() -> Vec<vmsgate_audit::Record> {
    vec![
        session_opened(0, 1),
        flow_opened(10, 1, 1, "rec01"),
        denied(20, 1, Some("mgmt"), 1433),
        denied(21, 1, None, 22),
        flow_closed(10, 30, 1, 1, "rec01"),
        flow_opened(31, 1, 2, "rec01"),
        flow_closed(31, 40, 1, 2, "rec01"),
        session_closed(0, 50, 1),
    ]
}

async fn store_key(test: &TestDb, key: &SigningKey) {
    let stored = StoredSigningKey {
        public_key: key.verifying_key(),
        sealed_private_key: "sealed".into(),
        created: at(0),
    };
    let mut tx = test.db.begin_write().await.unwrap();
    store_signing_key(&mut tx, &stored).await.unwrap();
    test.db.commit(tx).await.unwrap();
}

/// As a gateway that starts, records and stops.
async fn run(test: &TestDb, key: &SigningKey, records: &[vmsgate_audit::Record]) {
    let checkpoints = Some(Checkpoints { key: key.clone(), every: Duration::from_secs(3600) });
    let config = WriterConfig { checkpoints, ..WriterConfig::default() };
    let writer = AuditWriter::spawn(&test.db, gw1(), config, at(0)).await.unwrap();
    for record in records {
        writer.handle().append(record.clone());
    }
    writer.stop(Duration::from_secs(10)).await.unwrap();
}

async fn check(test: &TestDb, known: Known) -> Report {
    let db = Database::open_read_only(&test.path).await.unwrap();
    let report = verify(&db, &known, |_| ()).await.unwrap();
    db.close().await;
    report
}

async fn fault(test: &TestDb) -> (u64, What) {
    let report = check(test, Known::default()).await;
    assert!(!report.proven);
    let fault = report.chains.into_iter().find_map(|chain| chain.fault).unwrap();
    (fault.seq, fault.what)
}

#[tokio::test]
async fn what_was_written_is_proven_with_every_kind_of_key() {
    let test = log().await;
    let anchors = newest_checkpoints(&test.db).await.unwrap();
    assert_eq!(anchors.len(), 2);
    for (known, source) in [
        (Known::default(), KeySource::Database),
        (Known { key: Some(key().verifying_key()), anchors: Vec::new() }, KeySource::Given),
        (Known { key: None, anchors }, KeySource::Anchor),
    ] {
        let report = check(&test, known).await;
        assert!(report.proven, "{report:#?}");
        assert_eq!(report.key_source, source);
        assert!(report.anchors.iter().all(|anchor| anchor.state == AnchorState::Confirmed));
        let gateway = report.chains.iter().find(|chain| chain.chain.as_str() == "gateway/gw-1").unwrap();
        assert_eq!((gateway.records, gateway.checkpoints, gateway.unsigned), (12, 2, 0));
    }
}

#[tokio::test]
async fn an_empty_log_and_one_without_signatures_are_proven_and_say_so() {
    let test = TestDb::new().await;
    let report = check(&test, Known::default()).await;
    assert!(report.proven && report.chains.is_empty() && report.key.is_none());
    test.append(&gw1(), &records()).await;
    let report = check(&test, Known::default()).await;
    assert!(report.proven, "{report:#?}");
    assert_eq!((report.chains[0].proven_until, report.chains[0].unsigned), (None, 8));
    assert_eq!(report.chains[0].unsigned_since, Some(at(0)));
}

#[tokio::test]
async fn every_column_of_a_record_is_guarded() {
    for (edit, seq, what) in [
        ("time_ms = time_ms + 1", 5, What::Column("time_ms")),
        ("kind = 'flow.opened'", 5, What::Column("kind")),
        ("session = NULL", 5, What::Column("session")),
        ("client = 'laptop-9'", 5, What::Column("client")),
        ("operator = ''", 5, What::Column("operator")),
        ("server = 'rec02'", 5, What::Column("server")),
        ("server = CAST(server AS BLOB)", 5, What::Row),
        ("time_ms = 'now'", 5, What::Row),
        ("body = CAST(x'ff' AS TEXT)", 5, What::NotText),
        ("body = replace(body, 'laptop-1', 'laptop-2')", 5, What::Hash),
        ("body = ''", 5, What::Hash),
        ("body = printf('%.*c', 300000, 'x')", 5, What::Row),
        ("hash = replace(hash, substr(hash, 1, 1), 'g')", 5, What::Hash),
        ("hash = upper(hash) || ' '", 5, What::Hash),
        ("seq = 100", 5, What::Missing { seq: 5, next: 6 }),
        ("chain = 'gateway/gw-2'", 5, What::Missing { seq: 5, next: 6 }),
        // As if the column held the rest of the record, and the record of the next row besides.
        ("server = server || hash || body || '6 1 1 1 1 1 1 1 1 '", 5, What::Column("server")),
    ] {
        let test = log().await;
        test.tamper(&format!("UPDATE audit_record SET {edit} WHERE chain = 'gateway/gw-1' AND seq = 5"))
            .await;
        assert_eq!(fault(&test).await, (seq, what), "{edit}");
    }
}

#[tokio::test]
async fn deletion_insertion_and_exchange_are_found_where_they_are() {
    let copy = |columns: &str, condition: &str| {
        format!(
            "INSERT INTO audit_record SELECT {columns}, time_ms, kind, session, client, operator, server, body, hash
             FROM audit_record WHERE chain = 'gateway/gw-1' AND {condition}"
        )
    };
    let inserted = copy("chain, 100", "seq = 3");
    let before_all = copy("chain, 0", "seq = 3");
    for (edit, seq) in [
        ("DELETE FROM audit_record WHERE chain = 'gateway/gw-1' AND seq = 4", 4),
        ("DELETE FROM audit_record WHERE chain = 'gateway/gw-1' AND seq = 1", 1),
        (
            "UPDATE audit_record SET seq = CASE seq WHEN 3 THEN 1000 ELSE 3 END WHERE chain = 'gateway/gw-1' AND seq IN (3)",
            3,
        ),
        (inserted.as_str(), 13),
        (before_all.as_str(), 0),
    ] {
        let test = log().await;
        test.tamper(edit).await;
        assert_eq!(fault(&test).await.0, seq, "{edit}");
    }
    let test = log().await;
    for edit in ["seq = -3 WHERE seq = 3", "seq = 3 WHERE seq = 4", "seq = 4 WHERE seq = -3"] {
        test.tamper(&format!("UPDATE audit_record SET {edit} AND chain = 'gateway/gw-1'")).await;
    }
    assert_eq!(fault(&test).await, (3, What::Hash));
}

#[tokio::test]
async fn a_cut_tail_is_found_by_its_head_and_a_well_cut_one_by_an_anchor() {
    let test = log().await;
    let anchors = newest_checkpoints(&test.db).await.unwrap();
    test.tamper("DELETE FROM audit_record WHERE chain = 'gateway/gw-1' AND seq > 9").await;
    assert!(matches!(fault(&test).await, (9, What::Cut { said: 12, .. })));

    test.tamper(
        "UPDATE audit_chain SET seq = 9, hash = (SELECT hash FROM audit_record WHERE chain = 'gateway/gw-1' AND seq = 9)
         WHERE chain = 'gateway/gw-1'",
    )
    .await;
    let report = check(&test, Known::default()).await;
    assert!(matches!(&report.index, IndexState::Disagrees { .. }), "the listings know more");
    for table in ["audit_session", "audit_flow"] {
        test.tamper(&format!("DELETE FROM {table} WHERE last_seq > 9")).await;
    }
    assert!(check(&test, Known::default()).await.proven, "nothing in the database speaks against it");
    let report = check(&test, Known { key: None, anchors }).await;
    assert!(!report.proven);
    let state = |chain: &str| report.anchors.iter().find(|a| a.chain.as_str() == chain).unwrap().state;
    assert_eq!((state("gateway/gw-1"), state("admin")), (AnchorState::Missing, AnchorState::Confirmed));
}

#[tokio::test]
async fn a_log_written_anew_with_another_key_needs_a_key_or_an_anchor() {
    let real = log().await;
    let anchors = newest_checkpoints(&real.db).await.unwrap();
    let forged = TestDb::new().await;
    let other = SigningKey::from_seed(&[8; 32]);
    store_key(&forged, &other).await;
    run(&forged, &other, &records()[..4]).await;
    run(&forged, &other, &[]).await;

    assert!(check(&forged, Known::default()).await.proven, "it is whole in itself");
    let with_key = check(&forged, Known { key: Some(key().verifying_key()), anchors: Vec::new() }).await;
    assert!(matches!(with_key.chains[0].fault.as_ref().unwrap().what, What::OtherKey { .. }));
    assert!(!with_key.faults.is_empty(), "the key in the database was replaced");
    assert!(!check(&forged, Known { key: None, anchors }).await.proven);
}

#[tokio::test]
async fn an_anchor_shows_a_history_that_was_written_anew_with_the_key_itself() {
    let real = log().await;
    let anchors: Vec<Anchor> = newest_checkpoints(&real.db).await.unwrap();
    let forged = TestDb::new().await;
    store_key(&forged, &key()).await;
    let mut other = records();
    other.remove(2);
    run(&forged, &key(), &other).await;
    let more = [session_opened(100, 2), flow_opened(110, 2, 1, "mgmt"), denied(120, 2, None, 22)];
    run(&forged, &key(), &more).await;
    assert!(check(&forged, Known::default()).await.proven);
    let report = check(&forged, Known { key: None, anchors }).await;
    assert!(report.anchors.iter().any(|anchor| anchor.state == AnchorState::Different), "{report:#?}");
}

#[tokio::test]
async fn checkpoints_must_name_what_is_before_them_and_carry_their_key() {
    let test = log().await;
    test.tamper("DELETE FROM audit_key").await;
    assert!(matches!(fault(&test).await, (_, What::NoKey)));
    let test = log().await;
    test.tamper("UPDATE audit_key SET public_key = 'AAAA'").await;
    assert!(!check(&test, Known::default()).await.proven);
}

#[tokio::test]
async fn the_listings_are_compared_with_the_records() {
    for edit in [
        "UPDATE audit_flow SET client = 'x' WHERE flow = 1",
        "UPDATE audit_flow SET operator = 'x' WHERE flow = 2",
        "UPDATE audit_flow SET server = 'x' WHERE flow = 2",
        "UPDATE audit_flow SET opened_ms = opened_ms - 1 WHERE flow = 2",
        "UPDATE audit_flow SET ended_ms = 1 WHERE flow = 2",
        "UPDATE audit_flow SET from_client_bytes = 0 WHERE flow = 2",
        "UPDATE audit_flow SET last_seq = 1 WHERE flow = 2",
        "UPDATE audit_flow SET ended_ms = 5 WHERE client = 'laptop-2'",
        "UPDATE audit_flow SET client = CAST(client AS BLOB)",
        "DELETE FROM audit_flow WHERE flow = 2",
        "DELETE FROM audit_flow WHERE client = 'laptop-2'",
        "INSERT INTO audit_flow SELECT session, 77, chain, last_seq, client, operator, server, opened_ms, ended_ms,
            last_seen_ms, from_client_bytes, from_client_packets, to_client_bytes, to_client_packets, lan_address, lan_port
         FROM audit_flow WHERE flow = 2",
        "UPDATE audit_flow SET lan_address = NULL WHERE flow = 2",
        "UPDATE audit_flow SET lan_port = 7 WHERE flow = 2",
        "UPDATE audit_session SET client = 'x' WHERE client = 'laptop-2'",
        "UPDATE audit_session SET to_client_packets = 9 WHERE client = 'laptop-1'",
        "DELETE FROM audit_session WHERE client = 'laptop-1'",
    ] {
        let test = log().await;
        test.tamper(edit).await;
        let report = check(&test, Known::default()).await;
        assert!(!report.proven && matches!(report.index, IndexState::Disagrees { .. }), "{edit}: {:?}", report.index);
    }
    let test = log().await;
    test.tamper("UPDATE audit_flow SET from_client_bytes = 5, last_seen_ms = 6 WHERE client = 'laptop-2'")
        .await;
    assert!(
        check(&test, Known::default()).await.proven,
        "what was last heard of something open is no record"
    );
}

#[tokio::test]
async fn a_copy_of_a_closed_database_is_verified() {
    let test = log().await;
    let path = test.path.clone();
    test.db.clone().close().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    let db = Database::open_read_only(&copy).await.unwrap();
    assert!(verify(&db, &Known::default(), |_| ()).await.unwrap().proven);
}
