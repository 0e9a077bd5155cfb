//! From a host and a port, as programs name them, to addresses of the recording network.
//!
//! Names mean what the gateway told, and nothing else: this machine's resolver is never asked.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;
use vmsgate_config::Protocol;

use crate::site::{Server, Site};

/// Where a connection goes: the addresses of one server, tried in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub remotes: Vec<SocketAddr>,
}

/// Why a host stands for no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unresolved {
    #[error("waiting for the gateway to say where `{host}` is")]
    NotYetKnown { host: String },
    #[error("the gateway offers you no server `{host}`")]
    Unknown { host: String, offered: String },
    #[error("`{host}` has no address of a family that the profile has")]
    Family { host: String },
}

impl Unresolved {
    /// What to do about it.
    pub fn hint(&self) -> &str {
        match self {
            Self::NotYetKnown { .. } => "this resolves by itself once connected",
            Self::Unknown { offered, .. } => offered,
            Self::Family { .. } => "ask your administrator for a profile with IPv4 and IPv6 tunnel addresses",
        }
    }
}

impl Target {
    /// The target that `host` (a server's name, one of its host names, or an address) means. `site` is missing until
    /// the gateway has answered; `own` are the client's tunnel addresses, which decide the families that it can reach.
    ///
    /// # Errors
    /// When it means none. An address is taken at its word, the gateway judges it; a name has to be known.
    pub fn resolve(host: &str, port: u16, site: Option<&Site>, own: &[IpAddr]) -> Result<Self, Unresolved> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Self::of(host, &[address], port, own);
        }
        let Some(site) = site else { return Err(Unresolved::NotYetKnown { host: host.to_owned() }) };
        let server = site
            .find(host)
            .ok_or_else(|| Unresolved::Unknown { host: host.to_owned(), offered: offered(site) })?;
        Self::of_server(server, port, own)
    }

    /// A port of a server.
    ///
    /// # Errors
    /// When it has no address of a family of the profile's.
    pub fn of_server(server: &Server, port: u16, own: &[IpAddr]) -> Result<Self, Unresolved> {
        Self::of(&server.name, &server.addresses, port, own)
    }

    fn of(host: &str, addresses: &[IpAddr], port: u16, own: &[IpAddr]) -> Result<Self, Unresolved> {
        let reachable = |address: &&IpAddr| own.iter().any(|own| own.is_ipv4() == address.is_ipv4());
        let remotes: Vec<_> =
            addresses.iter().filter(reachable).map(|address| SocketAddr::new(*address, port)).collect();
        if remotes.is_empty() {
            return Err(Unresolved::Family { host: host.to_owned() });
        }
        Ok(Self { remotes })
    }
}

/// A reason to doubt that the gateway will let a TCP connection through, by what it told.
pub fn doubt(host: &str, port: u16, site: Option<&Site>) -> Option<String> {
    let site = site?;
    let Some(server) = site.find(host) else {
        return Some(format!("the gateway offers you no server `{host}`; {}", offered(site)));
    };
    (!server.offers(Protocol::Tcp, port)).then(|| {
        let ports: Vec<String> = server.ports.keys().map(ToString::to_string).collect();
        format!("your role does not include port {port} of {}; it includes {}", server.name, ports.join(", "))
    })
}

fn offered(site: &Site) -> String {
    let names: Vec<&str> = site.servers.iter().map(|server| server.name.as_str()).collect();
    if names.is_empty() { "it offers none".to_owned() } else { format!("it offers {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{document, site};

    fn resolved(host: &str, own: &str) -> Result<Vec<String>, Unresolved> {
        let site = site(document()).unwrap();
        let target = Target::resolve(host, 7563, Some(&site), &[own.parse().unwrap()])?;
        Ok(target.remotes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_mean_what_the_gateway_told_and_addresses_themselves() {
        assert_eq!(resolved("REC01", "10.99.0.2").unwrap(), ["192.168.10.21:7563"]);
        assert_eq!(resolved("rec01", "fd00:99::2").unwrap(), ["[fd00:10::21]:7563"]);
        assert_eq!(resolved("192.168.1.7", "10.99.0.2").unwrap(), ["192.168.1.7:7563"]);
        let family = Unresolved::Family { host: "192.168.1.7".to_owned() };
        assert_eq!(resolved("192.168.1.7", "fd00:99::2"), Err(family));
    }

    #[test]
    fn names_of_this_machine_and_of_the_internet_mean_nothing() {
        for host in ["localhost", "example.org", "mgmt.", ""] {
            let offered = "it offers mgmt, rec01".to_owned();
            let unknown = Unresolved::Unknown { host: host.to_owned(), offered };
            assert_eq!(resolved(host, "10.99.0.2"), Err(unknown));
        }
        let early = Target::resolve("mgmt", 80, None, &["10.99.0.2".parse().unwrap()]);
        assert_eq!(early, Err(Unresolved::NotYetKnown { host: "mgmt".to_owned() }));
    }
}
