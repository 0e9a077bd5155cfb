//! Which addresses packets may go to and come from, for the task that moves them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

/// The addresses that are routed, changed by one task and asked by another.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    addresses: RefCell<HashSet<IpAddr>>,
    /// The last one that was in: packets come in runs.
    last: Cell<Option<IpAddr>>,
}

impl Allowed {
    pub(crate) fn set(&self, addresses: &BTreeSet<IpAddr>) {
        *self.addresses.borrow_mut() = addresses.iter().copied().collect();
        self.last.set(None);
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        if self.last.get() == Some(address) {
            return true;
        }
        let found = self.addresses.borrow().contains(&address);
        if found {
            self.last.set(Some(address));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_was_taken_away_is_out_at_once() {
        let allowed = Allowed::default();
        let [a, b]: [IpAddr; 2] = ["192.168.10.10".parse().unwrap(), "fd00:10::21".parse().unwrap()];
        allowed.set(&BTreeSet::from([a, b]));
        assert!(allowed.contains(a) && allowed.contains(a) && allowed.contains(b));
        allowed.set(&BTreeSet::from([b]));
        assert!(!allowed.contains(a) && allowed.contains(b));
    }
}
