//! Addresses beyond the standard library's: endpoints with a host name, and ranges with two ends.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::Serialize;

use crate::names;

/// `HOST:PORT`, where the host is a name, an IPv4 address or a bracketed IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Endpoint {
    /// Without brackets.
    pub host: String,
    pub port: u16,
}

/// Addresses from `first` to `last`, both included and of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    pub first: IpAddr,
    pub last: IpAddr,
}

impl IpRange {
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// How many addresses the range has.
    pub fn size(&self) -> u128 {
        let number = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        number(self.last).saturating_sub(number(self.first)).saturating_add(1)
    }

    /// The address at `index`, counted from `first`.
    pub fn nth(&self, index: u128) -> Option<IpAddr> {
        if index >= self.size() {
            return None;
        }
        match self.first {
            IpAddr::V4(first) => {
                let bits = first.to_bits().checked_add(u32::try_from(index).ok()?)?;
                Some(IpAddr::V4(bits.into()))
            }
            IpAddr::V6(first) => Some(IpAddr::V6(first.to_bits().checked_add(index)?.into())),
        }
    }
}

impl From<IpNet> for IpRange {
    fn from(net: IpNet) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("endpoint `{text}` is not of the form HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let v6 = rest.strip_suffix(']').ok_or_else(wrong)?;
                v6.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string()
            }
            None if names::is_host_name(host) || host.parse::<Ipv4Addr>().is_ok() => host.to_owned(),
            None => return Err(wrong()),
        };
        Ok(Self { host, port })
    }
}

/// `192.168.10.200-192.168.10.240`, CIDR, or one address.
impl FromStr for IpRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            text.trim().parse::<IpAddr>().map_err(|_| format!("`{}` is not an IP address", text.trim()))
        };
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            if first.is_ipv4() != last.is_ipv4() {
                return Err(format!("range `{text}` mixes IPv4 and IPv6"));
            }
            if first > last {
                return Err(format!("range `{text}` is reversed: write `{last}-{first}`"));
            }
            return Ok(Self { first, last });
        }
        if text.contains('/') {
            let net: IpNet =
                text.parse().map_err(|_| format!("`{text}` is not a range like 192.168.10.192/26"))?;
            return Ok(net.into());
        }
        address(text).map(|only| Self { first: only, last: only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_print_as_they_are_written() {
        for text in ["vpn.example.org:51820", "192.0.2.1:1", "[2001:db8::1]:51820"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn endpoints_need_a_host_and_a_port() {
        for text in [
            "vpn.example.org",
            ":51820",
            "h:0",
            "h:65536",
            "2001:db8::1:51820",
            "[::1:5",
            "a b:5",
            "999.0.0.1:5",
            "",
        ] {
            let message = text.parse::<Endpoint>().unwrap_err();
            assert_eq!(message, format!("endpoint `{text}` is not of the form HOST:PORT"));
        }
    }

    #[test]
    fn a_range_is_counted_and_enumerated() {
        let range: IpRange = "192.168.10.200-192.168.10.240".parse().unwrap();
        assert_eq!(range.size(), 41);
        assert_eq!(range.nth(40), Some("192.168.10.240".parse().unwrap()));
        assert_eq!(range.nth(41), None);
        let all: IpRange = "::/0".parse().unwrap();
        assert_eq!(all.size(), u128::MAX, "saturates instead of wrapping to nothing");
    }

    #[test]
    fn families_never_overlap() {
        let v4: IpRange = "0.0.0.0/0".parse().unwrap();
        let v6: IpRange = "::/0".parse().unwrap();
        assert!(!v4.overlaps(&v6));
        assert!(v4.overlaps(&"10.0.0.1".parse().unwrap()));
    }
}
