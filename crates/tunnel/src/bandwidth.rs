//! How fast one client may be, in one direction, and what each of its flows gets of that.
//!
//! A `Line` is a token bucket of the client's rate. Each of its flows has a bucket of its own, a `Share`, that fills
//! at the flow's fair share of the rate: what all of them want, filled up from below (max-min fairness), so that a flow
//! that wants little gets all of it and the greedy ones divide the rest. A packet within its flow's share always
//! passes; one above it passes while the client's bucket has something left. So a copy of an hour of video beside a
//! live picture takes what the picture leaves, and no packet of the picture is lost.
//!
//! The shares are measured anew every [`INTERVAL`]. They add up to a little less than the rate (`SHARED`): what flows
//! saved up and use at once puts the client's bucket into debt, and the difference pays it back.
//!
//! Flows that end here need no packet dropped: `Line::turn` says when the next of them may send.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bucket::{Bucket, Rate};
use crate::flow::Direction;

/// How often the fair shares are measured: some frames of video.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// What can be saved up and used at once: a key frame is a fifth of a second's worth of a stream.
const BURST: Duration = Duration::from_millis(250);
/// A train of segments is one packet here, and must fit.
const MIN_BURST: u32 = 64 * 1024;
/// Of a hundred bytes of the rate, those that are promised to flows.
const SHARED: u64 = 95;
/// A flow's measured wish falls no faster than to this part of it in an [`INTERVAL`]: video comes in bursts.
const REMEMBERED: (u32, u32) = (3, 4);
/// Passes over a client's flows, which are up to thousands.
const PASSES: usize = 16;
/// Bytes between two turns: a packet.
const TURN: u32 = 1500;

/// A limit, and the configuration's words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub bytes_per_second: u32,
    /// E.g. `role export: bandwidth-down = 20Mbit/s`.
    pub rule: Arc<str>,
}

/// What a client may use; none is as much as there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// From the client.
    pub up: Option<Limit>,
    /// To the client.
    pub down: Option<Limit>,
}

/// What the clients of each role may use.
#[derive(Debug, Clone, Default)]
pub struct Bandwidths {
    pub roles: HashMap<Arc<str>, Bandwidth>,
    /// Of roles that are not there.
    pub others: Bandwidth,
}

impl Bandwidths {
    pub(crate) fn of(&self, role: &str) -> &Bandwidth {
        self.roles.get(role).unwrap_or(&self.others)
    }
}

/// One client's limit in one direction.
#[derive(Debug)]
pub(crate) struct Line {
    limit: Limit,
    bucket: Bucket,
    /// What every flow gets if it wants it, in bytes per second.
    fair: u32,
    measured: Instant,
    last_turn: Instant,
    held: Option<Held>,
}

/// What a limit held up and nobody was told of yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) count: u64,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

/// One flow's part in a line.
#[derive(Debug, Default)]
pub(crate) struct Share {
    bucket: Option<Bucket>,
    /// Bytes since the shares were measured, whatever became of them.
    offered: u32,
    /// What it wants, in bytes per second.
    wish: u32,
}

/// A client's limits.
#[derive(Debug, Default)]
pub(crate) struct Lines([Option<Line>; 2]);

impl Lines {
    pub(crate) fn get_mut(&mut self, direction: Direction) -> Option<&mut Line> {
        self.0.get_mut(direction as usize)?.as_mut()
    }

    /// Puts other limits in force; what was used up already stays so.
    pub(crate) fn set(&mut self, bandwidth: &Bandwidth, now: Instant) {
        for (line, limit) in self.0.iter_mut().zip([&bandwidth.up, &bandwidth.down]) {
            match (limit, &mut *line) {
                (Some(limit), Some(line)) => line.set_limit(limit),
                (Some(limit), None) => *line = Some(Line::new(limit.clone(), now)),
                (None, _) => *line = None,
            }
        }
    }
}

impl Line {
    pub(crate) fn new(limit: Limit, now: Instant) -> Line {
        let mut line = Line {
            bucket: Bucket::full(Rate { per_second: 0, burst: 0 }, now),
            limit,
            fair: 0,
            measured: now,
            last_turn: now,
            held: None,
        };
        line.bucket = Bucket::full(line.rate(), now);
        line.fair = line.promised();
        line
    }

    fn set_limit(&mut self, limit: &Limit) {
        if self.limit.bytes_per_second != limit.bytes_per_second {
            self.fair = promised(limit.bytes_per_second);
        }
        self.limit = limit.clone();
    }

