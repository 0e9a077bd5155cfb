//! The tunnel ranges, and which address in them is whose.
//!
//! Counted from the network address, number 0 belongs to nobody, number 1 is the gateway itself, clients get the
//! numbers from 2 on, and the last of an IPv4 range is its broadcast address and stays unused.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// One IPv4 range, one IPv6 range, or one of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelRanges(Vec<IpNet>);

/// The number of the first client in each range.
pub(crate) const FIRST_CLIENT: u64 = 2;

impl TunnelRanges {
    /// # Errors
    /// [`RangeError`] says which range is wrong.
    pub fn new(ranges: impl IntoIterator<Item = IpNet>) -> Result<Self, RangeError> {
        let mut ranges: Vec<IpNet> = ranges.into_iter().collect();
        ranges.sort(); // IPv4 before IPv6
        for (index, range) in ranges.iter().enumerate() {
            if range.trunc() != *range {
                return Err(RangeError::HostBits { range: *range });
            }
            if range.max_prefix_len() - range.prefix_len() < 2 {
                return Err(RangeError::TooSmall { range: *range });
            }
            let family = |other: &&IpNet| other.addr().is_ipv4() == range.addr().is_ipv4();
            if let Some(other) = ranges.iter().take(index).find(family) {
                return Err(RangeError::SameFamily { first: *other, second: *range });
            }
        }
        if ranges.is_empty() { Err(RangeError::None) } else { Ok(Self(ranges)) }
    }

    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }

    /// The gateway's own address in each range.
    pub fn gateway_addresses(&self) -> Vec<IpAddr> {
        self.0.iter().filter_map(|range| nth(range, 1)).collect()
    }
}

impl fmt::Display for TunnelRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

/// The address with this number, if the range has it to give.
pub(crate) fn nth(range: &IpNet, number: u64) -> Option<IpAddr> {
    let address = match range.network() {
        IpAddr::V4(network) => IpAddr::V4(network.to_bits().checked_add(u32::try_from(number).ok()?)?.into()),
        IpAddr::V6(network) => IpAddr::V6(network.to_bits().checked_add(u128::from(number))?.into()),
    };
    let broadcast = address.is_ipv4() && address == range.broadcast();
    (range.contains(&address) && !broadcast && number != 0).then_some(address)
}

/// Why ranges cannot be tunnel ranges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("there is no tunnel range")]
    None,
    #[error("tunnel range {range} is too small for a gateway and a client")]
    TooSmall { range: IpNet },
    #[error("tunnel range {range} has bits set beyond its prefix; did you mean {}?", .range.trunc())]
    HostBits { range: IpNet },
    #[error(
        "tunnel ranges {first} and {second} are of the same kind; give one IPv4 and one IPv6 range at most"
    )]
    SameFamily { first: IpNet, second: IpNet },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Result<TunnelRanges, RangeError> {
        TunnelRanges::new(texts.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn the_gateway_has_the_first_host_address_of_each_range() {
        let both = ranges(&["10.99.0.0/16", "fd00:99::/64"]).unwrap();

        let addresses: Vec<_> = both.gateway_addresses().iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.99.0.1", "fd00:99::1"]);
    }

    #[test]
    fn network_and_broadcast_addresses_are_nobody_s() {
        let range: IpNet = "192.0.2.0/29".parse().unwrap();
        let given: Vec<_> = (0..20).filter_map(|number| nth(&range, number)).map(|a| a.to_string()).collect();

        assert_eq!(given, ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"]);
        assert_eq!(nth(&"255.255.255.0/24".parse().unwrap(), u64::MAX), None);
        assert!(nth(&"ffff:ffff:ffff:ffff::/64".parse().unwrap(), u64::MAX).is_some());
    }

    #[test]
    fn ranges_that_cannot_work_are_refused() {
        assert_eq!(ranges(&[]), Err(RangeError::None));
        assert!(matches!(ranges(&["10.0.0.0/31"]), Err(RangeError::TooSmall { .. })));
        assert!(matches!(ranges(&["10.0.0.7/24"]), Err(RangeError::HostBits { .. })));
        assert!(matches!(ranges(&["10.0.0.0/24", "10.1.0.0/24"]), Err(RangeError::SameFamily { .. })));
    }
}
