//! A log is proven while it is being written, as if nothing happened meanwhile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use vmsgate_audit::{
    AuditWriter, Chain, Checkpoints, Database, SigningKey, WriterConfig,
    verify::{Known, verify},
};

/// Far more checkpoints than a gateway writes, so that chains and listings change under every step of the proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_proven_again_and_again_while_a_gateway_and_an_administrator_write() {
    let test = TestDb::new().await;
    let key = SigningKey::from_seed(&[7; 32]);
    let checkpoints = Some(Checkpoints { key: key.clone(), every: Duration::from_millis(5) });
    let config = WriterConfig { checkpoints, ..WriterConfig::default() };
    let writer = AuditWriter::spawn(&test.db, gw1(), config, at(0)).await.unwrap();
    let (audit, db) = (writer.handle(), test.db.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut stopped = std::pin::pin!(stopped);
        for n in 0.. {
            let client = n as u128;
            for record in [
                session_opened(n, client),
                flow_opened(n, client, 1, "rec01"),
                denied(n, client, None, 22),
                flow_closed(n, n + 1, client, 1, "rec01"),
                session_closed(n, n + 1, client),
            ] {
                audit.append(record);
            }
            if n % 10 == 0 {
                append(&db, &Chain::admin(), &[administrative_act()]).await;
            }
            audit.flush().await.unwrap();
            if is_there(&mut stopped).await {
                return n + 1;
            }
        }
        unreachable!("the numbers do not end")
    });

    let known = Known { key: Some(key.verifying_key()), anchors: Vec::new() };
    let (mut growing, mut last) = (0, 0);
    // A busy machine may not let the writer go on between two readings.
    for _ in 0..10_000 {
        if growing == 15 {
            break;
        }
        // As the command does it.
        let reader = Database::open_read_only(&test.path).await.unwrap();
        let report = verify(&reader, &known, |_| ()).await.unwrap();
        reader.close().await;
        assert!(report.proven, "{report:#?}");
        let records = report.chains.iter().map(|chain| chain.records).sum::<u64>();
        assert!(records >= last, "{records} after {last}");
        growing += u32::from(records > last);
        last = records;
    }
    assert_eq!(growing, 15, "hardly anything was written meanwhile");
    stop.send(()).unwrap();
    let rounds = writing.await.unwrap();
    writer.stop(Duration::from_secs(10)).await.unwrap();
    let report = verify(&test.db, &known, |_| ()).await.unwrap();
    let gateway = report.chains.iter().find(|chain| chain.chain.as_str() == gw1().as_str()).unwrap();
    assert!(report.proven && gateway.records - gateway.checkpoints == 5 * rounds as u64, "{report:#?}");
}

/// Whether it is there already, without waiting.
async fn is_there(future: &mut (impl Future + Unpin)) -> bool {
    tokio::select! {
        biased;
        _ = future => true,
        () = std::future::ready(()) => false,
    }
}
