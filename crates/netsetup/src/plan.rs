//! What the kernel shall do.

use ipnet::IpNet;

/// What shall surround the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// An existing interface, at most 15 bytes long.
    pub interface: String,
    /// Of the interface, in bytes; at least 1280 if there is IPv6.
    pub mtu: u32,
    /// The gateway's own tunnel addresses. They are assigned as single hosts, whatever their prefix length says:
    /// the range behind them is a matter of `routes`.
    pub addresses: Vec<IpNet>,
    /// The tunnel ranges.
    pub routes: Vec<IpNet>,
    /// Whether servers see the gateway's address on their own network instead of the client's tunnel address.
    pub masquerade: bool,
}

impl Plan {
    pub(crate) fn has_ipv4(&self) -> bool {
        self.networks().any(|network| matches!(network, IpNet::V4(_)))
    }

    pub(crate) fn has_ipv6(&self) -> bool {
        self.networks().any(|network| matches!(network, IpNet::V6(_)))
    }

    fn networks(&self) -> impl Iterator<Item = &IpNet> {
        self.addresses.iter().chain(&self.routes)
    }
}
