//! How much memory connections may reserve for their buffers: per owner and in total.
//!
//! A receive window is a promise: whatever was advertised must be kept if it arrives. So memory is reserved when a
//! connection opens, at the size of its buffers, and every later packet is free of accounting. The kernel populates
//! fresh buffers page by page, so a connection that moves little also costs little; the reservation is the worst case.

use std::collections::HashMap;
use std::iter;

/// Whom a connection's memory is charged to: the gateway uses one owner per client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerId(pub u64);

/// Upper bounds for the buffers of all connections together.
#[derive(Debug, Clone, Copy)]
pub struct MemoryLimits {
    /// All connections of one owner. Default 256 MiB.
    pub per_owner_bytes: usize,
    /// All connections. Default 1 GiB.
    pub total_bytes: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { per_owner_bytes: 256 << 20, total_bytes: 1 << 30 }
    }
}

/// The smallest buffers, once memory is scarce: a window that needs no scaling.
const SMALLEST_BUFFER: usize = 64 << 10;

/// The largest buffers, 4 MiB: a window of 200 Mbit/s at 160 ms.
const LARGEST_BUFFER: usize = 4 << 20;

/// A new connection takes at most this fraction of what is left, so that early ones do not leave crumbs.
const SHARE: usize = 8;

/// A connection's reserved memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) owner: OwnerId,
    /// Size of the receive buffer and of the send buffer, each.
    pub(super) buffer_bytes: usize,
}

impl Reservation {
    const fn bytes(self) -> usize {
        2 * self.buffer_bytes
    }
}

#[derive(Debug)]
pub(super) struct Budget {
    limits: MemoryLimits,
    total_used: usize,
    used: HashMap<OwnerId, usize>,
}

impl Budget {
    pub(super) fn new(limits: MemoryLimits) -> Self {
        Self { limits, total_used: 0, used: HashMap::new() }
    }

    /// Reserves buffers for one connection, the largest that fit the owner's and the common budget.
    pub(super) fn reserve(&mut self, owner: OwnerId) -> Option<Reservation> {
        let owner_used = self.used.get(&owner).copied().unwrap_or(0);
        let left = usize::min(
            self.limits.per_owner_bytes.saturating_sub(owner_used),
            self.limits.total_bytes.saturating_sub(self.total_used),
        );
        let reservation = iter::successors(Some(LARGEST_BUFFER), |size| Some(size / 2))
            .take_while(|&size| size >= SMALLEST_BUFFER)
            .map(|buffer_bytes| Reservation { owner, buffer_bytes })
            .find(|r| {
                r.bytes() <= left / SHARE || (r.buffer_bytes == SMALLEST_BUFFER && r.bytes() <= left)
            })?;
        self.total_used += reservation.bytes();
        *self.used.entry(owner).or_default() += reservation.bytes();
        Some(reservation)
    }

    pub(super) fn release(&mut self, reservation: Reservation) {
        self.total_used = self.total_used.saturating_sub(reservation.bytes());
        if let Some(used) = self.used.get_mut(&reservation.owner) {
            *used = used.saturating_sub(reservation.bytes());
            if *used == 0 {
                self.used.remove(&reservation.owner);
            }
        }
    }

    pub(super) const fn total_used(&self) -> usize {
        self.total_used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const ALICE: OwnerId = OwnerId(1);
    const BOB: OwnerId = OwnerId(2);

    #[test]
    fn buffers_shrink_by_halves_and_are_refused_at_the_limit() {
        let limits = MemoryLimits { per_owner_bytes: 128 * MIB, total_bytes: 1024 * MIB };
        let mut budget = Budget::new(limits);
        let mut sizes = Vec::new();
        let mut held = Vec::new();
        while let Some(r) = budget.reserve(ALICE) {
            sizes.push(r.buffer_bytes);
            held.push(r);
        }
        assert_eq!(sizes.first(), Some(&(4 * MIB)));
        assert!(sizes.windows(2).all(|w| w[1] == w[0] || w[1] * 2 == w[0]), "by halves: {sizes:?}");
        assert_eq!(sizes.last(), Some(&SMALLEST_BUFFER));
        assert!(budget.total_used() <= limits.per_owner_bytes);

        assert!(budget.reserve(BOB).is_some(), "one owner's hunger does not refuse another");
        for r in held {
            budget.release(r);
        }
        assert_eq!(
            budget.reserve(ALICE).map(|r| r.buffer_bytes),
            Some(sizes[0]),
            "released memory is lent again"
        );
    }

    #[test]
    fn the_total_binds_when_owners_are_many() {
        let limits = MemoryLimits { per_owner_bytes: 64 * MIB, total_bytes: 100 * MIB };
        let mut budget = Budget::new(limits);
        let refused = (0..10_000).any(|owner| budget.reserve(OwnerId(owner)).is_none());
        assert!(refused && budget.total_used() <= limits.total_bytes);
    }
}
