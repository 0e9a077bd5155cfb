//! What was sent to a receiver that never answers, and when it may be taken for received.
//!
//! Syslog has no acknowledgements. What there is: the other end's kernel acknowledges bytes, and a receiver that is
//! gone says so a moment later, by a reset, by the end of the stream, or by an ICMP error. A batch counts as received
//! when all of its bytes were acknowledged and the connection has lived for [`GRACE`] since.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a receiver may take to show that it is gone.
pub const GRACE: Duration = Duration::from_secs(1);

/// The batches in flight, oldest first.
#[derive(Debug, Default)]
pub struct Pending {
    written: u64,
    batches: VecDeque<Batch>,
}

#[derive(Debug)]
struct Batch {
    /// The count of bytes at its end.
    end: u64,
    acknowledged: Option<Instant>,
}

impl Pending {
    /// A batch of `bytes` was sent.
    pub fn sent(&mut self, bytes: usize) {
        self.written += bytes as u64;
        self.batches.push_back(Batch { end: self.written, acknowledged: None });
    }

    /// Notes how many of the bytes are still on their way. Encryption makes more bytes, never fewer, so a count of
    /// encrypted bytes errs on the safe side.
    pub fn acknowledge(&mut self, outstanding: u64, now: Instant) {
        let arrived = self.written.saturating_sub(outstanding);
        for batch in self.batches.iter_mut().take_while(|batch| batch.end <= arrived) {
            batch.acknowledged.get_or_insert(now);
        }
    }

    /// Takes out the batches that count as received, and says how many.
    pub fn received(&mut self, now: Instant) -> usize {
        let over = |batch: &&Batch| batch.acknowledged.is_some_and(|then| now >= then + GRACE);
        let count = self.batches.iter().take_while(over).count();
        self.batches.drain(..count);
        count
    }

    /// Whether everything has reached the other end's kernel.
    pub fn all_acknowledged(&self) -> bool {
        self.batches.back().is_none_or(|last| last.acknowledged.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_once_it_arrived_and_the_connection_outlived_it() {
        let start = Instant::now();
        let mut pending = Pending::default();
        pending.sent(100);
        pending.sent(0);
        pending.sent(50);
        pending.acknowledge(51, start);
        assert_eq!(pending.received(start + GRACE), 0, "a byte of the first is still on its way");
        pending.acknowledge(50, start);
        assert_eq!(pending.received(start), 0, "too early");
        assert!(!pending.all_acknowledged());
        pending.acknowledge(0, start + GRACE);
        assert_eq!(pending.received(start + GRACE), 2, "the last arrived only now");
        assert!(pending.all_acknowledged());
        assert_eq!(pending.received(start + 2 * GRACE), 1);
    }
}
