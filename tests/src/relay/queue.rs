//! What is on its way: trains of datagrams until they are due.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

/// What a router's queue holds at most; more is dropped at the tail. 32 MiB is 0.5 s at 500 Mbit/s.
const QUEUE_BYTES: usize = 32 << 20;

/// Datagrams of one size (the last may be shorter), as one GRO receive delivered them.
pub(super) struct Train {
    pub(super) due: Instant,
    pub(super) bytes: Vec<u8>,
    pub(super) stride: usize,
}

/// A first-in-first-out queue that loses what does not fit, as a router does.
#[derive(Default)]
pub(super) struct Queue {
    trains: Mutex<(VecDeque<Train>, usize)>,
    filled: Notify,
}

impl Queue {
    /// Appends a train, or loses it when there is no room.
    pub(super) fn push(&self, train: Train) {
        let mut trains = self.trains.lock().unwrap_or_else(PoisonError::into_inner);
        if train.bytes.is_empty() || trains.1 + train.bytes.len() > QUEUE_BYTES {
            return;
        }
        trains.1 += train.bytes.len();
        trains.0.push_back(train);
        self.filled.notify_one();
    }

    /// Takes the oldest train, when there is one.
    pub(super) async fn pop(&self) -> Train {
        loop {
            {
                let mut trains = self.trains.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(train) = trains.0.pop_front() {
                    trains.1 -= train.bytes.len();
                    return train;
                }
            }
            self.filled.notified().await;
        }
    }
}
