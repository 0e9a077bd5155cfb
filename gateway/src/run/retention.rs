//! Deletes once a day what has been kept long enough.

use std::{error::Error, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, Interval, interval_at},
};
use vmsgate_audit::{
    Database, Label, SigningKey, UtcTime,
    prune::{PruneError, Pruned, prune, record},
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
    let pruned = prune(database, key, &retention.cutoffs(now), now).await?;
    record(database, &pruned, (actor, Label::new("retention")), now).await?;
    Ok(pruned)
}
