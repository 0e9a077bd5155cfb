//! What the writing thread and its handles know in common.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::{
    event::{Event, Gap},
    health::{Health, HealthState},
    record::Record,
    subject::Traffic,
    text::Reason,
    time::UtcTime,
    writer::Progress,
};

#[derive(Debug)]
pub(crate) enum Message {
    /// Whoever waits for the record is told when it is on disk.
    Record(Box<Record>, Option<oneshot::Sender<()>>),
    /// Answered once everything before it is on disk.
    Flush(oneshot::Sender<()>),
}

pub(crate) type ProgressMap = BTreeMap<(Uuid, Option<u64>), (UtcTime, Traffic)>;

#[derive(Debug)]
pub(crate) struct Shared {
    started: Instant,
    /// When the group now being written was begun, in ms since `started` plus one; 0 while there is none.
    group_begun: AtomicU64,
    written: AtomicU64,
    lost_in_total: AtomicU64,
    lost: Mutex<Option<Loss>>,
    progress: Mutex<ProgressMap>,
    progress_noted: Notify,
    failure: Mutex<Option<Failure>>,
}

/// Records that did not fit into the queue and are not yet told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    missing: u64,
    first: UtcTime,
    last: UtcTime,
}

#[derive(Debug, Clone)]
struct Failure {
    since: UtcTime,
    reason: String,
}

/// A group that takes longer is late: twice the promised 200 ms, and a little for a slow disk.
const LAGGING: Duration = Duration::from_millis(500);
/// A disk that takes longer is taken for one that does not answer at all.
const STALLED: Duration = Duration::from_secs(2);

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            group_begun: AtomicU64::new(0),
            written: AtomicU64::new(0),
            lost_in_total: AtomicU64::new(0),
            lost: Mutex::default(),
            progress: Mutex::default(),
            progress_noted: Notify::new(),
            failure: Mutex::default(),
        }
    }

    pub(crate) fn lose(&self, time: UtcTime) {
        self.lost_in_total.fetch_add(1, Relaxed);
        let mut lost = locked(&self.lost);
        let one = Loss { missing: 1, first: time, last: time };
        *lost = Some(lost.map_or(one, |before| before.and(one)));
    }

    pub(crate) fn take_loss(&self) -> Option<Loss> {
        locked(&self.lost).take()
    }

    pub(crate) fn note(&self, progress: Progress) {
        let Progress { session, flow, seen, traffic } = progress;
        locked(&self.progress).insert((session, flow), (seen, traffic));
        self.progress_noted.notify_one();
    }

    /// Ends when there is progress to write.
    pub(crate) async fn progress_noted(&self) {
        self.progress_noted.notified().await;
    }

    /// Adds noted progress to what is already to be written, up to `max` in all.
    pub(crate) fn take_progress(&self, taken: &mut ProgressMap, max: usize) {
        let mut noted = locked(&self.progress);
        while taken.len() < max
            && let Some((of, progress)) = noted.pop_first()
        {
            taken.insert(of, progress);
        }
        if !noted.is_empty() {
            self.progress_noted.notify_one();
        }
    }

    pub(crate) fn begin_group(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        // The first record of the group sets the time.
        let _ = self.group_begun.compare_exchange(0, now + 1, Relaxed, Relaxed);
    }

    pub(crate) fn group_written(&self, records: usize) {
        self.written.fetch_add(records as u64, Relaxed);
        self.group_begun.store(0, Relaxed);
        *locked(&self.failure) = None;
    }

    /// Returns whether this is news.
    pub(crate) fn group_failed(&self, reason: String) -> bool {
        let mut failure = locked(&self.failure);
        let since = failure.as_ref().map_or_else(|| SystemTime::now().into(), |before| before.since);
        let news = failure.as_ref().is_none_or(|before| before.reason != reason);
        *failure = Some(Failure { since, reason });
        news
    }

    pub(crate) fn works(&self) -> bool {
        self.behind() < STALLED && locked(&self.failure).is_none()
    }

    pub(crate) fn health(&self, queued: usize, capacity: usize, stopped: bool) -> Health {
        let behind = self.behind();
        let state = match locked(&self.failure).clone() {
            Some(Failure { since, reason }) => HealthState::Failed { since, reason },
            None if stopped => HealthState::Stopped,
            None if behind > LAGGING || queued > capacity / 2 => HealthState::Lagging,
            None => HealthState::Ok,
        };
        Health {
            state,
            queued,
            capacity,
            behind_ms: u64::try_from(behind.as_millis()).unwrap_or(u64::MAX),
            written: self.written.load(Relaxed),
            lost: self.lost_in_total.load(Relaxed),
        }
    }

    fn behind(&self) -> Duration {
        match self.group_begun.load(Relaxed) {
            0 => Duration::ZERO,
            begun => self.started.elapsed().saturating_sub(Duration::from_millis(begun - 1)),
        }
    }
}

impl Loss {
    pub(crate) fn and(self, later: Loss) -> Loss {
        Loss {
            missing: self.missing.saturating_add(later.missing),
            first: self.first.min(later.first),
            last: self.last.max(later.last),
        }
    }

    pub(crate) fn to_record(self) -> Record {
        let Loss { missing, first, last } = self;
        let gap = Gap { missing, first, last, reason: Reason::new("queue-full") };
        Record::new(SystemTime::now().into(), Event::Gap(gap))
    }
}

/// Nothing under these locks can leave a value half changed, so one that a panic left locked is still good.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
