//! A token bucket: so much per second, and what was saved up at once. In whole numbers, so that nothing is lost to
//! rounding however often it is asked.

use std::time::Instant;

/// Tokens saved up; how many per second and at most is told at each use, so that a new limit holds at once.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// In billionths, so that a nanosecond at one per second is one. Below zero: a debt.
    level: i64,
    refilled: Instant,
}

/// How fast a bucket fills, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

const BILLION: i64 = 1_000_000_000;

impl Bucket {
    pub fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket { level: i64::from(rate.burst) * BILLION, refilled: now }
    }

    /// Takes so many tokens, if they are there.
    pub fn take(&mut self, amount: u32, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        let amount = i64::from(amount) * BILLION;
        let there = self.level >= amount;
        if there {
            self.level -= amount;
        }
        there
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_nanos();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let refill = elapsed.saturating_mul(rate.per_second.into());
        self.level = self.level.saturating_add(refill).min(i64::from(rate.burst) * BILLION);
        self.refilled = self.refilled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate { per_second: 100, burst: 500 };

    fn taken(bucket: &mut Bucket, rate: Rate, now: Instant) -> usize {
        (0..10_000).filter(|_| bucket.take(1, rate, now)).count()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_no_more_than_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        assert_eq!(taken(&mut bucket, RATE, start), 500);
        let ticks = (1..=1000).map(|ms| start + Duration::from_millis(ms));
        assert_eq!(ticks.map(|now| taken(&mut bucket, RATE, now)).sum::<usize>(), 100);
        assert_eq!(taken(&mut bucket, RATE, start + Duration::from_secs(3600)), 500);
    }

    #[test]
    fn a_new_limit_holds_at_once_and_time_that_runs_backwards_gives_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        let less = Rate { per_second: 10, burst: 50 };
        assert_eq!(taken(&mut bucket, less, start), 50);
        assert_eq!(taken(&mut bucket, RATE, start - Duration::from_secs(10)), 0);
        assert_eq!(taken(&mut bucket, RATE, start + Duration::from_secs(1)), 100);
    }
}
