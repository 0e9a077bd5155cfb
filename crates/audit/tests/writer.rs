//! The writing thread: nothing is lost, nothing blocks, and the health tells the truth.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use support::*;
use vmsgate_audit::{
    AuditWriter, Chain, Create, Database, Entry, Event, HealthState, Label, Progress, Reason, Record,
    StopError, WriterConfig,
    chain::verify,
    event::SessionOpened,
    query::{Filter, flows, sessions},
};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn flush_returns_when_everything_before_it_is_on_disk() {
    let test = TestDb::new().await;
    let writer = test.writer(1000).await;
    let handle = writer.handle();
    for n in 0..100 {
        handle.append(flow_opened(n, 1, n as u64, "rec01"));
        if n % 10 == 9 {
            handle.flush().await.unwrap();
            assert_eq!(test.all(&gw1()).await.len(), n as usize + 1);
        }
    }
    assert_eq!(handle.health().state, HealthState::Ok);
    assert_eq!(handle.health().written, 100);
    writer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn records_reach_the_disk_by_themselves_and_in_order() {
    let test = TestDb::new().await;
    let writer = test.writer(1000).await;
    for n in 0..50 {
        writer.handle().append(flow_opened(n, 1, n as u64, "rec01"));
    }
    until("written", || writer.handle().health().written == 50).await;
    let flows: Vec<u64> = test
        .all(&gw1())
        .await
        .iter()
        .map(|entry| match Entry::parse(&entry.text).unwrap().record.event {
            Event::FlowOpened(opened) => opened.flow.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(flows.into_iter().eq(0..50));
}

#[tokio::test]
async fn records_are_committed_in_groups() {
    let test = TestDb::new().await;
    let writer = test.writer(10_000).await;
    let handle = writer.handle();
    let started = Instant::now();
    for n in 0..5000 {
        handle.append(flow_opened(n, 1, n as u64, "rec01"));
    }
    let queueing = started.elapsed();
    handle.flush().await.unwrap();
    let writing = started.elapsed();
    assert!(queueing < writing, "queueing does not wait for the disk: {queueing:?} of {writing:?}");
    // One fsync per record would appear as one commit per record in the write-ahead log, at least two pages each.
    let pages = size(&test.path.with_file_name("vmsgate.db-wal")) / 4096;
    assert!(pages < 5000, "{pages} pages were written");
    verify(&gw1(), gw1().genesis(), test.all(&gw1()).await).unwrap();
}

#[tokio::test]
async fn stop_writes_what_is_queued() {
    let test = TestDb::new().await;
    let writer = test.writer(1000).await;
    let handle = writer.handle();
    for n in 0..500 {
        handle.append(flow_opened(n, 1, n as u64, "rec01"));
    }
    writer.stop(PATIENCE).await.unwrap();
    assert_eq!(test.all(&gw1()).await.len(), 500);

    assert!(!handle.accepting());
    assert_eq!(handle.health().state, HealthState::Stopped);
    assert!(matches!(handle.flush().await, Err(StopError::Stopped)));
    handle.append(flow_opened(0, 1, 501, "rec01"));
    assert_eq!(handle.health().lost, 1);
}

#[tokio::test]
async fn dropping_the_writer_writes_what_is_queued() {
    let test = TestDb::new().await;
    let writer = test.writer(1000).await;
    let handle = writer.handle();
    for n in 0..500 {
        handle.append(flow_opened(n, 1, n as u64, "rec01"));
    }
    drop(writer);
    until("written", || handle.health().written == 500).await;
    assert_eq!(test.all(&gw1()).await.len(), 500);
}

#[tokio::test]
async fn a_locked_database_closes_the_door_to_new_flows_until_it_recovers() {
    let test = TestDb::new().await;
    let writer = test.writer(1000).await;
    let handle = writer.handle();
    assert!(handle.accepting());

    let locked = test.db.begin_write().await.unwrap();
    handle.append(session_opened(0, 1));
    until("refusing", || !handle.accepting()).await;
    until("failed", || matches!(handle.health().state, HealthState::Failed { .. })).await;
    let health = handle.health();
    assert!(health.reason().contains("locked by another writer"), "{health:?}");
    assert!(health.behind_ms > 0);
    handle.append(session_closed(0, 1, 1));

    drop(locked);
    handle.flush().await.unwrap();
    assert!(handle.accepting());
    assert_eq!(handle.health().state, HealthState::Ok);
    assert_eq!(test.all(&gw1()).await.len(), 2);
    assert_eq!(handle.health().lost, 0);
}

#[tokio::test]
async fn a_database_that_was_taken_away_closes_the_door_until_it_is_back() {
    let test = TestDb::new().await;
    let writer = test.writer(1000).await;
    let handle = writer.handle();
    handle.append(session_opened(0, 1));
    handle.flush().await.unwrap();

    let elsewhere = test.path.with_file_name("elsewhere.db");
    std::fs::rename(&test.path, &elsewhere).unwrap();
    handle.append(session_closed(0, 1, 1));
    until("refusing", || !handle.accepting()).await;
    assert!(handle.health().reason().contains("removed or replaced"), "{:?}", handle.health());

    std::fs::rename(&elsewhere, &test.path).unwrap();
    handle.flush().await.unwrap();
    assert!(handle.accepting());
    assert_eq!(test.all(&gw1()).await.len(), 2);
}

#[tokio::test]
async fn stop_gives_up_on_a_dead_store_and_counts_what_was_lost() {
    let test = TestDb::new().await;
    let writer = test.writer(1000).await;
    let handle = writer.handle();
    let _locked = test.db.begin_write().await.unwrap();
    for n in 0..7 {
        handle.append(session_opened(n, n as u128));
    }
    match writer.stop(Duration::from_millis(100)).await {
        Err(StopError::Unwritten { unwritten: 7, health }) => assert!(health.reason().contains("locked")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_last_quarter_of_the_queue_is_for_live_flows() {
    let test = TestDb::new().await;
    let writer = test.writer(16).await;
    let handle = writer.handle();
    let locked = test.db.begin_write().await.unwrap();
    // The thread holds the first group; then the queue fills.
    handle.append(session_opened(0, 1));
    until("taken", || handle.health().queued == 0 && handle.health().behind_ms > 150).await;
    let mut accepted = 0;
    for n in 0..16 {
        accepted += i32::from(handle.accepting());
        handle.append(flow_opened(n, 1, n as u64, "rec01"));
    }
    // A store that has failed in the meantime refuses earlier; it never accepts later.
    assert!(accepted <= 12, "{accepted}");
    drop(locked);
    handle.flush().await.unwrap();
    assert_eq!(handle.health().lost, 0);
    assert_eq!(test.all(&gw1()).await.len(), 17);
}

#[tokio::test]
async fn an_overflow_leaves_a_gap_record_with_the_exact_count() {
    let test = TestDb::new().await;
    let writer = test.writer(8).await;
    let handle = writer.handle();
    let locked = test.db.begin_write().await.unwrap();
    handle.append(session_opened(0, 1));
    until("failing", || matches!(handle.health().state, HealthState::Failed { .. })).await;
    for n in 0..50 {
        handle.append(flow_opened(n, 1, n as u64, "rec01"));
    }
    assert_eq!(handle.health().lost, 42);
    drop(locked);
    handle.flush().await.unwrap();

    let entries = test.all(&gw1()).await;
    verify(&gw1(), gw1().genesis(), entries.clone()).unwrap();
    let gaps: Vec<_> = entries
        .iter()
        .filter_map(|entry| match Entry::parse(&entry.text).unwrap().record.event {
            Event::Gap(gap) => Some(gap),
            _ => None,
        })
        .collect();
    assert_eq!(gaps.iter().map(|gap| gap.missing).sum::<u64>(), 42, "{gaps:?}");
    assert_eq!((gaps[0].first, gaps[0].last), (at(8), at(49)));
    assert_eq!(entries.len(), 1 + 8 + gaps.len());
}

#[tokio::test]
async fn progress_takes_no_room_in_the_queue_and_is_written_by_itself() {
    let test = TestDb::new().await;
    let writer = test.writer(16).await;
    let handle = writer.handle();
    let opened: Vec<_> = (0..3000).map(|id| flow_opened(0, 1, id, "rec01")).collect();
    test.append(&gw1(), &opened).await;
    for id in 0..3000 {
        handle.note(Progress { session: session(1).id, flow: Some(id), seen: at(700), traffic: traffic(id) });
        assert!(handle.accepting());
    }
    let patience = Instant::now() + PATIENCE;
    loop {
        let rows = flows(&test.db, &Filter { limit: 5000, ..Filter::default() }).await.unwrap().rows;
        if rows.iter().all(|row| row.last_seen == at(700) && row.traffic == traffic(row.flow)) {
            break;
        }
        assert!(Instant::now() < patience, "not written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(test.all(&gw1()).await.len(), 3000, "progress is beside the log, not in it");
}

#[tokio::test]
async fn a_crash_closes_what_was_open_with_the_last_known_counters() {
    let test = TestDb::new().await;
    let crashed = test.writer(1000).await;
    let handle = crashed.handle();
    let continues = Some(session(9).id);
    for record in [
        Record::new(at(0), Event::SessionOpened(SessionOpened { session: session(1), continues }))
            .under_policy(Label::new("p1")),
        session_opened(10, 2),
        flow_opened(20, 1, 1, "rec01"),
        flow_opened(30, 1, 2, "rec01"),
        flow_closed(30, 40, 1, 2, "rec01"),
        session_closed(10, 50, 2),
    ] {
        handle.append(record);
    }
    handle.note(Progress { session: session(1).id, flow: None, seen: at(5000), traffic: traffic(5) });
    handle.note(Progress { session: session(1).id, flow: None, seen: at(6000), traffic: traffic(6) });
    handle.note(Progress { session: session(1).id, flow: Some(1), seen: at(4000), traffic: traffic(4) });
    handle.note(Progress { session: session(2).id, flow: None, seen: at(9000), traffic: traffic(9) });
    handle.flush().await.unwrap();
    // Another gateway's open session is not ours to close.
    let other = Chain::gateway("gw-2");
    test.append(&other, &[session_opened(0, 3)]).await;
    // No closing records: as if the process had been killed here.
    drop(crashed);

    let open = sessions(&test.db, &all()).await.unwrap().rows;
    assert_eq!(open.iter().filter(|row| row.ended.is_none()).count(), 2);
    assert_eq!(open.iter().find(|row| row.session == session(1).id).unwrap().traffic, traffic(6));

    let next = AuditWriter::spawn(&test.db, gw1(), WriterConfig::default(), at(100_000)).await.unwrap();
    let rows = sessions(&test.db, &all()).await.unwrap().rows;
    let row = rows.iter().find(|row| row.session == session(1).id).unwrap();
    assert_eq!(row.reason, Some(Reason::GATEWAY_CRASH));
    assert_eq!((row.opened, row.ended, row.traffic), (at(0), Some(at(6000)), traffic(6)));
    assert_eq!((row.policy.as_ref().unwrap().as_str(), row.continues), ("p1", continues));
    let row = rows.iter().find(|row| row.session == session(2).id).unwrap();
    assert_eq!(
        (row.reason.as_ref().unwrap().as_str(), row.traffic),
        ("idle", traffic(7)),
        "closed before the crash"
    );
    assert!(rows.iter().find(|row| row.session == session(3).id).unwrap().ended.is_none());
    let rows = flows(&test.db, &all()).await.unwrap().rows;
    let row = rows.iter().find(|row| row.flow == 1).unwrap();
    assert_eq!((row.ended, row.traffic), (Some(at(4000)), traffic(4)));
    assert_eq!(row.reason, Some(Reason::GATEWAY_CRASH));

    let entries = test.all(&gw1()).await;
    assert_eq!(entries.len(), 6 + 2, "one record for the session, one for its flow");
    verify(&gw1(), gw1().genesis(), entries).unwrap();
    next.stop(PATIENCE).await.unwrap();
    let again = AuditWriter::spawn(&test.db, gw1(), WriterConfig::default(), at(200_000)).await.unwrap();
    assert_eq!(test.all(&gw1()).await.len(), 8, "a clean start closes nothing");
    again.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_session_whose_record_was_altered_is_ended_and_told_as_a_gap() {
    let test = TestDb::new().await;
    test.append(&gw1(), &[session_opened(0, 1), flow_opened(1, 1, 1, "rec01")]).await;
    test.tamper("UPDATE audit_record SET body = 'nonsense' WHERE seq = 1").await;
    test.tamper("DELETE FROM audit_record WHERE seq = 2").await;
    test.writer(100).await.stop(PATIENCE).await.unwrap();
    let entries = test.all(&gw1()).await;
    let gaps = entries.iter().filter(|entry| entry.text.contains("unreadable-record")).count();
    assert_eq!(gaps, 2);
    test.writer(100).await.stop(PATIENCE).await.unwrap();
    assert_eq!(test.all(&gw1()).await.len(), entries.len(), "told once");
}

#[tokio::test]
async fn writers_of_one_chain_take_turns_and_of_two_do_not_mix() {
    let test = TestDb::new().await;
    let second = Database::open(&test.path, Create::No).await.unwrap();
    let third = Database::open(&test.path, Create::No).await.unwrap();
    let write = |db: Database, chain: Chain, from: u128| {
        tokio::spawn(async move {
            for n in from..from + 40 {
                append(&db, &chain, &[session_opened(0, n), session_closed(0, 1, n)]).await;
            }
        })
    };
    let other = Chain::gateway("gw-2");
    let tasks = [
        write(test.db.clone(), gw1(), 0),
        write(second.clone(), gw1(), 1000),
        write(third.clone(), gw1(), 2000),
        write(second, other.clone(), 3000),
        write(third, Chain::admin(), 4000),
    ];
    for task in tasks {
        task.await.unwrap();
    }
    for (chain, length) in [(gw1(), 240), (other, 80), (Chain::admin(), 80)] {
        let entries = test.all(&chain).await;
        assert_eq!(entries.len(), length);
        verify(&chain, chain.genesis(), entries).unwrap();
    }
}

#[tokio::test]
async fn an_abandoned_transaction_leaves_no_trace() {
    let test = TestDb::new().await;
    let mut tx = test.db.begin_write().await.unwrap();
    vmsgate_audit::append(&mut tx, &gw1(), &[session_opened(0, 1)]).await.unwrap();
    drop(tx);
    test.append(&gw1(), &[session_opened(0, 2)]).await;
    let entries = test.all(&gw1()).await;
    assert_eq!(entries.len(), 1);
    verify(&gw1(), gw1().genesis(), entries).unwrap();
}

fn all() -> Filter {
    Filter { limit: 1000, ..Filter::default() }
}
