//! Whom and what a record is about: a session, a flow, a destination, and how much went through.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::text::{Fingerprint, Label};

/// The client behind a session, as it was when the record was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSubject {
    /// UUID version 7, so that sessions sort by their start.
    pub id: Uuid,
    pub client: Label,
    /// The person.
    pub operator: Label,
    pub role: Label,
    /// The client key that proved itself.
    pub key: Fingerprint,
    /// Where the client's tunnel comes from on the internet.
    pub source: SocketAddr,
    /// The client's own addresses inside the tunnel.
    pub tunnel: Vec<IpAddr>,
}

/// One TCP connection, or one UDP or ICMP exchange, inside a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSubject {
    /// Unique within its session.
    pub id: u64,
    pub protocol: Protocol,
    /// The client's side inside the tunnel.
    pub source: HostPort,
    pub destination: Destination,
    /// The gateway's side on the recording network (proxy egress): the "user location" in the VMS's own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lan_source: Option<HostPort>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Label>,
    pub address: IpAddr,
    /// None for protocols without ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// An address with a port where the protocol has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostPort {
    pub address: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Counters of both directions, payload of the inner packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub from_client: Volume,
    pub to_client: Volume,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub bytes: u64,
    pub packets: u64,
}

/// What the first bytes of a TCP connection were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// A TLS record from the client.
    Tls,
    /// Anything else, from either side.
    Plain,
    /// Nothing was sent.
    None,
}

impl Tls {
    /// As records name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Plain => "plain",
            Self::None => "none",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    /// ICMP and ICMPv6; the addresses tell which.
    Icmp,
    /// Any other, by its number of the IANA registry "Protocol Numbers".
    Other(u8),
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip(), port: Some(address.port()) }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.pad("tcp"),
            Self::Udp => f.pad("udp"),
            Self::Icmp => f.pad("icmp"),
            Self::Other(number) => f.pad(&format!("ip-{number}")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a protocol: expected tcp, udp, icmp or ip-N")]
pub struct UnknownProtocol(Label);

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmp" => Ok(Self::Icmp),
            other => other
                .strip_prefix("ip-")
                .and_then(|number| number.parse().ok())
                .map(Self::Other)
                .ok_or_else(|| UnknownProtocol(Label::new(other))),
        }
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
