//! At which rate data is delivered (draft-cheng-iccrg-delivery-rate-estimation): what was delivered between the sending
//! of a segment and its acknowledgement, over the longer of the times that its sending and its acknowledgement took.

use std::time::{Duration, Instant};

/// What was known when a segment was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub(super) sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    /// When the first segment of the same flight was sent.
    flight_began_at: Instant,
    application_limited: bool,
}

/// What an acknowledgement tells of the rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateSample {
    /// Bytes per second; zero when the time was too short to tell.
    pub(super) rate: f64,
    /// What had been delivered when the acknowledged segment was sent.
    pub(super) prior_delivered: u64,
    /// There was not enough to send to fill the path.
    pub(super) application_limited: bool,
}

#[derive(Debug)]
pub(super) struct DeliveryRate {
    delivered: u64,
    delivered_at: Instant,
    flight_began_at: Instant,
    /// Until so much is delivered, samples show the application's rate rather than the path's.
    limited_until: u64,
}

impl Snapshot {
    /// Whether the segment was sent after `other`.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        (self.delivered, self.sent_at) > (other.delivered, other.sent_at)
    }
}

impl DeliveryRate {
    pub(super) fn new(now: Instant) -> Self {
        Self { delivered: 0, delivered_at: now, flight_began_at: now, limited_until: 0 }
    }

    pub(super) const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// A segment is sent; `idle` when nothing else is on its way.
    pub(super) fn sent(&mut self, idle: bool, now: Instant) -> Snapshot {
        if idle {
            self.delivered_at = now;
            self.flight_began_at = now;
        }
        Snapshot {
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            flight_began_at: self.flight_began_at,
            application_limited: self.delivered < self.limited_until,
        }
    }

    /// Everything there was is on its way, `in_flight` bytes of it, and more could be.
    pub(super) fn limited_by_application(&mut self, in_flight: u32) {
        self.limited_until = self.delivered + u64::from(in_flight.max(1));
    }

    /// `bytes` have arrived, and of the segments that they end the latest was sent as `newest` says.
    pub(super) fn acknowledged(
        &mut self,
        bytes: u32,
        newest: Option<Snapshot>,
        least_round_trip: Duration,
        now: Instant,
    ) -> Option<RateSample> {
        if bytes > 0 {
            self.delivered += u64::from(bytes);
            self.delivered_at = now;
        }
        let newest = newest?;
        self.flight_began_at = newest.sent_at;
        let sending = newest.sent_at.saturating_duration_since(newest.flight_began_at);
        let acknowledging = now.saturating_duration_since(newest.delivered_at);
        let interval = sending.max(acknowledging);
        let known = interval >= least_round_trip && !interval.is_zero();
        let bytes = self.delivered - newest.delivered;
        Some(RateSample {
            rate: if known { bytes as f64 / interval.as_secs_f64() } else { 0.0 },
            prior_delivered: newest.delivered,
            application_limited: newest.application_limited,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(80);

    #[test]
    fn a_burst_of_acknowledgements_does_not_make_the_path_faster() {
        let start = Instant::now();
        let mut rate = DeliveryRate::new(start);
        // A segment of 1000 bytes each millisecond, all acknowledged at once 100 ms later.
        let at = |ms| start + Duration::from_millis(ms);
        let sent: Vec<_> = (0..20).map(|n| rate.sent(n == 0, at(n))).collect();
        let sample = rate.acknowledged(20_000, sent.last().copied(), ROUND_TRIP, at(119)).unwrap();
        assert!((sample.rate - 20_000.0 / 0.119).abs() < 1.0, "{}", sample.rate);
        assert!(!sample.application_limited);
        assert_eq!((sample.prior_delivered, rate.delivered()), (0, 20_000));
    }

    #[test]
    fn what_the_application_left_unused_is_marked_until_it_is_delivered() {
        let start = Instant::now();
        let mut rate = DeliveryRate::new(start);
        let first = rate.sent(true, start);
        rate.limited_by_application(1000);
        let second = rate.sent(false, start);
        let now = start + ROUND_TRIP;
        assert!(!rate.acknowledged(1000, Some(first), ROUND_TRIP, now).unwrap().application_limited);
        let third = rate.sent(false, now);
        assert!(rate.acknowledged(1000, Some(second), ROUND_TRIP, now).unwrap().application_limited);
        assert!(
            !rate.acknowledged(1000, Some(third), ROUND_TRIP, now + ROUND_TRIP).unwrap().application_limited
        );
    }

    #[test]
    fn a_time_shorter_than_the_path_tells_no_rate() {
        let start = Instant::now();
        let mut rate = DeliveryRate::new(start);
        let sent = rate.sent(true, start);
        let sample = rate.acknowledged(1000, Some(sent), ROUND_TRIP, start + ROUND_TRIP / 2).unwrap();
        assert_eq!(sample.rate, 0.0);
    }
}
