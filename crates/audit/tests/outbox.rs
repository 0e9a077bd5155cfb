//! Each receiver of the log has its own place in it, which outlives the process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use vmsgate_audit::{Chain, Create, Database, Outbox};

#[tokio::test]
async fn a_cursor_is_kept_per_receiver_and_chain_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmsgate.db");
    let (admin, gateway) = (Chain::admin(), Chain::gateway("gw-1"));
    let db = Database::open(&path, Create::Yes).await.unwrap();
    let outbox = Outbox::open(&db, "siem").await.unwrap();
    assert_eq!(outbox.cursor(&admin).await.unwrap(), 0);
    outbox.advance([(&admin, 3), (&gateway, 70)]).await.unwrap();
    outbox.advance([(&gateway, 80)]).await.unwrap();
    outbox.close().await;
    db.close().await;

    let db = Database::open(&path, Create::No).await.unwrap();
    let outbox = Outbox::open(&db, "siem").await.unwrap();
    assert_eq!(outbox.cursor(&admin).await.unwrap(), 3);
    assert_eq!(outbox.cursor(&gateway).await.unwrap(), 80);
    let other = Outbox::open(&db, "collector").await.unwrap();
    assert_eq!(other.cursor(&gateway).await.unwrap(), 0);
}
