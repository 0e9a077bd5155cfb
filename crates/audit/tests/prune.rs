//! What is old enough goes, what is open or unproven stays, and what is left verifies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use vmsgate_audit::{
    AuditWriter, Chain, Checkpoints, Entry, Label, Record, SigningKey, StoredSigningKey, UtcTime,
    WriterConfig,
    prune::{Deleter, PruneError, Pruned, preview, prune},
    query::{Filter, denials, flows, sessions},
    retention::{Class, Cutoffs},
    store_signing_key,
    verify::{AnchorState, ChainReport, Known, Report, What, newest_checkpoints, verify},
};

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn deleter() -> Deleter {
    Deleter { actor: Label::new("auditor"), object: Label::new("audit log") }
}

/// What is said of the gateway's own chain.
fn gateway(report: &Report) -> &ChainReport {
    report.chains.iter().find(|chain| chain.chain.as_str() == "gateway/gw-1").unwrap()
}

fn known() -> Known {
    Known { key: Some(key().verifying_key()), anchors: Vec::new() }
}

async fn run(test: &TestDb, records: &[Record]) {
    let checkpoints = Some(Checkpoints { key: key(), every: Duration::from_secs(3600) });
    let config = WriterConfig { checkpoints, ..WriterConfig::default() };
    let writer = AuditWriter::spawn(&test.db, gw1(), config, at(0)).await.unwrap();
    for record in records {
        writer.handle().append(record.clone());
    }
    writer.stop(Duration::from_secs(10)).await.unwrap();
}

/// A day of one closed session: six records and a checkpoint.
fn day(number: i64) -> Vec<Record> {
    let (start, client) = (number * 1000, number as u128);
    vec![
        session_opened(start, client),
        flow_opened(start + 10, client, 1, "rec01"),
        denied(start + 20, client, Some("mgmt"), 1433),
        flow_closed(start + 10, start + 30, client, 1, "rec01"),
        denied(start + 40, client, None, 22),
        session_closed(start, start + 50, client),
    ]
}

async fn with_key() -> TestDb {
    let test = TestDb::new().await;
    let stored = StoredSigningKey {
        public_key: key().verifying_key(),
        sealed_private_key: "sealed".into(),
        created: at(0),
    };
    let mut tx = test.db.begin_write().await.unwrap();
    store_signing_key(&mut tx, &stored).await.unwrap();
    test.db.commit(tx).await.unwrap();
    test
}

async fn days(range: std::ops::Range<i64>) -> TestDb {
    let test = with_key().await;
    for number in range {
        run(&test, &day(number)).await;
    }
    test
}

async fn delete(test: &TestDb, before: UtcTime, classes: &[Class]) -> Pruned {
    prune(&test.db, &key(), &Cutoffs::before(before, classes), &deleter(), at(9000)).await.unwrap()
}

async fn proven(test: &TestDb) -> Report {
    let report = verify(&test.db, &known(), |_| ()).await.unwrap();
    assert!(report.proven, "{report:#?}");
    report
}

