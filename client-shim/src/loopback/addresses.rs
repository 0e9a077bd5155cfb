//! Which loopback address stands for which server.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// 127.64.0.0/10: away from 127.0.0.1, and from 127.0.0.53 and 127.0.1.1 which resolvers and Debian use.
const BASE: u32 = u32::from_be_bytes([127, 64, 0, 0]);
const HOST_BITS: u32 = 22;

/// The addresses given out, by server name. A name keeps its address while it is present.
#[derive(Debug, Default)]
pub struct Addresses(BTreeMap<String, Ipv4Addr>);

impl Addresses {
    /// Gives every name an address that follows from the name alone, so that it is the same in every run. Where two
    /// names fall on one address (one pair in four million), the later in order takes the next one.
    pub fn assign<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        self.0.retain(|name, _| names.binary_search(&name.as_str()).is_ok());
        for name in names {
            if !self.0.contains_key(name) {
                let start = hash(name);
                let free = (0..1 << HOST_BITS).map(|step| nth(start.wrapping_add(step)));
                let mut free = free
                    .filter(|address| !ends_badly(*address) && self.0.values().all(|used| used != address));
                if let Some(address) = free.next() {
                    self.0.insert(name.to_owned(), address);
                }
            }
        }
    }

    pub fn of(&self, name: &str) -> Option<Ipv4Addr> {
        self.0.get(name).copied()
    }
}

fn nth(index: u32) -> Ipv4Addr {
    (BASE | (index & ((1 << HOST_BITS) - 1))).into()
}

/// Addresses that look like a network or a broadcast; some programs refuse them.
fn ends_badly(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [.., 0 | 255])
}

/// FNV-1a, which will be the same on every machine and in every release. Host names ignore case, and so does it.
fn hash(name: &str) -> u32 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    // The upper half is mixed best.
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(names: &[&str]) -> Addresses {
        let mut addresses = Addresses::default();
        addresses.assign(names.iter().copied());
        addresses
    }

    #[test]
    fn an_address_follows_from_the_name_alone() {
        // Written into people's hosts files: a change here breaks them.
        assert_eq!(assigned(&["rec01"]).of("rec01"), assigned(&["a", "rec01", "z"]).of("rec01"));
        assert_eq!(assigned(&["rec01"]).of("rec01"), Some(Ipv4Addr::new(127, 125, 208, 243)));
        assert_eq!(assigned(&["Rec01"]).of("Rec01"), assigned(&["rec01"]).of("rec01"));
    }

    #[test]
    fn a_thousand_servers_have_a_thousand_usable_addresses() {
        let names: Vec<String> = (0..1000).map(|n| format!("rec{n:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let addresses = assigned(&names);
        let mut all: Vec<Ipv4Addr> = names.iter().filter_map(|name| addresses.of(name)).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1000);
        assert!(
            all.iter().all(|a| (BASE..BASE + (1 << HOST_BITS)).contains(&u32::from(*a)) && !ends_badly(*a))
        );
    }

    #[test]
    fn names_on_the_same_address_are_kept_apart() {
        let addresses = assigned(&["REC", "rec"]);
        let (first, second) = (addresses.of("REC").unwrap(), addresses.of("rec").unwrap());
        assert_ne!(first, second);
        assert_eq!(assigned(&["rec", "REC"]).of("REC"), Some(first), "whatever the order they are named in");
    }

    #[test]
    fn a_server_keeps_its_address_when_others_come_and_go() {
        let mut addresses = assigned(&["REC", "rec"]);
        let second = addresses.of("rec");
        addresses.assign(["rec", "mgmt"].into_iter());
        assert_eq!((addresses.of("rec"), addresses.of("REC")), (second, None));
    }
}
