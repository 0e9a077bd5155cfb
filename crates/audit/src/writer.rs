//! Writes a gateway's chain from a thread of its own, so that no packet ever waits for the disk.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::{
    chain::Chain,
    db::Database,
    group::GroupWriter,
    health::Health,
    record::Record,
    recovery,
    shared::{Message, Shared},
    signing::SigningKey,
    store::StoreError,
    subject::Traffic,
    time::UtcTime,
};

#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// Records that may wait. From three quarters on, new flows are to be refused ([`AuditHandle::accepting`]): the
    /// last quarter is for the closing records of live ones.
    ///
    /// Default 65,536, which is at most some 50 MB, and 3 minutes of 250 flows opened and none closed per second
    /// while the disk is away.
    pub capacity: usize,
    /// How the chain, and that of administrative acts, are signed. Default: they are not.
    pub checkpoints: Option<Checkpoints>,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { capacity: 65_536, checkpoints: None }
    }
}

/// A checkpoint is written when there are records that none covers: regularly, and at the stop.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    pub key: SigningKey,
    pub every: Duration,
}

impl Checkpoints {
    /// Every minute: so much of the end of a log can be cut without contradicting a signature.
    pub fn every_minute(key: SigningKey) -> Self {
        Self { key, every: Duration::from_secs(60) }
    }
}

/// The writing thread of one chain. There may be one per chain and database, in one process.
#[derive(Debug)]
pub struct AuditWriter {
    handle: AuditHandle,
    stop: watch::Sender<Option<Instant>>,
    finished: oneshot::Receiver<usize>,
}

/// Where the gateway puts its records. Clones share one queue.
#[derive(Debug, Clone)]
pub struct AuditHandle {
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// A record on its way to the disk.
#[derive(Debug)]
pub struct Durable(oneshot::Receiver<()>);

impl Durable {
    /// Waits until the record is on disk. False when it never will be: the queue was full or the writer has stopped.
    pub async fn wait(self) -> bool {
        self.0.await.is_ok()
    }
}

/// Counters of something still open: kept beside the log, not in it, so that they are known after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub session: Uuid,
    /// A flow of the session, or none for the session itself.
    pub flow: Option<u64>,
    pub seen: UtcTime,
    pub traffic: Traffic,
}

impl AuditWriter {
    /// Closes what an earlier run of this gateway left open (reason `gateway-crash`), then starts the thread.
    ///
    /// Call it when it is certain that no other process runs this gateway, for instance once its port is bound:
    /// otherwise the sessions of that process would be closed here.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn spawn(
        db: &Database,
        chain: Chain,
        config: WriterConfig,
        now: UtcTime,
    ) -> Result<Self, StoreError> {
        recovery::close_left_open(db, &chain, now).await?;

        let (queue, records) = mpsc::channel(config.capacity);
        let shared = Arc::new(Shared::new());
        let (stop, stop_requested) = watch::channel(None);
        let (done, finished) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(StoreError::Thread)?;
        let writer = GroupWriter::new(
            db.clone(),
            chain,
            config.checkpoints,
            records,
            Arc::clone(&shared),
            stop_requested,
        );
        thread::Builder::new()
            .name("audit-writer".into())
            .spawn(move || {
                // Nobody listens when the writer was dropped instead of stopped.
                let _ = done.send(runtime.block_on(writer.run()));
            })
            .map_err(StoreError::Thread)?;
        Ok(Self { handle: AuditHandle { queue, shared }, stop, finished })
    }

    pub fn handle(&self) -> AuditHandle {
        self.handle.clone()
    }

    /// Writes everything that was appended so far, trying for at most `patience` if the store fails, and ends the
    /// thread. What is appended later is lost and logged.
    ///
    /// Dropping the writer does the same with a patience of ten seconds, but waits for nothing.
    pub async fn stop(self, patience: Duration) -> Result<(), StopError> {
        // Fails only if the thread is gone, and then `finished` tells.
        let _ = self.stop.send(Some(Instant::now() + patience));
        match self.finished.await {
            Ok(0) => Ok(()),
            Ok(unwritten) => Err(StopError::Unwritten { unwritten, health: self.handle.health() }),
            Err(_) => Err(StopError::Died),
        }
    }
}

impl AuditHandle {
    /// Queues a record. Never blocks; when the queue is full, the record is counted and an `audit.gap` record will
    /// tell the loss.
    pub fn append(&self, record: Record) {
        self.put(record, None);
    }

    /// Queues a record like [`AuditHandle::append`] and tells when it is on disk. The group that holds it is written
    /// at once instead of waiting for more.
    pub fn append_durably(&self, record: Record) -> Durable {
        let (written, wait) = oneshot::channel();
        self.put(record, Some(written));
        Durable(wait)
    }

    fn put(&self, record: Record, waiting: Option<oneshot::Sender<()>>) {
        let time = record.time;
        match self.queue.try_send(Message::Record(Box::new(record), waiting)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.shared.lose(time),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.shared.lose(time);
                tracing::error!("audit record lost: it came after the audit writer had stopped");
            }
        }
    }

    /// Notes the counters of an open session or flow; the latest per session and flow is kept. Takes no room in the
    /// queue of records.
    pub fn note(&self, progress: Progress) {
        self.shared.note(progress);
    }

    /// Whether new flows may be admitted: the store works and the queue is less than three quarters full.
    pub fn accepting(&self) -> bool {
        let queued = self.queued();
        queued < self.queue.max_capacity() / 4 * 3 && self.shared.works() && !self.queue.is_closed()
    }

    pub fn health(&self) -> Health {
        self.shared.health(self.queued(), self.queue.max_capacity(), self.queue.is_closed())
    }

    /// Waits until everything appended before this call is on disk.
    pub async fn flush(&self) -> Result<(), StopError> {
        let (written, wait) = oneshot::channel();
        self.queue.send(Message::Flush(written)).await.map_err(|_| StopError::Stopped)?;
        wait.await.map_err(|_| StopError::Stopped)
    }

    fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StopError {
    #[error("{unwritten} audit records could not be written before the end: {}", .health.reason())]
    Unwritten { unwritten: usize, health: Health },
    #[error("the audit writer was stopped")]
    Stopped,
    #[error("the audit writer ended unexpectedly")]
    Died,
}
