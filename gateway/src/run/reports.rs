//! What the gateway notes in the registry beside the changes: which keys were heard, who is there, that it runs, how
//! somebody was cut off. Written by a task of its own: while the registry is locked, everything waits here, the newest of
//! each kind, and nothing else waits for it.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;
use vmsgate_keys::registry::{Cut, Presence};
use vmsgate_keys::{Actor, PublicKey, Registry, RegistryError, Revision};

/// A gateway that was not heard for 15 s is taken for gone.
const BEAT: Duration = Duration::from_secs(5);
/// After a write that failed.
const RETRY: Duration = Duration::from_millis(500);
/// Transactions between two beats.
const HEARD_AT_ONCE: usize = 64;
/// How long a client's former key goes on after its new one was heard: packets under it may be on their way.
const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// The main task's end.
pub struct Reports {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Default)]
struct Pending {
    revision: Revision,
    /// Keys that were heard for the first time, with their client and its name.
    heard: HashMap<PublicKey, (Uuid, String)>,
    cuts: Vec<Cut>,
    presence: HashMap<Uuid, Presence>,
    stop: bool,
}

impl Reports {
    pub fn start(registry: Registry, gateway: String, revision: Revision) -> Reports {
        let pending = Mutex::new(Pending { revision, ..Pending::default() });
        let shared = Arc::new(Shared { pending, wake: Notify::new() });
        let task = tokio::spawn(run(registry, gateway, shared.clone()));
        Reports { shared, task }
    }

    pub fn heard(&self, key: PublicKey, client: Uuid, name: String) {
        self.shared.tell(|pending| drop(pending.heard.insert(key, (client, name))));
    }

    /// A revision is in force, and these were cut off with it.
    pub fn applied(&self, revision: Revision, cuts: Vec<Cut>) {
        self.shared.tell(|pending| {
            pending.revision = revision;
            pending.cuts.extend(cuts);
        });
    }

    pub fn present(&self, presence: HashMap<Uuid, Presence>) {
        self.shared.tell(|pending| pending.presence.extend(presence));
    }

    /// Writes the last of it, and that the gateway stopped in order.
    pub async fn stop(self, patience: Duration) {
        self.shared.tell(|pending| pending.stop = true);
        if tokio::time::timeout(patience, self.task).await.is_err() {
            tracing::warn!("the registry does not learn that the gateway stopped");
        }
    }
}

impl Shared {
    fn tell(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.pending());
        self.wake.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(registry: Registry, gateway: String, shared: Arc<Shared>) {
    let mut works = true;
    loop {
        let stop = shared.pending().stop;
        let written = write(&registry, &gateway, &shared).await;
        if let (Err(error), true) = (&written, works) {
            tracing::warn!(error = error as &dyn Error, "the registry cannot be written; trying on");
        }
        works = written.is_ok();
        let more = works && !shared.pending().heard.is_empty();
        if stop {
            if let Err(error) = registry.stopped(&gateway).await {
                tracing::warn!(%error, "the registry does not learn that the gateway stopped");
            }
            return;
        }
        let wait = match (works, more) {
            (true, true) => Duration::ZERO,
            (true, false) => BEAT,
            (false, _) => RETRY,
        };
        let due = Instant::now() + wait;
        tokio::select! {
            () = sleep_until(due) => {}
            // A failing registry is asked at a steady pace, whatever there is to write.
            () = shared.wake.notified(), if works => {}
        }
    }
}

/// Writes what is pending, the most urgent first. What could not be written stays pending.
async fn write(registry: &Registry, gateway: &str, shared: &Shared) -> Result<(), RegistryError> {
    let (heard, cuts, presence, revision): (Vec<_>, _, Vec<Presence>, _) = {
        let pending = shared.pending();
        let heard = pending.heard.iter().take(HEARD_AT_ONCE).map(|(k, v)| (*k, v.clone())).collect();
        (heard, pending.cuts.clone(), pending.presence.values().cloned().collect(), pending.revision)
    };
    for cut in &cuts {
        registry.report_cut(cut).await?;
        shared.pending().cuts.retain(|other| other != cut);
    }
    // After the cuts: whoever waits for a gateway to have this revision finds them.
    registry.heartbeat(gateway, revision, Timestamp::now()).await?;
    for (key, (client, name)) in &heard {
        match confirm(registry, gateway, (*client, name), key).await {
            Err(error @ (RegistryError::Database(_) | RegistryError::Audit(_))) => return Err(error),
            Err(error) => tracing::warn!(%error, client = name, "that a new key is in use was not noted"),
            Ok(()) => {}
        }
        shared.pending().heard.remove(key);
    }
    if !presence.is_empty() {
        registry.report_presence(gateway, &presence).await?;
        let mut pending = shared.pending();
        for written in &presence {
            if pending.presence.get(&written.client) == Some(written) {
                pending.presence.remove(&written.client);
            }
        }
    }
    Ok(())
}

/// Each in a change of its own, so that the record names who it was.
async fn confirm(
    registry: &Registry,
    gateway: &str,
    (client, name): (Uuid, &str),
    key: &PublicKey,
) -> Result<(), RegistryError> {
    let mut change = registry.change(&Actor::client(name, gateway)).await?;
    if change.confirm_key(client, key, GRACE).await?.is_some() {
        change.commit().await?;
    }
    Ok(())
}
