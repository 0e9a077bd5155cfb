//! A token bucket: so much per second, and what was saved up at once. In whole numbers, so that nothing is lost to
//! rounding however often it is asked.

use std::time::{Duration, Instant};

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

    /// Whether anything is left.
    pub fn has(&mut self, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.level > 0
    }

    /// Whether the debt is less than so many tokens.
    pub fn owes_less(&mut self, amount: u32, rate: Rate, now: Instant) -> bool {
        self.refill(rate, now);
        self.level > -i64::from(amount) * BILLION
    }

    /// Takes so many tokens, whether they are there or not.
    pub fn charge(&mut self, amount: u32) {
        self.level = self.level.saturating_sub(i64::from(amount) * BILLION);
    }

    /// How long nothing will be left, counted from the last use.
    pub fn empty_for(&self, rate: Rate) -> Duration {
        let owed = u64::try_from(1 - self.level).unwrap_or(0);
        Duration::from_nanos(owed.div_ceil(rate.per_second.max(1).into()))
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

    #[test]
    fn a_debt_is_paid_back_when_it_says() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        bucket.charge(600);
        assert!(!bucket.has(RATE, start));
        assert!(bucket.owes_less(101, RATE, start) && !bucket.owes_less(100, RATE, start));
        let empty = bucket.empty_for(RATE);
        assert!(!bucket.has(RATE, start + empty - Duration::from_nanos(1)));
        assert!(bucket.has(RATE, start + empty));
        assert!(empty < Duration::from_millis(1001), "{empty:?}");
    }
}
