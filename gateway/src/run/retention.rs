//! Deletes once a day what has been kept long enough.

use std::{error::Error, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, Interval, interval_at},
};
use vmsgate_audit::{
    Database, Label, SigningKey, UtcTime,
    prune::{Deleter, PruneError, Pruned, prune},
    retention::{Class, Retention},
};

/// The start of a gateway has more urgent things to do.
const FIRST: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// Knows when it is time, and runs one at a time.
#[derive(Debug)]
pub(super) struct Keeper {
    database: Database,
    key: SigningKey,
    due: Interval,
    running: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn new(database: Database, key: SigningKey) -> Self {
        Self { database, key, due: interval_at(Instant::now() + FIRST, EVERY), running: None }
    }

    pub(super) async fn due(&mut self) {
        self.due.tick().await;
    }

    /// Begins to delete, unless the last time is not over yet.
    pub(super) fn start(&mut self, kept: &vmsgate_config::Retention, gateway: &str, now: UtcTime) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let (database, key) = (self.database.clone(), self.key.clone());
        let (kept, actor) = (kept.clone(), Label::new(&format!("gateway {gateway}")));
        self.running = Some(tokio::spawn(async move {
            match apply(&database, &key, &kept, actor, now).await {
                Ok(pruned) => {
                    tracing::info!(records = pruned.records(), "deleted records whose time was over")
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn Error,
                    "records whose time is over were not deleted; see `vmsgate audit verify`"
                ),
            }
        }));
    }

    /// What was deleted until now is complete in itself.
    pub(super) fn stop(&self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn apply(
    database: &Database,
    key: &SigningKey,
    kept: &vmsgate_config::Retention,
    actor: Label,
    now: UtcTime,
) -> Result<Pruned, PruneError> {
    let retention = Retention::new(|class| match class {
        Class::Sessions => kept.sessions,
        Class::Flows => kept.flows,
        Class::Denials => kept.denials,
        Class::Handshakes => kept.handshakes,
        Class::Gateway => kept.gateway,
        Class::Admin => kept.admin,
    });
    let deleter = Deleter { actor, object: Label::new("retention") };
    prune(database, key, &retention.cutoffs(now), &deleter, now).await
}

#[cfg(test)]
mod tests {
    use vmsgate_audit::event::{Event, FlowDenied, GatewayStarted};
    use vmsgate_audit::verify::{Known, verify};
    use vmsgate_audit::{
        AuditHandle, AuditWriter, Chain, Checkpoints, Create, Destination, Fingerprint, Ports, Protocol,
        Reason, Record, SessionSubject, WriterConfig, entries,
    };

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn day(number: i64) -> UtcTime {
        UtcTime::from_unix_ms(1_772_357_400_000 + number * DAY.as_millis() as i64)
    }

    fn started(time: UtcTime) -> Record {
        let started = GatewayStarted { version: Label::new("1"), listen: Vec::new(), config_hash: None };
        Record::new(time, Event::GatewayStarted(started))
    }

    fn denied(time: UtcTime) -> Record {
        let address = "192.168.10.21".parse().unwrap();
        let session = SessionSubject {
            id: uuid::Uuid::from_u128(1),
            client: Label::new("laptop"),
            operator: Label::new("Anna Berg"),
            role: Label::new("smart-client"),
            key: Fingerprint::new("0123456789abcdef").unwrap(),
            source: "203.0.113.7:40000".parse().unwrap(),
            tunnel: vec!["10.99.0.2".parse().unwrap()],
        };
        let denied = FlowDenied {
            session: session.into(),
            protocol: Protocol::Tcp,
            source: "10.99.0.2".parse().unwrap(),
            destination: Destination { server: None, service: None, address, port: Some(1433) },
            ports: Ports::new([1433..=1433]),
            count: 1,
            first: time,
            last: time,
            reason: Reason::new("never-exposed"),
            rule: None,
            nearest: None,
        };
        Record::new(time, Event::FlowDenied(denied))
    }

    /// Waits until a checkpoint covers what was written: before it nothing may go.
    async fn signed(database: &Database, audit: &AuditHandle) {
        audit.flush().await.unwrap();
        let (head, mut seen) = (vmsgate_audit::head(database, &chain()).await.unwrap().seq, 0);
        while seen <= head {
            tokio::task::yield_now().await;
            let kinds = kinds(database, &chain()).await;
            let newest = kinds.iter().rfind(|(_, kind, _)| kind == "audit.checkpoint");
            seen = newest.map_or(0, |(seq, ..)| seq + 1);
        }
    }

    /// Number, kind and text of the records of a chain.
    async fn kinds(database: &Database, chain: &Chain) -> Vec<(u64, String, serde_json::Value)> {
        let entries = entries(database, chain, 0, 1000).await.unwrap();
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let entries = entries.into_iter().map(|entry| (entry.seq, read(&entry.text)));
        entries.map(|(seq, record)| (seq, record["kind"].as_str().unwrap().to_owned(), record)).collect()
    }

    fn chain() -> Chain {
        Chain::gateway("gw-1")
    }

    async fn count(database: &Database, kind: &str) -> usize {
        kinds(database, &chain()).await.iter().filter(|(_, found, _)| found == kind).count()
    }

    /// The keeper's schedule runs on the paused clock; the clock goes on while the database works, which happens on
    /// other threads and would otherwise look like idleness.
    async fn when_due(keeper: &mut Keeper) -> Duration {
        tokio::time::pause();
        let since = Instant::now();
        keeper.due().await;
        let waited = since.elapsed();
        tokio::time::resume();
        waited
    }

    #[tokio::test]
    async fn what_is_old_goes_every_day_beside_the_writer_with_a_tombstone_and_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("vmsgate.db"), Create::Yes).await.unwrap();
        let key = SigningKey::from_seed(&[7; 32]);
        let every = Duration::from_millis(1);
        let checkpoints = Some(Checkpoints { key: key.clone(), every });
        let config = WriterConfig { checkpoints, ..WriterConfig::default() };
        let writer = AuditWriter::spawn(&database, chain(), config, day(0)).await.unwrap();
        let audit = writer.handle();
        for record in [started(day(0)), denied(day(0)), denied(day(1)), denied(day(2))] {
            audit.append(record);
        }
        signed(&database, &audit).await;

        let kept = vmsgate_config::Retention {
            sessions: None,
            flows: None,
            denials: Some(DAY),
            handshakes: Some(DAY),
            gateway: None,
            admin: None,
        };
        let mut keeper = Keeper::new(database.clone(), key.clone());
        assert!(when_due(&mut keeper).await >= FIRST);
        keeper.start(&kept, "gw-1", day(2));
        audit.append(denied(day(2)));
        keeper.running.take().unwrap().await.unwrap();
        audit.flush().await.unwrap();
        assert_eq!(count(&database, "flow.denied").await, 3, "a day is not over for the others");
        assert!(when_due(&mut keeper).await >= EVERY - FIRST);
        signed(&database, &audit).await;
        keeper.start(&kept, "gw-1", day(9));
        keeper.running.take().unwrap().await.unwrap();
        writer.stop(Duration::from_secs(10)).await.unwrap();

        assert_eq!(count(&database, "flow.denied").await, 0);
        assert_eq!(count(&database, "gateway.started").await, 1, "kept for ever");
        assert_eq!(count(&database, "audit.tombstone").await, 2);
        let acts = kinds(&database, &Chain::admin()).await;
        let acts: Vec<_> = acts.iter().filter(|(_, kind, _)| kind == "admin.audit.prune").collect();
        assert_eq!(acts.len(), 2, "{acts:?}");
        for (_, _, act) in acts {
            assert_eq!((&act["actor"], &act["object"]), (&"gateway gw-1".into(), &"retention".into()));
        }
        let known = Known { key: Some(key.verifying_key()), anchors: Vec::new() };
        let report = verify(&database, &known, |_| ()).await.unwrap();
        let pruned: u64 = report.chains.iter().map(|chain| chain.pruned).sum();
        assert!(report.proven && pruned >= 4, "{report:#?}");
    }
}