async fn numbers(test: &TestDb) -> Vec<u64> {
    test.all(&gw1()).await.iter().map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn a_beginning_goes_with_its_checkpoints_and_what_is_left_verifies() {
    let test = days(0..4).await;
    let would = preview(&test.db, &Cutoffs::before(at(2000), &Class::ALL)).await.unwrap();
    assert_eq!(numbers(&test).await.len(), 28, "a preview deletes nothing");
    let pruned = delete(&test, at(2000), &Class::ALL).await;
    assert_eq!(pruned, would);
    // Checkpoints are written with the clock of this machine, which is later than every record here.
    assert_eq!((pruned.records(), pruned.before), (12, 28));
    assert_eq!((pruned.from, pruned.to), (Some(at(0)), Some(at(1050))));
    let report = proven(&test).await;
    assert_eq!(gateway(&report).pruned, 12);
    assert_eq!(gateway(&report).unsigned, 0, "a checkpoint covers the tombstone");

    let filter = Filter { limit: 100, ..Filter::default() };
    let sessions = sessions(&test.db, &filter).await.unwrap();
    let flows = flows(&test.db, &filter).await.unwrap();
    let denials = denials(&test.db, &filter).await.unwrap();
    assert_eq!((sessions.rows.len(), flows.rows.len(), denials.rows.len()), (2, 2, 4));
    assert_eq!((sessions.unreadable, flows.unreadable, denials.unreadable), (0, 0, 0));
}

#[tokio::test]
async fn old_checkpoints_and_tombstones_go_with_the_beginning_they_are_in() {
    let test = days(0..2).await;
    delete(&test, at(1000), &[Class::Denials]).await;
    run(&test, &day(2)).await;
    let far = UtcTime::from_unix_ms(T0 * 2);
    prune(&test.db, &key(), &Cutoffs::before(far, &Class::ALL), &deleter(), at(9000)).await.unwrap();
    let left = test.all(&gw1()).await;
    let kinds: Vec<_> =
        left.iter().map(|entry| Entry::parse(&entry.text).unwrap().record.event.kind().to_string()).collect();
    assert_eq!(kinds, ["audit.checkpoint", "audit.tombstone", "audit.checkpoint"]);
    proven(&test).await;
}

#[tokio::test]
async fn each_kind_goes_by_itself_and_later_tombstones_join_earlier_ones() {
    let test = days(0..4).await;
    for (before, class) in
        [(1000, Class::Denials), (2000, Class::Flows), (3000, Class::Denials), (3000, Class::Sessions)]
    {
        let pruned = delete(&test, at(before), &[class]).await;
        assert!(pruned.records() > 0, "{class:?}");
        proven(&test).await;
    }
    let pruned = delete(&test, at(3000), &Class::ALL).await;
    assert_eq!(
        pruned.counts.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["flow.closed", "flow.opened"]
    );
    proven(&test).await;
    assert_eq!(delete(&test, at(3000), &Class::ALL).await.records(), 0, "nothing is left to do");
}

#[tokio::test]
async fn what_is_open_and_what_no_checkpoint_covers_stays() {
    let test = TestDb::new().await;
    run(&test, &[session_opened(0, 1), flow_opened(1, 1, 1, "rec01"), flow_opened(2, 1, 2, "rec01")]).await;
    // The start of the next run would close them; a single append does not.
    test.append(&gw1(), &[session_opened(5, 2), flow_opened(6, 2, 1, "rec01"), denied(7, 2, None, 22)]).await;
    let pruned = delete(&test, at(8000), &Class::ALL).await;
    assert_eq!(pruned.records(), 0, "all of the first run was closed by nobody, the rest is not signed");
    proven(&test).await;
}

#[tokio::test]
async fn a_log_that_does_not_verify_is_left_alone() {
    let test = days(0..2).await;
    test.tamper("UPDATE audit_record SET client = 'x' WHERE seq = 9").await;
    let outcome =
        prune(&test.db, &key(), &Cutoffs::before(at(5000), &Class::ALL), &deleter(), at(9000)).await;
    assert!(matches!(outcome, Err(PruneError::Unproven(_))));
    assert_eq!(numbers(&test).await.len(), 14);
}

#[tokio::test]
async fn what_goes_and_the_record_of_who_deleted_it_are_one_transaction() {
    let test = days(0..2).await;
    let refuse = sqlx::query(
        "CREATE TRIGGER refuse BEFORE INSERT ON audit_record WHEN NEW.kind = 'admin.audit.prune'
         BEGIN SELECT RAISE(ABORT, 'refused'); END",
    );
    refuse.execute(test.db.pool()).await.unwrap();
    let cutoffs = Cutoffs::before(at(1000), &Class::ALL);
    assert!(prune(&test.db, &key(), &cutoffs, &deleter(), at(9000)).await.is_err());
    assert_eq!(numbers(&test).await.len(), 14, "nothing goes without a record of it");

    sqlx::query("DROP TRIGGER refuse").execute(test.db.pool()).await.unwrap();
    assert_eq!(delete(&test, at(1000), &Class::ALL).await.records(), 6);
    let acts = test.all(&Chain::admin()).await;
    let act = &acts[0].text;
    assert!(act.contains(r#""actor":"auditor","after":{"records":8},"before":{"records":14}"#), "{act}");
    let report = proven(&test).await;
    assert_eq!(report.chains[0].unsigned, 0, "the act is signed as well");
}

#[tokio::test]
async fn a_gap_needs_a_tombstone_that_covers_it_whole_and_is_signed() {
    for edit in [
        "DELETE FROM audit_record WHERE kind = 'audit.tombstone'",
        "UPDATE audit_record SET kind = 'audit.gap' WHERE kind = 'audit.tombstone'",
        "DELETE FROM audit_record WHERE seq = 4",
    ] {
        let test = days(0..2).await;
        delete(&test, at(1000), &[Class::Denials]).await;
        test.tamper(edit).await;
        let report = verify(&test.db, &known(), |_| ()).await.unwrap();
        let fault = gateway(&report).fault.clone().unwrap();
        assert!(matches!(fault.what, What::Missing { .. }), "{edit}: {fault:?}");
    }
    // A record in the place of one that is gone.
    let test = days(0..2).await;
    let sql = "INSERT INTO audit_record SELECT chain, 4, time_ms, kind, session, client, operator, server, body, hash
        FROM audit_record WHERE seq = 9";
    delete(&test, at(1000), &Class::ALL).await;
    test.tamper(sql).await;
    let report = verify(&test.db, &known(), |_| ()).await.unwrap();
    assert_eq!(gateway(&report).fault.as_ref().unwrap().what, What::Reappeared(4));
}

#[tokio::test]
async fn an_anchor_in_what_was_pruned_says_that_it_cannot_be_compared() {
    let test = days(0..2).await;
    let anchors = newest_checkpoints(&test.db).await.unwrap();
    run(&test, &day(2)).await;
    run(&test, &day(3)).await;
    let far = UtcTime::from_unix_ms(T0 * 2);
    prune(&test.db, &key(), &Cutoffs::before(far, &Class::ALL), &deleter(), at(9000)).await.unwrap();
    let report = verify(&test.db, &Known { key: None, anchors }, |_| ()).await.unwrap();
    assert!(report.proven);
    assert_eq!(report.anchors[0].state, AnchorState::Pruned);
}

#[tokio::test]
async fn the_administrators_chain_is_pruned_like_any_other() {
    let test = TestDb::new().await;
    test.append(&Chain::admin(), &[administrative_act()]).await;
    run(&test, &day(0)).await;
    assert_eq!(delete(&test, at(5000), &[Class::Gateway]).await.records(), 0);
    assert_eq!(delete(&test, at(5000), &[Class::Admin]).await.records(), 1);
    proven(&test).await;
}

/// Every state in which a crash could leave a run of pruning is one that verifies: deletion and tombstone are one
/// transaction, and there are several.
#[tokio::test]
async fn thousands_of_records_go_in_several_transactions_while_a_gateway_writes() {
    let test = TestDb::new().await;
    for chunk in 0..10 {
        let many: Vec<_> = (0..1000).map(|n| denied(chunk * 1000 + n, 1, None, 22)).collect();
        run(&test, &many).await;
    }
    let writer = test.writer(1000).await;
    let handle = writer.handle();
    let writing = async {
        for n in 0..50 {
            handle.append(denied(20_000 + n, 2, None, 22));
            handle.flush().await.unwrap();
        }
    };
    let (pruned, ()) = tokio::join!(delete(&test, at(10_000), &[Class::Denials]), writing);
    writer.stop(Duration::from_secs(10)).await.unwrap();
    assert_eq!(pruned.records(), 10_000);
    let report = proven(&test).await;
    assert_eq!(gateway(&report).pruned, 10_000);
}
