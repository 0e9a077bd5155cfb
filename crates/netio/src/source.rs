//! Which of this machine's addresses each peer talks to.
//!
//! A machine with several addresses must answer from the one that was asked, or the peer's firewall drops the answer.
//! A socket bound to a wildcard leaves that choice to the kernel, which knows routes but not firewalls.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Peers remembered at most. Anyone can send from forged addresses, so when it is full it starts afresh: every peer
/// teaches its entry again with its next datagram.
const MAX_PEERS: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct SourceCache(RefCell<HashMap<SocketAddr, IpAddr>>);

impl SourceCache {
    /// `peer` was heard on `local`.
    pub(crate) fn note(&self, peer: SocketAddr, local: Option<IpAddr>) {
        let Some(local) = local else { return };
        let mut sources = self.0.borrow_mut();
        if sources.get(&peer) != Some(&local) {
            if sources.len() >= MAX_PEERS {
                sources.clear();
            }
            sources.insert(peer, local);
        }
    }

    /// The address that `peer` was heard on.
    pub(crate) fn of(&self, peer: SocketAddr) -> Option<IpAddr> {
        self.0.borrow().get(&peer).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_address_counts_and_memory_is_bounded() {
        let cache = SourceCache::default();
        let peer = |n: u32| SocketAddr::new(IpAddr::V4(n.into()), 1);
        let local = |n: u8| Some(IpAddr::from([127, 0, 0, n]));
        cache.note(peer(1), local(1));
        cache.note(peer(1), local(2));
        cache.note(peer(1), None);
        assert_eq!(cache.of(peer(1)), local(2));
        for n in 2..2 * MAX_PEERS as u32 {
            cache.note(peer(n), local(1));
        }
        assert!(cache.0.borrow().len() <= MAX_PEERS);
    }
}
