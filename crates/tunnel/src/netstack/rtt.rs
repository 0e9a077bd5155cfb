//! Round-trip time and the retransmission timeout that follows from it (RFC 6298).

use std::time::Duration;

/// Before the first measurement.
const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Linux's floor, not RFC 6298's second: a stalled video stream is noticed within one.
const MIN_TIMEOUT: Duration = Duration::from_millis(200);

/// Doubling stops here. RFC 6298 asks for at least a minute, to spare a network that everyone overloads; this one is
/// a tunnel whose outer packets are lost when a laptop sleeps, and a minute is long to wait when it wakes up.
const MAX_TIMEOUT: Duration = Duration::from_secs(8);

#[derive(Debug, Default)]
pub(super) struct RoundTrip {
    estimate: Option<Estimate>,
    /// How often the timeout has doubled since the last answer.
    doublings: u32,
}

#[derive(Debug, Clone, Copy)]
struct Estimate {
    smoothed: Duration,
    variation: Duration,
    least: Duration,
}

impl RoundTrip {
    pub(super) fn sample(&mut self, sample: Duration) {
        self.estimate = Some(match self.estimate {
            None => Estimate { smoothed: sample, variation: sample / 2, least: sample },
            Some(Estimate { smoothed, variation, least }) => Estimate {
                smoothed: (smoothed * 7 + sample) / 8,
                variation: (variation * 3 + smoothed.abs_diff(sample)) / 4,
                least: least.min(sample),
            },
        });
    }

    /// The least that was measured; zero before.
    pub(super) fn least(&self) -> Duration {
        self.estimate.map_or(Duration::ZERO, |e| e.least)
    }

    pub(super) fn timeout(&self) -> Duration {
        let base = self.estimate.map_or(INITIAL_TIMEOUT, |e| e.smoothed + 4 * e.variation);
        (base.max(MIN_TIMEOUT) * 2u32.pow(self.doublings)).min(MAX_TIMEOUT.max(base))
    }

    pub(super) fn timed_out(&mut self) {
        self.doublings = (self.doublings + 1).min(6);
    }

    pub(super) fn answered(&mut self) {
        self.doublings = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_path_and_doubles_to_a_bound() {
        let mut rtt = RoundTrip::default();
        assert_eq!(rtt.timeout(), INITIAL_TIMEOUT);
        (0..100).for_each(|_| rtt.sample(Duration::from_millis(2)));
        assert_eq!(rtt.timeout(), MIN_TIMEOUT);
        (0..100).for_each(|_| rtt.sample(Duration::from_millis(400)));
        assert!(rtt.timeout() >= Duration::from_millis(400));
        (0..20).for_each(|_| rtt.timed_out());
        assert_eq!(rtt.timeout(), MAX_TIMEOUT);
        rtt.answered();
        assert!(rtt.timeout() < Duration::from_secs(1));
    }
}