    pub(crate) fn rule(&self) -> &Arc<str> {
        &self.limit.rule
    }

    /// Whether a packet passes, or a train of them, which is not cut.
    pub(crate) fn admit(&mut self, share: &mut Share, bytes: u32, now: Instant) -> bool {
        let (rate, fair) = (self.rate(), Rate { per_second: self.fair, burst: self.rate().burst });
        share.offered = share.offered.saturating_add(bytes);
        let own = share.bucket.get_or_insert_with(|| Bucket::full(fair, now));
        let within_share = own.has(fair, now) && self.bucket.owes_less(rate.burst, rate, now);
        if within_share {
            own.charge(bytes);
        } else if !self.bucket.has(rate, now) {
            self.hold(now);
            return false;
        }
        self.bucket.charge(bytes);
        true
    }

    /// Takes what was sent by somebody who waited for their [`turn`](Line::turn).
    pub(crate) fn charge(&mut self, share: &mut Share, bytes: u32) {
        share.offered = share.offered.saturating_add(bytes);
        self.bucket.charge(bytes);
    }

    pub(crate) fn may_send(&mut self, now: Instant) -> bool {
        let rate = self.rate();
        self.bucket.has(rate, now)
    }

    /// When the next packet may be sent, if not now: each time a packet later than the time before, so that those who
    /// wait keep their order and each finds enough for itself.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Instant> {
        if self.may_send(now) {
            return None;
        }
        let rate = self.rate();
        self.hold(now);
        let packet =
            Duration::from_nanos(u64::from(TURN) * 1_000_000_000 / u64::from(rate.per_second.max(1)));
        self.last_turn = (now + self.bucket.empty_for(rate)).max(self.last_turn + packet);
        Some(self.last_turn)
    }

    /// Whether the fair shares are to be measured.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.measured) >= INTERVAL
    }

    /// Since when wishes are counted; from now on anew.
    pub(crate) fn begin(&mut self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.measured);
        self.measured = now;
        elapsed
    }

    /// Sets the fair share by what flows want.
    pub(crate) fn share_out<I: Iterator<Item = u32>>(&mut self, wishes: impl Fn() -> I) {
        self.fair = fair_share(self.promised(), wishes);
    }

    pub(crate) fn take_held(&mut self) -> Option<Held> {
        self.held.take()
    }

    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    fn hold(&mut self, now: Instant) {
        let held = self.held.get_or_insert(Held { count: 0, first: now, last: now });
        held.count += 1;
        held.last = now;
    }

    fn rate(&self) -> Rate {
        let per_second = self.limit.bytes_per_second;
        let burst = u64::from(per_second) * BURST.as_millis() as u64 / 1000;
        Rate { per_second, burst: u32::try_from(burst).unwrap_or(u32::MAX).max(MIN_BURST) }
    }

    fn promised(&self) -> u32 {
        promised(self.limit.bytes_per_second)
    }
}

impl Share {
    /// Ends an interval.
    pub(crate) fn measure(&mut self, elapsed: Duration) {
        let millis = elapsed.as_millis().max(1);
        let rate = u128::from(std::mem::take(&mut self.offered)) * 1000 / millis;
        let (part, whole) = REMEMBERED;
        let before = self.wish / whole * part;
        self.wish = u32::try_from(rate).unwrap_or(u32::MAX).max(before);
    }

    pub(crate) fn wish(&self) -> u32 {
        self.wish
    }
}

fn promised(bytes_per_second: u32) -> u32 {
    (u64::from(bytes_per_second) * SHARED / 100) as u32
}

/// The most that every flow may have so that all of them together stay within `capacity`, where those that want less
/// leave the rest to the others. Each pass finds at least one more of those; after [`PASSES`] the answer is close enough,
/// and never too high.
fn fair_share<I: Iterator<Item = u32>>(capacity: u32, wishes: impl Fn() -> I) -> u32 {
    let mut fair = 0;
    for _ in 0..PASSES {
        let (mut left, mut greedy) = (u64::from(capacity), 0);
        for wish in wishes() {
            if wish <= fair {
                left = left.saturating_sub(wish.into());
            } else {
                greedy += 1;
            }
        }
        if greedy == 0 {
            return capacity;
        }
        let next = u32::try_from(left / greedy).unwrap_or(capacity);
        if next <= fair {
            return fair.max(1);
        }
        fair = next;
    }
    fair
}

#[cfg(test)]
mod tests;
