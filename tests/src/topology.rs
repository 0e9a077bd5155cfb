//! The cables of one site: clients on the outside, the gateway's host in the middle, the recording network inside.
//!
//! ```text
//! client i ──eth0   c<i>── internet ──gw      wan── gateway host ──lan      eth0── recording network
//!   198.18.i.2      .1     198.51.100.1    .10      192.168.10.1            192.168.10.0/24 (mgmt .10, rec01 .21, rec02 .22)
//!   2001:db8:18:i::2 ::1   2001:db8:100::1 ::10     fd10:10::1              fd10:10::/64    (::10, ::21, ::22)
//! ```
//!
//! Nothing routes between the sides but the gateway program itself: its host does not forward, and the recording
//! network has no route to the outside.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU8, Ordering},
};

use anyhow::Result;

use crate::netns::{self, Netns};

/// The gateway's only port that the internet sees.
pub const PORT: u16 = 51_820;

/// IPv4 or IPv6, where a test runs once with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The one of two addresses that belongs to this family.
    #[must_use]
    pub fn pick(self, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
        match self {
            Self::V4 => v4.into(),
            Self::V6 => v6.into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A server of the recording network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Management and event server.
    Mgmt,
    /// First recording server.
    Rec01,
    /// Second recording server.
    Rec02,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mgmt, Self::Rec01, Self::Rec02];

    /// The name used in the gateway's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mgmt => "mgmt",
            Self::Rec01 => "rec01",
            Self::Rec02 => "rec02",
        }
    }

    /// Its IPv4 address.
    #[must_use]
    pub fn v4(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 10, self.host())
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd10, 0x10, 0, 0, 0, 0, 0, self.host_v6())
    }

    /// Its address in `family`.
    #[must_use]
    pub fn address(self, family: Family) -> IpAddr {
        family.pick(self.v4(), self.v6())
    }

    fn host(self) -> u8 {
        match self {
            Self::Mgmt => 10,
            Self::Rec01 => 21,
            Self::Rec02 => 22,
        }
    }

    /// The same digits as in IPv4, read as hexadecimal, so that a person sees that they belong together.
    fn host_v6(self) -> u16 {
        match self {
            Self::Mgmt => 0x10,
            Self::Rec01 => 0x21,
            Self::Rec02 => 0x22,
        }
    }
}

/// The namespaces and cables of one site.
#[derive(Debug)]
pub struct Topology {
    /// The internet: routes between the clients and the gateway's host.
    pub internet: Netns,
    /// The machine the gateway program runs on.
    pub gateway: Netns,
    /// The recording network: one namespace that holds every server's addresses.
    pub recording: Netns,
    clients: AtomicU8,
}

/// A client's machine.
#[derive(Debug)]
pub struct ClientHost {
    /// Its namespace.
    pub namespace: Netns,
    /// Its address on the internet.
    pub v4: Ipv4Addr,
    /// Its IPv6 address on the internet.
    pub v6: Ipv6Addr,
}

impl Topology {
    /// Builds the three fixed hosts.
    ///
    /// # Errors
    /// When a namespace or cable cannot be made.
    pub fn build() -> Result<Self> {
        let (internet, gateway) = (Netns::create("net")?, Netns::create("gw")?);
        let recording = Netns::create("lan")?;
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            internet.sysctl(key, "1")?;
        }
        netns::cable(&internet, "gw", &gateway, "wan")?;
        netns::cable(&gateway, "lan", &recording, "eth0")?;
        internet.ip("addr add 198.51.100.1/24 dev gw\naddr add 2001:db8:100::1/64 dev gw nodad")?;
        gateway.ip("addr add 198.51.100.10/24 dev wan
            addr add 2001:db8:100::10/64 dev wan nodad
            addr add 192.168.10.1/24 dev lan
            addr add fd10:10::1/64 dev lan nodad
            route add default via 198.51.100.1
            route add default via 2001:db8:100::1")?;
        // Who may send ICMP echo without a capability is a setting of the host; distributions open it to everyone.
        gateway.sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
        for server in Server::ALL {
            recording.ip(&format!(
                "addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad",
                server.v4(),
                server.v6()
            ))?;
        }
        Ok(Self { internet, gateway, recording, clients: AtomicU8::new(1) })
    }

    /// The gateway's address on the internet.
    #[must_use]
    pub fn gateway_address(family: Family) -> IpAddr {
        family.pick(Ipv4Addr::new(198, 51, 100, 10), Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10))
    }

    /// Adds a client's machine, on its own link to the internet.
    ///
    /// # Errors
    /// When a namespace or cable cannot be made.
    pub fn add_client(&self) -> Result<ClientHost> {
        let i = self.clients.fetch_add(1, Ordering::Relaxed);
        let namespace = Netns::create(&format!("c{i}"))?;
        netns::cable(&self.internet, &format!("c{i}"), &namespace, "eth0")?;
        self.internet.ip(&format!(
            "addr add 198.18.{i}.1/24 dev c{i}\naddr add 2001:db8:18:{i:x}::1/64 dev c{i} nodad"
        ))?;
        namespace.ip(&format!(
            "addr add 198.18.{i}.2/24 dev eth0
            addr add 2001:db8:18:{i:x}::2/64 dev eth0 nodad
            route add default via 198.18.{i}.1
            route add default via 2001:db8:18:{i:x}::1"
        ))?;
        Ok(ClientHost {
            namespace,
            v4: Ipv4Addr::new(198, 18, i, 2),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0x18, u16::from(i), 0, 0, 0, 2),
        })
    }
}
