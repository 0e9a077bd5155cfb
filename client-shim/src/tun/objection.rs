//! What this machine's own network needs, and so must not lead into the tunnel.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::IpAddr;

use crate::report::ErrorReport;

/// Addresses around this machine, each with the name of the interface there; ours is not among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// Its own.
    pub(super) own: &'a BTreeMap<IpAddr, String>,
    /// Of routers.
    pub(super) routers: &'a BTreeMap<IpAddr, String>,
    /// That have a route of their own.
    pub(super) hosts: &'a BTreeMap<IpAddr, String>,
}

/// What may be routed, and what must not and why.
pub(super) fn sort(
    addresses: &BTreeSet<IpAddr>,
    around: Around<'_>,
) -> (BTreeSet<IpAddr>, BTreeMap<IpAddr, ErrorReport>) {
    let (mut wanted, mut refused) = (BTreeSet::new(), BTreeMap::new());
    for address in addresses {
        match objection(*address, around) {
            Some(error) => {
                refused.insert(*address, error);
            }
            None => {
                wanted.insert(*address);
            }
        }
    }
    (wanted, refused)
}

/// Why an address must not lead into the tunnel.
fn objection(address: IpAddr, around: Around<'_>) -> Option<ErrorReport> {
    let why = if !is_host(address) {
        format!("{address} is not the address of a single host")
    } else if let Some(interface) = around.own.get(&address) {
        format!("{address} is this machine's own address, on {interface}")
    } else if let Some(interface) = around.routers.get(&address) {
        format!("{address} is the router of the network that this machine is in, on {interface}")
    } else if let Some(interface) = around.hosts.get(&address) {
        format!("{address} is already routed to {interface} by something else on this machine")
    } else {
        return None;
    };
    Some(ErrorReport {
        message: format!("{why}, so that server is not reached"),
        hint: "reach that server with --mode loopback or --mode socks, or from another network".to_owned(),
    })
}

/// An address that the system would not route.
pub(super) fn unroutable(address: IpAddr, error: &dyn Error) -> ErrorReport {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    ErrorReport {
        message: format!("{address} cannot be routed: {error}{cause}"),
        hint: "reach that server with --mode loopback or --mode socks".to_owned(),
    }
}

/// Whether a route to it can lead to one machine elsewhere.
fn is_host(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => {
            v4.is_broadcast() || v4.is_link_local() || v4.octets()[0] == 0 || v4.octets()[0] >= 240
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(special || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machines_own_network_needs_stays_where_it_is() {
        let named = |address: &str, name: &str| BTreeMap::from([(address.parse().unwrap(), name.to_owned())]);
        let (own, routers) = (named("192.168.1.50", "wlan0"), named("192.168.1.1", "wlan0"));
        let hosts = named("192.168.1.9", "tun7");
        let home = Around { own: &own, routers: &routers, hosts: &hosts };
        let of = |address: &str| objection(address.parse().unwrap(), home).map(|error| error.message);
        assert_eq!(of("192.168.1.20"), None);
        assert_eq!(
            of("192.168.1.50").unwrap(),
            "192.168.1.50 is this machine's own address, on wlan0, so that server is not reached"
        );
        assert!(of("192.168.1.1").unwrap().contains("is the router of the network that this machine is in"));
        assert!(of("192.168.1.9").unwrap().contains("is already routed to tun7"));
    }

    #[test]
    fn only_single_hosts_are_routed() {
        for bad in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:192.0.2.1",
        ] {
            assert!(!is_host(bad.parse().unwrap()), "{bad}");
        }
        for good in ["10.0.0.1", "192.168.10.10", "8.8.8.8", "fd00::1", "2001:db8::1"] {
            assert!(is_host(good.parse().unwrap()), "{good}");
        }
    }
}
