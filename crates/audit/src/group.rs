//! The loop of the writing thread: gather a group, commit it, and hold on to it until that works.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};

use crate::{
    chain::Chain,
    db::Database,
    index,
    record::Record,
    shared::{Loss, Message, ProgressMap, Shared},
    store::{StoreError, append, append_checkpoint},
    writer::Checkpoints,
};

/// How long a group that nobody waits for waits for company. With the commit itself it stays below the promised 200 ms.
const GATHER: Duration = Duration::from_millis(100);
/// Bounds the time and memory of one transaction.
const GROUP_MAX: usize = 2048;
const PROGRESS_MAX: usize = 1024;
/// Others (a command that changes the registry) need the lock for milliseconds; one that keeps it longer than this is
/// reported instead of waited for in silence.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const PATIENCE_WHEN_DROPPED: Duration = Duration::from_secs(10);

pub(crate) struct GroupWriter {
    db: Database,
    /// The thread's own connection, so that readers never take it away.
    own: Option<Database>,
    chain: Chain,
    queue: mpsc::Receiver<Message>,
    shared: Arc<Shared>,
    stop_requested: watch::Receiver<Option<Instant>>,
    /// Set once the end was asked for.
    deadline: Option<Instant>,
    checkpoints: Option<Checkpoints>,
    next_checkpoint: Option<Instant>,
}

#[derive(Default)]
struct Group {
    records: Vec<Record>,
    progress: ProgressMap,
    loss: Option<Loss>,
    /// Whether signed checkpoints end it.
    checkpoint: bool,
    /// Told when the group is on disk.
    waiting: Vec<oneshot::Sender<()>>,
}

impl GroupWriter {
    pub(crate) fn new(
        db: Database,
        chain: Chain,
        checkpoints: Option<Checkpoints>,
        queue: mpsc::Receiver<Message>,
        shared: Arc<Shared>,
        stop_requested: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let mut writer = Self {
            db,
            own: None,
            chain,
            queue,
            shared,
            stop_requested,
            deadline: None,
            checkpoints,
            next_checkpoint: None,
        };
        writer.plan_checkpoint();
        writer
    }

    /// Runs until it is stopped, and returns how many records could not be written by then.
    pub(crate) async fn run(mut self) -> usize {
        let mut more = true;
        while more {
            let mut group = Group::default();
            more = self.gather(&mut group).await;
            group.checkpoint |= !more;
            if let Err(unwritten) = self.write(group).await {
                return unwritten;
            }
        }
        if let Some(own) = self.own {
            own.close().await;
        }
        0
    }

    /// Waits for a first record and a little longer for others; once somebody waits for a record, only for what is
    /// queued already: others gather while this group is being written. False when none will follow.
    async fn gather(&mut self, group: &mut Group) -> bool {
        let mut until = None;
        while group.records.len() < GROUP_MAX {
            if !group.waiting.is_empty() {
                match self.queue.try_recv() {
                    Ok(message) => self.take(message, group),
                    Err(_) => return true,
                }
                continue;
            }
            let message = tokio::select! {
                biased;
                () = asked_to_stop(&mut self.stop_requested), if self.deadline.is_none() => {
                    self.prepare_to_stop();
                    continue;
                }
                message = self.queue.recv() => message,
                () = self.shared.progress_noted() => {
                    until.get_or_insert_with(|| Instant::now() + GATHER);
                    continue;
                }
                () = reached(self.next_checkpoint) => {
                    self.plan_checkpoint();
                    group.checkpoint = true;
                    return true;
                }
                () = reached(until) => return true,
            };
            let Some(message) = message else { return false };
            self.take(message, group);
            until.get_or_insert_with(|| Instant::now() + GATHER);
        }
        true
    }

    fn take(&self, message: Message, group: &mut Group) {
        match message {
            Message::Flush(waiting) => group.waiting.push(waiting),
            Message::Record(record, waiting) => {
                group.records.push(*record);
                group.waiting.extend(waiting);
                self.shared.begin_group();
            }
        }
    }

    /// Commits the group, however long that takes; gives up only after the deadline of a stop.
    async fn write(&mut self, mut group: Group) -> Result<(), usize> {
        let mut pause = FIRST_PAUSE;
        loop {
            group.take_news(&self.shared);
            let error = match self.commit(&group).await {
                Ok(()) => {
                    self.shared.group_written(group.records.len());
                    // Whoever waited may have given up.
                    for waiting in group.waiting {
                        let _ = waiting.send(());
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if self.shared.group_failed(describe(&error)) {
                tracing::error!(error = describe(&error), "the audit log cannot be written; trying again");
            }
            if self.deadline.is_some_and(|deadline| Instant::now() + pause > deadline) {
                return Err(self.give_up(group));
            }
            tokio::select! {
                () = asked_to_stop(&mut self.stop_requested), if self.deadline.is_none() => self.prepare_to_stop(),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    async fn commit(&mut self, group: &Group) -> Result<(), StoreError> {
        let checkpoints = self.checkpoints.as_ref().filter(|_| group.checkpoint);
        let nothing_new = group.records.is_empty() && group.progress.is_empty() && group.loss.is_none();
        if nothing_new && checkpoints.is_none() {
            return Ok(());
        }
        let db = match &mut self.own {
            Some(own) => own,
            none => none.insert(self.db.dedicated(BUSY_TIMEOUT).await?),
        };
        db.check_in_place()?;
        let mut tx = db.begin_write().await?;
        append(&mut tx, &self.chain, &group.records).await?;
        if let Some(loss) = group.loss {
            append(&mut tx, &self.chain, &[loss.to_record()]).await?;
        }
        for (of, (seen, traffic)) in &group.progress {
            index::note_progress(&mut tx, *of, *seen, *traffic).await?;
        }
        if let Some(Checkpoints { key, .. }) = checkpoints {
            // Commands add to the chain of administrative acts without the passphrase of the key; we have it.
            for chain in [&self.chain, &Chain::admin()] {
                append_checkpoint(&mut tx, chain, key, SystemTime::now().into()).await?;
            }
        }
        Ok(db.commit(tx).await?)
    }

    fn plan_checkpoint(&mut self) {
        self.next_checkpoint =
            self.checkpoints.as_ref().map(|checkpoints| Instant::now() + checkpoints.every);
    }

    fn prepare_to_stop(&mut self) {
        let asked = *self.stop_requested.borrow();
        self.deadline = Some(asked.unwrap_or_else(|| Instant::now() + PATIENCE_WHEN_DROPPED));
        // From here on nothing enters, and `recv` ends after what is already inside.
        self.queue.close();
    }

    fn give_up(&mut self, group: Group) -> usize {
        let mut unwritten = group.records.len();
        while let Ok(message) = self.queue.try_recv() {
            unwritten += usize::from(matches!(message, Message::Record(..)));
        }
        tracing::error!(records = unwritten, "audit records lost: the store did not work until the end");
        unwritten
    }
}

impl Group {
    fn take_news(&mut self, shared: &Shared) {
        shared.take_progress(&mut self.progress, PROGRESS_MAX);
        if let Some(later) = shared.take_loss() {
            self.loss = Some(self.loss.map_or(later, |before| before.and(later)));
        }
    }
}

/// Ends when a stop was asked for, or when nobody is left who could.
async fn asked_to_stop(requested: &mut watch::Receiver<Option<Instant>>) {
    // An error says that the sender is gone.
    let _ = requested.wait_for(Option::is_some).await;
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

fn describe(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
