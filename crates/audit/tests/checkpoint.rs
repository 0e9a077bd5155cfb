//! Signed checkpoints: written by themselves, and no more than needed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use vmsgate_audit::{
    AuditWriter, Chain, Checkpoint, Checkpoints, Entry, Event, SigningKey, StoredSigningKey, WriterConfig,
    chain::verify, signing_key, store_signing_key,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

async fn writer(test: &TestDb, every: Duration) -> AuditWriter {
    let checkpoints = Some(Checkpoints { key: key(), every });
    let config = WriterConfig { checkpoints, ..WriterConfig::default() };
    AuditWriter::spawn(&test.db, gw1(), config, at(0)).await.unwrap()
}

/// The checkpoints of a chain with their numbers, each checked against what it covers and against the key.
async fn checkpoints(test: &TestDb, chain: &Chain) -> Vec<(u64, Checkpoint)> {
    let mut found = Vec::new();
    let mut head = chain.genesis();
    for stored in test.all(chain).await {
        let entry = Entry::parse(&stored.text).unwrap();
        if let Event::Checkpoint(checkpoint) = entry.record.event {
            assert_eq!((checkpoint.head_seq, checkpoint.head_hash), (head.seq, head.hash));
            assert!(checkpoint.is_signed_by(&key().verifying_key(), chain, entry.record.time));
            found.push((entry.seq, checkpoint));
        }
        head = verify(chain, head, [stored]).unwrap();
    }
    found
}

#[tokio::test]
async fn a_stop_signs_what_was_written_and_the_administrative_acts() {
    let test = TestDb::new().await;
    test.append(&Chain::admin(), &[administrative_act()]).await;
    let writer = writer(&test, Duration::from_secs(3600)).await;
    writer.handle().append(session_opened(0, 1));
    writer.handle().append(session_closed(0, 5, 1));
    writer.stop(PATIENCE).await.unwrap();

    for (chain, covered) in [(gw1(), 2), (Chain::admin(), 1)] {
        let found = checkpoints(&test, &chain).await;
        assert_eq!(found.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [covered + 1], "{chain:?}");
    }
}

#[tokio::test]
async fn a_chain_without_news_gets_no_second_checkpoint() {
    let test = TestDb::new().await;
    writer(&test, Duration::from_millis(1)).await.stop(PATIENCE).await.unwrap();
    assert!(test.all(&gw1()).await.is_empty(), "nothing to sign");

    let first = writer(&test, Duration::from_secs(3600)).await;
    first.handle().append(session_opened(0, 1));
    first.handle().append(session_closed(0, 5, 1));
    first.stop(PATIENCE).await.unwrap();
    let length = test.all(&gw1()).await.len();
    let second = writer(&test, Duration::from_millis(1)).await;
    second.handle().flush().await.unwrap();
    second.stop(PATIENCE).await.unwrap();
    assert_eq!(test.all(&gw1()).await.len(), length);
}

#[tokio::test]
async fn checkpoints_come_while_it_runs() {
    let test = TestDb::new().await;
    let writer = writer(&test, Duration::from_millis(20)).await;
    writer.handle().append(session_opened(0, 1));
    let patience = async {
        while checkpoints(&test, &gw1()).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), patience).await.unwrap();
    writer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn the_key_is_stored_once_and_its_public_half_is_in_clear() {
    let test = TestDb::new().await;
    assert_eq!(signing_key(&test.db).await.unwrap(), None);
    let stored = |seed| StoredSigningKey {
        public_key: SigningKey::from_seed(&[seed; 32]).verifying_key(),
        sealed_private_key: "sealed".into(),
        created: at(0),
    };
    for (seed, expected) in [(1, true), (2, false)] {
        let mut tx = test.db.begin_write().await.unwrap();
        assert_eq!(store_signing_key(&mut tx, &stored(seed)).await.unwrap(), expected);
        test.db.commit(tx).await.unwrap();
    }
    assert_eq!(signing_key(&test.db).await.unwrap(), Some(stored(1)));
}
