//! How fast a path is and how much of it may be under way: BBR (draft-ietf-ccwg-bbr).
//!
//! The model has two measured parts: the highest rate at which anything was delivered lately, and the shortest round
//! trip. Their product is what fills the path without a queue. Loss by itself means nothing, for radio and long lines
//! lose at random; loss of more than [`LOSS_LIMIT`] of a round trip puts a ceiling on what may be under way.

use std::time::{Duration, Instant};

use super::delivery::RateSample;
use super::rounds::{RoundMax, Rounds};

/// Doubles what is under way in each round trip (2 / ln 2).
const STARTUP_GAIN: f64 = 2.77;
/// Half of what was under way may wait in a queue once the path is full.
const DRAIN_GAIN: f64 = 0.5;
/// How many times the path's own content may be under way: half of it bridges late acknowledgements.
const WINDOW_GAIN: f64 = 2.0;
/// The phases of a cycle, each of a round trip: ask for more, drain what that queued, cruise.
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// The path is full when the rate has grown by less than this …
const FULL_GROWTH: f64 = 1.25;
/// … in so many round trips.
const FULL_ROUNDS: u32 = 3;
/// After so long the shortest round trip may be another.
const ROUND_TRIP_LIFETIME: Duration = Duration::from_secs(10);
/// How long little is under way to see it.
const PROBE_TIME: Duration = Duration::from_millis(200);
/// More loss than this in a round trip shows a queue that overflows.
const LOSS_LIMIT: f64 = 0.02;
/// In a small window a segment or two are already more.
const RANDOM_SEGMENTS: f64 = 3.0;
/// What is left of the window after such a round trip, unless the path itself holds more.
const BETA: f64 = 0.7;
/// Acknowledgements are not taken to be later than this.
const MAX_AGGREGATION: f64 = 0.1;
/// Slightly less than was measured, so that queues empty.
const MARGIN: f64 = 0.99;
/// Initial window in segments (RFC 6928), and the least.
const INITIAL_SEGMENTS: f64 = 10.0;
const MIN_SEGMENTS: f64 = 4.0;

/// Bytes and bytes per second.
#[derive(Debug)]
pub(super) struct Bbr {
    mss: f64,
    phase: Phase,
    rounds: Rounds,
    bandwidth: RoundMax,
    round_trip: Option<RoundTrip>,
    growth: Growth,
    aggregation: Aggregation,
    lost_in_round: f64,
    delivered_in_round: f64,
    most_in_flight: f64,
    /// No more may be under way, after loss.
    ceiling: f64,
    window: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Startup,
    Drain,
    /// Which part of the cycle, and since when.
    Cruise(usize, Instant),
    /// Until when; before that little enough must be under way.
    ProbeRoundTrip(Option<Instant>),
}

#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    least: Duration,
    at: Instant,
}

/// Whether the rate still grows at the start.
#[derive(Debug, Default)]
struct Growth {
    rate: f64,
    rounds: u32,
    filled: bool,
}

/// How many more bytes are acknowledged at once than the rate explains: peers and radios acknowledge in bursts.
#[derive(Debug, Default)]
struct Aggregation {
    since: Option<Instant>,
    acked: f64,
    extra: RoundMax,
}

/// What an acknowledgement has shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) sample: Option<RateSample>,
    pub(super) round_trip: Option<Duration>,
    /// All bytes ever delivered.
    pub(super) delivered: u64,
    /// Newly delivered, and newly found lost.
    pub(super) acked: u32,
    pub(super) lost: u32,
    pub(super) in_flight: u32,
    pub(super) now: Instant,
}

impl Bbr {
    pub(super) fn new(mss: u32) -> Self {
        let mss = f64::from(mss.max(1));
        Self {
            mss,
            phase: Phase::Startup,
            rounds: Rounds::default(),
            bandwidth: RoundMax::default(),
            round_trip: None,
            growth: Growth::default(),
            aggregation: Aggregation::default(),
            lost_in_round: 0.0,
            delivered_in_round: 0.0,
            most_in_flight: 0.0,
            ceiling: f64::INFINITY,
            window: INITIAL_SEGMENTS * mss,
        }
    }

    /// What may be under way.
    pub(super) fn window(&self) -> u32 {
        self.window as u32
    }

    /// Bytes per second; `None` as long as nothing is known of the path.
    pub(super) fn pacing_rate(&self) -> Option<f64> {
        let rate = self.bandwidth.get();
        let gain = match self.phase {
            Phase::Startup => STARTUP_GAIN,
            Phase::Drain => DRAIN_GAIN,
            Phase::Cruise(part, _) => CYCLE.get(part).copied().unwrap_or(1.0),
            Phase::ProbeRoundTrip(_) => 1.0,
        };
        (rate > 0.0).then_some(rate * gain * MARGIN)
    }

    pub(super) fn on_ack(&mut self, ack: &Ack) {
        let in_flight = f64::from(ack.in_flight);
        self.most_in_flight = self.most_in_flight.max(in_flight + f64::from(ack.acked) + f64::from(ack.lost));
        self.lost_in_round += f64::from(ack.lost);
        self.delivered_in_round += f64::from(ack.acked);
        let new_round =
            ack.sample.is_some_and(|sample| self.rounds.passed(sample.prior_delivered, ack.delivered));
        if let Some(sample) = ack.sample
            && (!sample.application_limited || sample.rate > self.bandwidth.get())
        {
            self.bandwidth.update(self.rounds.count(), sample.rate);
        }
        self.aggregation.update(ack, self.bandwidth.get(), self.rounds.count(), self.window);
        if new_round {
            self.end_round(ack);
        }
        self.update_phase(ack.now, in_flight, ack.lost > 0);
        self.update_round_trip(ack);
        self.update_window(ack);
    }

