//! Transport protocols and port ranges, as they are written in the file: `tcp/7563`, `8000-8010`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A protocol with ports. ICMP has none: a role allows or refuses echo as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// An inclusive range; a single port has `first == last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// Ports of one protocol, e.g. `tcp/8000-8010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ProtocolPorts {
    pub protocol: Protocol,
    pub ports: PortRange,
}

impl PortRange {
    pub const fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }

    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether every port of `other` is in this range.
    pub const fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The ports that both ranges have.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }
}

impl ProtocolPorts {
    /// Whether both have a port in common.
    pub fn intersects(self, other: Self) -> bool {
        self.protocol == other.protocol && self.ports.intersection(other.ports).is_some()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for ProtocolPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.ports)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if first > last {
            return Err(format!("port range `{text}` is reversed: write `{last}-{first}`"));
        }
        Ok(Self { first, last })
    }
}

impl FromStr for ProtocolPorts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, ports) = match text.split_once('/') {
            Some(("tcp", ports)) => (Protocol::Tcp, ports),
            Some(("udp", ports)) => (Protocol::Udp, ports),
            _ => return Err(format!("`{text}` is not of the form tcp/PORT or udp/PORT")),
        };
        Ok(Self { protocol, ports: ports.parse()? })
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.trim().parse::<u16>() {
        Ok(0) => Err("port 0 does not exist: ports are 1 to 65535".to_owned()),
        Ok(port) => Ok(port),
        Err(_) => Err(format!("`{}` is not a port: ports are 1 to 65535", text.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_print_as_they_are_written() {
        for text in ["tcp/7563", "udp/8000-8010", "tcp/1-65535"] {
            assert_eq!(text.parse::<ProtocolPorts>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_ports_say_what_is_wrong() {
        for (text, message) in [
            ("tcp/0", "port 0 does not exist: ports are 1 to 65535"),
            ("tcp/65536", "`65536` is not a port: ports are 1 to 65535"),
            ("tcp/9-8", "port range `9-8` is reversed: write `8-9`"),
            ("icmp/1", "`icmp/1` is not of the form tcp/PORT or udp/PORT"),
        ] {
            assert_eq!(text.parse::<ProtocolPorts>().unwrap_err(), message);
        }
    }

    #[test]
    fn an_intersection_is_what_both_ranges_have() {
        let range = |first, last| PortRange { first, last };
        assert_eq!(range(1, 10).intersection(range(10, 20)), Some(PortRange::single(10)));
        assert_eq!(range(1, 9).intersection(range(10, 20)), None);
        assert!(range(1, 10).covers(range(2, 10)) && !range(1, 10).covers(range(2, 11)));
    }
}
