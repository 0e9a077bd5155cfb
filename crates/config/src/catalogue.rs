//! What Vmsgate knows about video management systems without being told: their services, four roles, and the
//! ports that no remote client may reach.
//!
//! Ports are the vendors' defaults. A site that changed one overrides the service in its own file; nothing here
//! opens anything by itself, because a server runs only the services that the file gives it. Every entry names
//! its [`sources`], and what could not be confirmed in a vendor's text is marked so.

mod never_expose;
mod roles;
pub mod sources;
mod vendors;
mod xprotect;

use serde::Serialize;

use crate::ports::{PortRange, Protocol, ProtocolPorts};

pub use never_expose::{NEVER_EXPOSE, NeverExpose, never_expose};
pub use roles::{BUILT_IN_ROLES, BuiltInRole};

/// What protects a service between the gateway and the server, where the tunnel has already ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Always TLS.
    Tls,
    /// TLS once the site has installed certificates, clear text until then.
    Site,
    /// Never encrypted.
    Plain,
    /// Not known.
    Unknown,
}

/// A service of the catalogue.
#[derive(Debug)]
pub struct BuiltInService {
    pub name: &'static str,
    pub description: &'static str,
    /// Ports that a vendor's text states.
    pub ports: &'static [ProtocolPorts],
    /// Ports that belong to the service by general knowledge only; opened as well.
    pub unconfirmed: &'static [ProtocolPorts],
    pub encryption: Encryption,
    /// Why the ports that the service shares with the never-expose list are opened all the same.
    pub exposes: Option<&'static str>,
    /// What an installer should know.
    pub note: &'static str,
    /// Tags of [`sources::SOURCES`].
    pub sources: &'static [&'static str],
}

/// Every built-in service, XProtect's first.
pub fn services() -> impl Iterator<Item = &'static BuiltInService> {
    xprotect::SERVICES.iter().chain(vendors::SERVICES)
}

const fn tcp(port: u16) -> ProtocolPorts {
    ProtocolPorts { protocol: Protocol::Tcp, ports: PortRange::single(port) }
}

const fn udp(port: u16) -> ProtocolPorts {
    ProtocolPorts { protocol: Protocol::Udp, ports: PortRange::single(port) }
}

const fn tcp_range(first: u16, last: u16) -> ProtocolPorts {
    ProtocolPorts { protocol: Protocol::Tcp, ports: PortRange { first, last } }
}

const fn udp_range(first: u16, last: u16) -> ProtocolPorts {
    ProtocolPorts { protocol: Protocol::Udp, ports: PortRange { first, last } }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn forbidden(service: &BuiltInService) -> Vec<String> {
        let ports = service.ports.iter().chain(service.unconfirmed);
        ports
            .flat_map(|ports| {
                let hits = NEVER_EXPOSE.iter().filter(|entry| entry.ports.intersects(*ports));
                hits.map(move |entry| format!("{} ({ports})", entry.name))
            })
            .collect()
    }

    #[test]
    fn built_in_roles_never_contradict_the_never_expose_list() {
        for role in BUILT_IN_ROLES {
            for rule in role.allow {
                let (pattern, name) = rule.split_once(':').unwrap();
                assert_eq!(pattern, "*");
                let service = services().find(|service| service.name == name).unwrap();
                assert_eq!(forbidden(service), Vec::<String>::new(), "{} {rule}", role.name);
                assert_eq!(service.exposes, None, "{} {rule}", role.name);
            }
        }
    }

    #[test]
    fn services_that_share_a_never_expose_port_say_why() {
        for service in services() {
            assert_eq!(forbidden(service).is_empty(), service.exposes.is_none(), "{}", service.name);
        }
    }

    #[test]
    fn names_are_unique_and_sources_exist() {
        let mut names = BTreeSet::new();
        for service in services() {
            assert!(names.insert(service.name), "{}", service.name);
            assert!(crate::names::is_name(service.name) && !service.description.is_empty());
            assert!(!service.ports.is_empty() || !service.unconfirmed.is_empty(), "{}", service.name);
            assert!(!service.sources.is_empty(), "{}", service.name);
            let known = |tag: &&str| sources::SOURCES.iter().any(|(known, _)| known == tag);
            assert!(service.sources.iter().all(known), "{}", service.name);
        }
        for entry in NEVER_EXPOSE {
            let known = |tag: &&str| sources::SOURCES.iter().any(|(known, _)| known == tag);
            assert!(entry.sources.iter().all(known) && !entry.sources.is_empty(), "{}", entry.name);
        }
    }
}
