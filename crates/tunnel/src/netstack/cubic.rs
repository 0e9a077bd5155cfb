//! The congestion window: slow start and CUBIC (RFC 9438).

use std::time::{Duration, Instant};

/// Multiplicative decrease.
const BETA: f64 = 0.7;
/// Aggressiveness of the cubic curve, in segments per second cubed.
const C: f64 = 0.4;
/// Additive increase that makes the Reno-friendly estimate equivalent to Reno at `BETA`.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// Initial window in segments (RFC 6928).
const INITIAL_SEGMENTS: f64 = 10.0;
const MIN_SEGMENTS: f64 = 2.0;

/// All windows are in bytes.
#[derive(Debug)]
pub(super) struct Cubic {
    mss: f64,
    window: f64,
    slow_start_threshold: f64,
    /// The window before the last reduction: the curve's plateau.
    max_window: f64,
    epoch: Option<Epoch>,
}

/// One congestion avoidance phase.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    start: Instant,
    /// Seconds from the start to the plateau.
    k: f64,
    /// What Reno would have.
    reno_window: f64,
}

impl Cubic {
    pub(super) fn new(mss: u32) -> Self {
        let mss = f64::from(mss.max(1));
        Self {
            mss,
            window: INITIAL_SEGMENTS * mss,
            slow_start_threshold: f64::INFINITY,
            max_window: 0.0,
            epoch: None,
        }
    }

    pub(super) fn window(&self) -> u32 {
        self.window as u32
    }

    pub(super) fn in_slow_start(&self) -> bool {
        self.window < self.slow_start_threshold
    }

    /// `acked` bytes were delivered while the window was in use to the full.
    pub(super) fn on_ack(&mut self, acked: u32, round_trip: Duration, now: Instant) {
        let acked = f64::from(acked);
        if self.in_slow_start() {
            // By bytes, not by acknowledgements (RFC 3465): peers acknowledge whole batches at once.
            self.window = (self.window + acked).min(self.slow_start_threshold.max(self.window));
            return;
        }
        let (window, mss) = (self.window, self.mss);
        let plateau = self.max_window;
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            start: now,
            k: ((plateau - window).max(0.0) / mss / C).cbrt(),
            reno_window: window,
        });
        epoch.reno_window += ALPHA * mss * acked / window;
        let t = (now.saturating_duration_since(epoch.start) + round_trip).as_secs_f64();
        let target = (C * (t - epoch.k).powi(3) * mss + plateau).clamp(window, 1.5 * window);
        let cubic_window = window + (target - window) * acked / window;
        self.window = cubic_window.max(epoch.reno_window);
    }

    /// Loss was detected for the first time in this window of data.
    pub(super) fn on_congestion(&mut self) {
        // Fast convergence: a flow that does not reach its old window again makes room for others.
        let shrinking = self.window < self.max_window;
        self.max_window = if shrinking { self.window * (1.0 + BETA) / 2.0 } else { self.window };
        self.slow_start_threshold = (self.window * BETA).max(MIN_SEGMENTS * self.mss);
        self.window = self.slow_start_threshold;
        self.epoch = None;
    }

    /// Nothing was acknowledged in time.
    pub(super) fn on_timeout(&mut self) {
        self.on_congestion();
        self.window = self.mss;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;
    const ROUND_TRIP: Duration = Duration::from_millis(80);

    #[test]
    fn slow_start_doubles_per_round_trip_however_acknowledgements_are_batched() {
        for batches in [1, 5, 10] {
            let mut cubic = Cubic::new(MSS);
            let now = Instant::now();
            for _ in 0..batches {
                cubic.on_ack(10 * MSS / batches, ROUND_TRIP, now);
            }
            assert_eq!(cubic.window(), 20 * MSS);
        }
    }

    #[test]
    fn after_a_loss_the_window_returns_to_its_plateau_and_then_probes_beyond() {
        let mut cubic = Cubic::new(MSS);
        cubic.window = 1e6;
        cubic.on_congestion();
        assert_eq!(cubic.window(), 700_000);
        let mut now = Instant::now();
        let mut windows = Vec::new();
        for _ in 0..400 {
            now += ROUND_TRIP;
            cubic.on_ack(cubic.window(), ROUND_TRIP, now);
            windows.push(cubic.window());
        }
        assert!(windows.is_sorted());
        // K = cbrt(300 segments / 0.4) = 9.1 s, 114 round trips.
        assert!((900_000..1_000_001).contains(&windows[90]), "{}", windows[90]);
        assert!(windows[300] > 1_200_000, "{}", windows[300]);
    }

    #[test]
    fn a_timeout_starts_over_with_one_segment() {
        let mut cubic = Cubic::new(MSS);
        cubic.window = 100_000.0;
        cubic.on_timeout();
        assert_eq!(cubic.window(), MSS);
        assert!(cubic.in_slow_start());
        (0..10).for_each(|_| cubic.on_ack(cubic.window(), ROUND_TRIP, Instant::now()));
        assert!(cubic.window() >= 70_000);
    }
}