    /// Nothing was acknowledged in time: begin again with one segment, the model stays.
    pub(super) fn on_timeout(&mut self) {
        self.window = self.mss;
    }
}

impl Bbr {
    /// What the path itself holds.
    fn content(&self) -> f64 {
        let round_trip = self.round_trip.map_or(0.0, |path| path.least.as_secs_f64());
        self.bandwidth.get() * round_trip
    }

    fn end_round(&mut self, ack: &Ack) {
        let total = self.lost_in_round + self.delivered_in_round;
        let overflows = self.lost_in_round > (total * LOSS_LIMIT).max(RANDOM_SEGMENTS * self.mss);
        if overflows {
            self.ceiling = (self.most_in_flight.min(self.ceiling) * BETA).max(self.content());
        }
        let limited = ack.sample.is_some_and(|sample| sample.application_limited);
        if !limited {
            self.growth.round(self.bandwidth.get(), overflows);
        }
        self.lost_in_round = 0.0;
        self.delivered_in_round = 0.0;
        self.most_in_flight = 0.0;
    }

    fn update_phase(&mut self, now: Instant, in_flight: f64, lost: bool) {
        let content = self.content();
        match self.phase {
            Phase::Startup if self.growth.filled => self.phase = Phase::Drain,
            // Not the first part: what the start has queued is still leaving.
            Phase::Drain if in_flight <= content => self.phase = Phase::Cruise(2, now),
            Phase::Cruise(part, since) => {
                let round_trip = self.round_trip.map_or(Duration::ZERO, |path| path.least);
                let long = now.saturating_duration_since(since) >= round_trip;
                let next = match CYCLE.get(part).copied().unwrap_or(1.0) {
                    // Asking for more takes until more is under way, or is lost.
                    gain if gain > 1.0 => long && (lost || in_flight >= (gain * content).min(self.ceiling)),
                    gain if gain < 1.0 => long || in_flight <= content,
                    _ => long,
                };
                if next {
                    let part = (part + 1) % CYCLE.len();
                    if part == 0 {
                        // A whole cycle without an overflow: see whether there is room again.
                        self.ceiling *= FULL_GROWTH;
                    }
                    self.phase = Phase::Cruise(part, now);
                }
            }
            _ => {}
        }
    }

    fn update_round_trip(&mut self, ack: &Ack) {
        let expired = self.round_trip.is_some_and(|path| ack.now > path.at + ROUND_TRIP_LIFETIME);
        if let Some(sample) = ack.round_trip
            && self.round_trip.is_none_or(|path| sample <= path.least || expired)
        {
            self.round_trip = Some(RoundTrip { least: sample, at: ack.now });
        }
        match self.phase {
            Phase::Cruise(..) if expired => self.phase = Phase::ProbeRoundTrip(None),
            Phase::ProbeRoundTrip(None) if f64::from(ack.in_flight) <= self.probe_window() => {
                self.phase = Phase::ProbeRoundTrip(Some(ack.now + PROBE_TIME));
            }
            Phase::ProbeRoundTrip(Some(until)) if ack.now >= until => {
                if let Some(path) = &mut self.round_trip {
                    path.at = ack.now;
                }
                self.phase = Phase::Cruise(2, ack.now);
            }
            _ => {}
        }
    }

    fn probe_window(&self) -> f64 {
        (self.content() / 2.0).max(MIN_SEGMENTS * self.mss)
    }

    fn update_window(&mut self, ack: &Ack) {
        let acked = f64::from(ack.acked);
        let least = MIN_SEGMENTS * self.mss;
        let extra = self.aggregation.extra.get() + 3.0 * self.mss;
        let grown = self.window + acked;
        if self.growth.filled {
            let target = (WINDOW_GAIN * self.content() + extra).min(self.ceiling);
            self.window = grown.min(target.max(least));
        } else if self.window < STARTUP_GAIN * self.content() + extra {
            self.window = grown;
        }
        if matches!(self.phase, Phase::ProbeRoundTrip(_)) {
            self.window = self.window.min(self.probe_window());
        }
        // 1 GiB: more than any window scale can express.
        self.window = self.window.min(f64::from(1 << 30));
    }
}

impl Growth {
    fn round(&mut self, rate: f64, overflows: bool) {
        if self.filled {
            return;
        }
        if rate >= self.rate * FULL_GROWTH {
            self.rate = rate;
            self.rounds = 0;
        } else {
            self.rounds += 1;
        }
        self.filled = self.rounds >= FULL_ROUNDS || overflows;
    }
}

impl Aggregation {
    fn update(&mut self, ack: &Ack, rate: f64, round: u64, window: f64) {
        let since = *self.since.get_or_insert(ack.now);
        let expected = rate * ack.now.saturating_duration_since(since).as_secs_f64();
        if self.acked <= expected {
            self.acked = 0.0;
            self.since = Some(ack.now);
        }
        let expected = if self.acked == 0.0 { 0.0 } else { expected };
        self.acked += f64::from(ack.acked);
        let extra = (self.acked - expected).clamp(0.0, window.min(rate * MAX_AGGREGATION));
        self.extra.update(round, extra);
    }
}
