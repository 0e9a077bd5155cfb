//! The source pool: each client leaves from its own LAN address, so that the VMS's own log tells users apart.

use std::net::IpAddr;

use ipnet::IpNet;

/// LAN addresses of this host, in order, per family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourcePool {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl SourcePool {
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> SourcePool {
        let (v4, v6) = addresses.into_iter().partition(IpAddr::is_ipv4);
        SourcePool { v4, v6 }
    }

    /// The address for a client: its place in the tunnel range is its place in the pool. The registry never gives a
    /// tunnel address to two clients, so no two share one as long as the pool is as large as the part of the range in
    /// use; beyond, the pool starts over.
    pub fn of(&self, client: IpAddr, tunnel: &[IpNet], to_v4: bool) -> Option<IpAddr> {
        let pool = if to_v4 { &self.v4 } else { &self.v6 };
        let range = tunnel.iter().find(|range| range.contains(&client))?;
        // The network's own address and the gateway's come before the first client.
        let place = (bits(client) - bits(range.network())).checked_sub(2)?;
        let size = u128::try_from(pool.len()).ok().filter(|size| *size > 0)?;
        pool.get(usize::try_from(place % size).ok()?).copied()
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(client: &str) -> Option<String> {
        let pool = SourcePool::new((200..=209).map(|host| IpAddr::from([192, 168, 10, host])));
        let tunnel = ["10.99.0.0/16".parse().unwrap(), "fd00:99::/64".parse().unwrap()];
        pool.of(client.parse().unwrap(), &tunnel, true).map(|address| address.to_string())
    }

    #[test]
    fn a_client_always_leaves_from_the_same_address_and_its_neighbour_from_another() {
        assert_eq!(of("10.99.0.2").as_deref(), Some("192.168.10.200"));
        assert_eq!(of("10.99.0.3").as_deref(), Some("192.168.10.201"));
        assert_eq!(of("fd00:99::2").as_deref(), Some("192.168.10.200"));
    }

    #[test]
    fn the_pool_starts_over_and_strangers_have_no_place() {
        assert_eq!(of("10.99.0.12").as_deref(), Some("192.168.10.200"));
        assert_eq!(of("10.99.0.1"), None);
        assert_eq!(of("10.1.0.2"), None);
    }

    #[test]
    fn a_family_without_addresses_has_no_source() {
        let pool = SourcePool::new([IpAddr::from([192, 168, 10, 200])]);
        let tunnel = ["10.99.0.0/16".parse().unwrap()];
        assert_eq!(pool.of(IpAddr::from([10, 99, 0, 2]), &tunnel, false), None);
    }
}
