//! What `explain --to` names: an address with ports of one protocol, or several of them.

use std::net::IpAddr;

use serde::{Serialize, Serializer};
use vmsgate_cli::CliError;
use vmsgate_config::{Config, PortRange, ProtocolPorts, Server, nearest};
use vmsgate_tunnel::policy::Protocol;

use crate::policy_build::protocol;

const FORMS: &str =
    "write SERVER:SERVICE, SERVER:PORT, ADDR:PORT or [ADDR]:PORT, with /udp after the port for UDP";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Target {
    pub(super) address: IpAddr,
    #[serde(serialize_with = "as_text")]
    pub(super) protocol: Protocol,
    /// Port 0 stands for an ICMP echo, which has none.
    pub(super) ports: PortRange,
}

impl Target {
    /// Reads a target. A server is judged by its first address: the policy treats all of them alike.
    pub(super) fn parse(config: &Config, text: &str) -> Result<Vec<Self>, CliError> {
        let unreadable = || CliError::user(format!("`{text}` names no target")).hint(FORMS);
        let (host, what) = text.rsplit_once(':').ok_or_else(unreadable)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || what.is_empty() {
            return Err(unreadable());
        }
        let address = match bare.parse::<IpAddr>() {
            // Without brackets the last colon of an IPv6 address may be part of it.
            Ok(IpAddr::V6(_)) if !host.starts_with('[') => return Err(unreadable()),
            Ok(address) => address,
            Err(_) => first_address(find_server(config, host)?)?,
        };
        let ports = match port(what) {
            Some(port) => vec![port],
            None => {
                service(config, what)?.iter().map(|ports| (protocol(ports.protocol), ports.ports)).collect()
            }
        };
        Ok(ports.into_iter().map(|(protocol, ports)| Self { address, protocol, ports }).collect())
    }

    pub(super) fn with_port(&self, port: u16) -> Self {
        Self { ports: PortRange::single(port), ..self.clone() }
    }

    /// `tcp/7563`, `udp/8000-8010`, `icmp echo`.
    pub(super) fn ports_text(&self) -> String {
        match self.protocol {
            Protocol::Icmp => "icmp echo".to_owned(),
            Protocol::Tcp | Protocol::Udp => format!("{}/{}", self.protocol, self.ports),
        }
    }
}

/// `443`, `443/tcp`, `554/udp`, `icmp`.
fn port(text: &str) -> Option<(Protocol, PortRange)> {
    if text == "icmp" {
        return Some((Protocol::Icmp, PortRange::single(0)));
    }
    let (number, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((number, "tcp")) => (number, Protocol::Tcp),
        Some((number, "udp")) => (number, Protocol::Udp),
        Some(_) => return None,
    };
    let port = number.parse().ok().filter(|port| *port != 0)?;
    Some((protocol, PortRange::single(port)))
}

fn find_server<'a>(config: &'a Config, name: &str) -> Result<&'a Server, CliError> {
    let named = |server: &&Server| {
        server.name == name || server.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    config.servers.iter().find(named).ok_or_else(|| {
        let names = config.servers.iter().map(|server| server.name.as_str());
        let hint = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the servers are {}", names.collect::<Vec<_>>().join(", ")),
        };
        CliError::user(format!("there is no server `{name}`")).hint(hint)
    })
}

fn first_address(server: &Server) -> Result<IpAddr, CliError> {
    let missing = || CliError::user(format!("server `{}` has no address", server.name));
    server.addresses.first().copied().ok_or_else(missing)
}

fn service<'a>(config: &'a Config, name: &str) -> Result<&'a [ProtocolPorts], CliError> {
    config.services.get(name).map(|service| service.ports.as_slice()).ok_or_else(|| {
        let names = config.services.keys().map(String::as_str);
        let hint = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => FORMS.to_owned(),
        };
        CliError::user(format!("`{name}` is neither a service nor a port")).hint(hint)
    })
}

fn as_text<S: Serializer>(protocol: &Protocol, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(protocol.as_str())
}
