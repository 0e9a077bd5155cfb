//! A link that delays, loses, duplicates and reorders packets, from a seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditions {
    /// One way.
    pub(super) delay: Duration,
    /// Added to every packet, up to this much, at random: reorders.
    pub(super) jitter: Duration,
    /// Of a thousand packets.
    pub(super) lost: u32,
    pub(super) duplicated: u32,
    /// Bytes per second and direction; 0 is unlimited. Of those that wait for their turn, up to `queue_bytes`, more
    /// than half risk being dropped.
    pub(super) rate: u64,
    pub(super) queue_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

pub(super) struct Link {
    conditions: Conditions,
    rng: fastrand::Rng,
    in_flight: BTreeMap<(Instant, u64), (Direction, Vec<u8>)>,
    count: u64,
    /// When the last queued byte of each direction has left.
    free_at: [Option<Instant>; 2],
    /// Drops everything while set.
    pub(super) cut: bool,
    /// Packets that found the queue full.
    pub(super) overflowed: u64,
}

impl Link {
    pub(super) fn new(conditions: Conditions, seed: u64) -> Self {
        println!("link seed {seed}");
        let rng = fastrand::Rng::with_seed(seed);
        Self {
            conditions,
            rng,
            in_flight: BTreeMap::new(),
            count: 0,
            free_at: [None; 2],
            cut: false,
            overflowed: 0,
        }
    }

    pub(super) fn send(&mut self, direction: Direction, packet: &[u8], now: Instant) {
        let c = self.conditions;
        let Some(leaves) = self.queue(direction, packet.len() as u64, now) else {
            self.overflowed += 1;
            return;
        };
        if self.cut || self.rng.u32(0..1000) < c.lost {
            return;
        }
        let copies = 1 + u32::from(self.rng.u32(0..1000) < c.duplicated);
        for _ in 0..copies {
            let jitter = c.jitter.mul_f64(self.rng.f64());
            self.count += 1;
            self.in_flight.insert((leaves + c.delay + jitter, self.count), (direction, packet.to_vec()));
        }
    }

    /// The packets that have arrived by `now`.
    pub(super) fn arrived(&mut self, now: Instant) -> Vec<(Direction, Vec<u8>)> {
        let later = self.in_flight.split_off(&(now + Duration::from_nanos(1), 0));
        std::mem::replace(&mut self.in_flight, later).into_values().collect()
    }

    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.keys().next().map(|&(at, _)| at)
    }

    /// When a packet has left, behind those before it; `None` when the queue is full.
    fn queue(&mut self, direction: Direction, len: u64, now: Instant) -> Option<Instant> {
        let c = self.conditions;
        if c.rate == 0 {
            return Some(now);
        }
        let free_at = &mut self.free_at[direction as usize];
        let start = free_at.map_or(now, |at| at.max(now));
        let waiting_bytes = (start - now).as_nanos() as u64 * c.rate / 1_000_000_000;
        // Where exactly the queue is full is left to chance: in virtual time the senders would otherwise fall into
        // step, and the same ones would find it full every time.
        if waiting_bytes > c.queue_bytes / 2 + self.rng.u64(0..=c.queue_bytes / 2) {
            return None;
        }
        let leaves = start + Duration::from_nanos(len * 1_000_000_000 / c.rate);
        *free_at = Some(leaves);
        Some(leaves)
    }
}
