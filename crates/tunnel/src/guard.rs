//! Per-source limits on handshakes: a flood from one source must neither cost much nor lock anybody else out.
//!
//! Each source (an IPv4 address, or an IPv6 /64, which is what one site usually holds) has a token bucket. A source
//! above it must prove its address with a cookie (WireGuard paper, section 5.4.7), so a forged source address cannot
//! use up somebody's bucket; a proven source has a second, larger bucket and is then ignored. When the whole node is
//! under load, every source must prove itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use foldhash::quality::FixedState;

/// Sources remembered at once; at 48 bytes each about 3 MiB.
const MAX_SOURCES: usize = 65_536;
/// A proven source gets this many times the tokens of an unproven one.
const PROVEN_FACTOR: f32 = 5.0;

/// Limits on handshake initiations.
#[derive(Debug, Clone, Copy)]
pub struct HandshakeLimits {
    /// Per source and second, with bursts of as many.
    pub per_source: u32,
    /// Of the whole gateway per second, before every source must prove its address.
    pub total: u32,
}

/// What to do with an initiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Accept,
    /// Only with a valid cookie; then ask [`Guard::admit_proven`].
    DemandCookie,
}

#[derive(Debug)]
pub struct Guard {
    limits: HandshakeLimits,
    sources: HashMap<IpAddr, Bucket, FixedState>,
    second: Instant,
    this_second: u32,
}

#[derive(Debug)]
struct Bucket {
    unproven: f32,
    proven: f32,
    refilled: Instant,
}

impl Guard {
    pub fn new(limits: HandshakeLimits, seed: u64, now: Instant) -> Self {
        let sources = HashMap::with_hasher(FixedState::with_seed(seed));
        Guard { limits, sources, second: now, this_second: 0 }
    }

    pub fn set_limits(&mut self, limits: HandshakeLimits) {
        self.limits = limits;
    }

    /// Judges an initiation whose mac1 is right.
    pub fn admit(&mut self, source: IpAddr, now: Instant) -> Admission {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.this_second = 0;
            self.forget_full_buckets(now);
        }
        self.this_second = self.this_second.saturating_add(1);
        let node_is_loaded = self.this_second > self.limits.total;
        match self.bucket(source, now) {
            Some(bucket) if bucket.unproven >= 1.0 => {
                bucket.unproven -= 1.0;
                if node_is_loaded { Admission::DemandCookie } else { Admission::Accept }
            }
            _ => Admission::DemandCookie,
        }
    }

    /// Whether a source that proved its address may shake hands once more.
    pub fn admit_proven(&mut self, source: IpAddr, now: Instant) -> bool {
        let Some(bucket) = self.bucket(source, now) else { return true };
        let admitted = bucket.proven >= 1.0;
        if admitted {
            bucket.proven -= 1.0;
        }
        admitted
    }

    /// None when the table is full of other busy sources.
    fn bucket(&mut self, source: IpAddr, now: Instant) -> Option<&mut Bucket> {
        let key = aggregate(source);
        let rate = self.limits.per_source as f32;
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&key) {
            return None;
        }
        let full = || Bucket { unproven: rate, proven: rate * PROVEN_FACTOR, refilled: now };
        let bucket = self.sources.entry(key).or_insert_with(full);
        let refill = now.saturating_duration_since(bucket.refilled).as_secs_f32() * rate;
        bucket.refilled = now;
        bucket.unproven = (bucket.unproven + refill).min(rate);
        bucket.proven = (bucket.proven + refill * PROVEN_FACTOR).min(rate * PROVEN_FACTOR);
        Some(bucket)
    }

    /// A bucket that has had time to fill up says nothing.
    fn forget_full_buckets(&mut self, now: Instant) {
        self.sources
            .retain(|_, bucket| now.saturating_duration_since(bucket.refilled) < Duration::from_secs(2));
    }
}

fn aggregate(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests;
