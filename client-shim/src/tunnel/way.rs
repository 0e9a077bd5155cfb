//! Whether this machine has a way to an address of the gateway at all. Asks the system's routes; nothing is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses of the internet that stand for all of it: nothing is ever sent there (RFC 6666's and RFC 5737's are not
/// routed on purpose in some networks).
const ANYWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 1))];

/// What lies between this machine and an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// There is a route.
    Open,
    /// The network has the other family only.
    OtherFamily,
    /// There is no network.
    Offline,
}

impl Way {
    pub fn to(address: SocketAddr) -> Self {
        let other = ANYWHERE.into_iter().find(|ip| ip.is_ipv4() != address.is_ipv4());
        if has_route(address) {
            Self::Open
        } else if other.is_some_and(|ip| has_route(SocketAddr::new(ip, address.port()))) {
            Self::OtherFamily
        } else {
            Self::Offline
        }
    }

    /// What stands in the way of `address`, if anything does.
    pub fn obstacle(self, address: SocketAddr) -> Option<String> {
        let (own, other) = if address.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        match self {
            Self::Open => None,
            Self::OtherFamily => {
                let ip = address.ip();
                Some(format!("this network has {other} only, and the gateway's address {ip} is {own}"))
            }
            Self::Offline => Some("this machine is not connected to a network".to_owned()),
        }
    }
}

/// Whether the system would know where to send a datagram for this address.
pub(super) fn has_route(to: SocketAddr) -> bool {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    std::net::UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(to)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_way_to_loopback() {
        assert_eq!(Way::to("127.0.0.1:9".parse().unwrap()), Way::Open);
    }

    #[test]
    fn an_obstacle_names_the_family_that_is_missing() {
        let text = Way::OtherFamily.obstacle("192.0.2.1:51820".parse().unwrap()).unwrap();
        assert_eq!(text, "this network has IPv6 only, and the gateway's address 192.0.2.1 is IPv4");
        assert_eq!(Way::Open.obstacle("192.0.2.1:51820".parse().unwrap()), None);
    }
}
