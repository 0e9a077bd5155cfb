//! The names that one role may look up: those of its servers, and the reverse names of their addresses.
//! Everything else does not exist, so a client learns nothing about servers that it may not reach.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use hickory_proto::rr::Name;

/// The names of one role. Look-ups ignore case, as DNS does.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    nodes: HashMap<Name, Node>,
    ttl_seconds: u32,
}

/// What is known about one name. A name without records exists all the same when names below it do
/// (RFC 8020): denying `vms.local` would deny `rec01.vms.local` to resolvers that take a denial for the
/// whole tree below.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
    pub(super) pointers: Vec<Name>,
}

impl Zone {
    /// Makes a zone from each server's names and addresses. What is no valid DNS name is left out: nobody
    /// could ask for it.
    pub fn new<'a>(servers: impl IntoIterator<Item = (&'a [String], &'a [IpAddr])>, ttl: Duration) -> Self {
        let mut zone =
            Self { nodes: HashMap::new(), ttl_seconds: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX) };
        for (names, addresses) in servers {
            let names: Vec<Name> = names.iter().filter_map(|name| parse(name)).collect();
            for address in addresses {
                for name in &names {
                    zone.add_address(name, *address);
                }
                zone.add_pointers(*address, &names);
            }
        }
        zone
    }

    pub(super) fn get(&self, name: &Name) -> Option<&Node> {
        self.nodes.get(name)
    }

    pub(super) fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds
    }

    fn add_address(&mut self, name: &Name, address: IpAddr) {
        let node = self.node(name);
        match address {
            IpAddr::V4(address) if !node.v4.contains(&address) => node.v4.push(address),
            IpAddr::V6(address) if !node.v6.contains(&address) => node.v6.push(address),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }

    /// One pointer per address: the longest name, which is the fully qualified one where there is one.
    fn add_pointers(&mut self, address: IpAddr, names: &[Name]) {
        let Some(target) = names.iter().max_by_key(|name| name.num_labels()) else { return };
        let node = self.node(&Name::from(address));
        if !node.pointers.contains(target) {
            node.pointers.push(target.clone());
        }
    }

    fn node(&mut self, name: &Name) -> &mut Node {
        let mut parent = name.base_name();
        while !parent.is_root() && !self.nodes.contains_key(&parent) {
            self.nodes.insert(parent.clone(), Node::default());
            parent = parent.base_name();
        }
        self.nodes.entry(name.clone()).or_default()
    }
}

fn parse(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    (!name.is_root()).then(|| name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_that_is_no_dns_name_is_left_out() {
        let hostnames = ["x".repeat(64), "good".to_owned(), ".".to_owned(), String::new()];
        let address = [IpAddr::from([10, 0, 0, 1])];
        let zone = Zone::new([(&hostnames[..], &address[..])], Duration::from_secs(60));
        // `good`, the reverse name, and the four parents and `arpa` above it
        assert!(zone.get(&Name::from_ascii("good.").unwrap()).is_some());
        assert_eq!(zone.nodes.len(), 7, "{:?}", zone.nodes.keys());
    }
}
