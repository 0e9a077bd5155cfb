//! How much memory connections may reserve for their buffers: per owner and in total.
//!
//! A receive window is a promise: whatever was advertised must be kept if it arrives. So memory is reserved when a
//! connection opens, at the size of its buffers, and every later packet is free of accounting. The kernel populates
//! fresh buffers page by page, so a connection that moves little also costs little; the reservation is the worst case.

use std::collections::HashMap;

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

/// Sizes of buffers: from a window of 200 Mbit/s at 160 ms down, once memory is scarce, to one that needs no scaling.
/// Each has as much of a budget as every other, so that a few early connections leave room for thousands.
const SIZES: [usize; 7] = [4 << 20, 2 << 20, 1 << 20, 512 << 10, 256 << 10, 128 << 10, 64 << 10];

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
        let fits = |used: usize, wanted: usize, limit: usize, share: usize| {
            used.saturating_add(wanted) <= limit / SIZES.len() * share
        };
        let mut sized = SIZES.into_iter().zip(1..);
        let reservation = sized.find_map(|(buffer_bytes, share)| {
            let reservation = Reservation { owner, buffer_bytes };
            let wanted = reservation.bytes();
            let has_room = fits(owner_used, wanted, self.limits.per_owner_bytes, share)
                && fits(self.total_used, wanted, self.limits.total_bytes, share);
            has_room.then_some(reservation)
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
        assert_eq!(sizes.last(), SIZES.last());
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

    /// What `connections` of each of so many clients get.
    fn sizes(clients: u64, connections: usize) -> Vec<usize> {
        let mut budget = Budget::new(MemoryLimits::default());
        let owners = (0..clients).flat_map(|owner| std::iter::repeat_n(OwnerId(owner), connections));
        owners.map_while(|owner| budget.reserve(owner)).map(|r| r.buffer_bytes).collect()
    }

    #[test]
    fn the_default_carries_thousands_of_streams_and_a_wall_of_one_client_at_full_speed() {
        assert_eq!(sizes(250, 8).len(), 2000);
        let wall = sizes(1, 64);
        assert_eq!((wall.len(), wall.first()), (64, Some(&(4 * MIB))));
        assert!(wall.iter().all(|&size| size >= MIB / 2), "50 Mbit/s at 80 ms: {wall:?}");
    }

    #[test]
    fn the_total_binds_when_owners_are_many() {
        let limits = MemoryLimits { per_owner_bytes: 64 * MIB, total_bytes: 100 * MIB };
        let mut budget = Budget::new(limits);
        let refused = (0..10_000).any(|owner| budget.reserve(OwnerId(owner)).is_none());
        assert!(refused && budget.total_used() <= limits.total_bytes);
    }
}
