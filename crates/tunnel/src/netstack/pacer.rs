//! When the next bytes may leave, so that a window does not leave in one burst: a queue on the way, often a socket
//! buffer of 200 KiB, would overflow.

use std::time::{Duration, Instant};

/// What leaves at once at least is what this time earns: timers of the event loop are no finer.
const TICK: Duration = Duration::from_millis(1);
/// What may be saved up for a timer that came late.
const LATE: Duration = Duration::from_millis(4);
/// The initial window (RFC 6928), and what is saved up at least.
const INITIAL_SEGMENTS: f64 = 10.0;
const LEAST_SEGMENTS: f64 = 4.0;

#[derive(Debug)]
pub(super) struct Pacer {
    mss: f64,
    /// Bytes that may leave now.
    credit: f64,
    at: Instant,
    /// Bytes per second; `None` is no limit.
    rate: Option<f64>,
}

impl Pacer {
    pub(super) fn new(mss: u32, now: Instant) -> Self {
        let mss = f64::from(mss);
        Self { mss, credit: INITIAL_SEGMENTS * mss, at: now, rate: None }
    }

    /// Earns what time has brought since, at the rate of that time, and goes on at another.
    pub(super) fn advance(&mut self, rate: Option<f64>, now: Instant) {
        if let Some(before) = self.rate {
            let earned = before * now.saturating_duration_since(self.at).as_secs_f64();
            let most = (before * LATE.as_secs_f64()).max(LEAST_SEGMENTS * self.mss);
            // What is above, such as the first window, is kept and does not grow.
            self.credit = (self.credit + earned).min(most.max(self.credit));
        }
        self.at = self.at.max(now);
        self.rate = rate;
    }

    /// After a pause no more may leave at once than at the start.
    pub(super) fn pause(&mut self) {
        let most = self.rate.map_or(f64::INFINITY, |rate| rate * TICK.as_secs_f64());
        self.credit = self.credit.min(most.max(INITIAL_SEGMENTS * self.mss));
    }

    pub(super) fn spend(&mut self, bytes: u32) {
        if self.rate.is_some() {
            self.credit -= f64::from(bytes);
        }
    }

    /// Bytes that may leave now: none until there are enough to be worth the trouble.
    pub(super) fn allowance(&self) -> u32 {
        match self.rate {
            None => u32::MAX,
            Some(_) if self.credit < self.mss => 0,
            Some(_) => self.credit as u32,
        }
    }

    /// When there is enough again; `None` if there is.
    pub(super) fn next(&self) -> Option<Instant> {
        let rate = self.rate?;
        let enough = (rate * TICK.as_secs_f64()).max(self.mss);
        let wait = (enough - self.credit) / rate;
        // A rate so low that it takes an hour is none.
        (self.credit < self.mss).then(|| self.at + Duration::from_secs_f64(wait.clamp(1e-6, 3600.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_however_late_its_timers_are_within_four_milliseconds() {
        let start = Instant::now();
        for late in [0, 500, 2500] {
            let mut pacer = Pacer::new(1000, start);
            let (mut now, mut sent) = (start, 0);
            pacer.advance(Some(1e7), now);
            while now < start + Duration::from_secs(1) {
                while pacer.allowance() >= 1000 {
                    pacer.spend(1000);
                    sent += 1000;
                }
                now = pacer.next().unwrap() + Duration::from_micros(late);
                pacer.advance(Some(1e7), now);
            }
            assert!((9_900_000..10_100_000).contains(&sent), "{sent} bytes, timers {late} µs late");
        }
    }

    #[test]
    fn a_pause_saves_nothing_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1000, start);
        pacer.advance(Some(1e6), start);
        pacer.advance(Some(1e6), start + Duration::from_secs(60));
        pacer.pause();
        assert_eq!(pacer.allowance(), 10_000);
    }

    #[test]
    fn before_anything_is_known_the_window_alone_counts() {
        let mut pacer = Pacer::new(1000, Instant::now());
        pacer.spend(1_000_000);
        assert_eq!((pacer.allowance(), pacer.next()), (u32::MAX, None));
    }
}
