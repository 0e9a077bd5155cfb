//! The rules that open what was used, and as little else as services allow.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use vmsgate_config::{Config, Server};
use vmsgate_tunnel::policy::Protocol;

use crate::policy_build::protocol;

/// A destination that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used {
    pub address: IpAddr,
    pub protocol: Protocol,
    /// 0 for ICMP echo, which has none.
    pub port: u16,
}

impl fmt::Display for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Used { address, protocol, port } = self;
        match protocol {
            Protocol::Icmp => write!(f, "icmp echo to {address}"),
            Protocol::Tcp | Protocol::Udp => write!(f, "{protocol}/{port} on {address}"),
        }
    }
}

type Ports = BTreeSet<(Protocol, u16)>;

/// Rules `SERVER:SERVICE`, by server. What no service of a server has is left open.
pub fn smallest_rules(config: &Config, used: &[Used]) -> Vec<String> {
    let mut rules = Vec::new();
    for server in &config.servers {
        let here = used.iter().filter(|used| server.addresses.contains(&used.address));
        let ports: Ports = here.clone().map(|used| (used.protocol, used.port)).collect();
        let mut services = smallest_services(config, server, &ports);
        if !ports.is_empty() && ports.iter().all(|(protocol, _)| *protocol == Protocol::Icmp) {
            // An echo alone: it is allowed to servers of which the role reaches anything.
            services.extend(
                candidates(config, server).min_by_key(|(_, ports)| ports.len()).map(|(name, _)| name),
            );
        }
        rules.extend(services.iter().map(|service| format!("{}:{service}", server.name)));
    }
    rules
}

/// Services of the server that together have the ports: those first that open the fewest others.
fn smallest_services<'a>(config: &'a Config, server: &'a Server, used: &Ports) -> Vec<&'a str> {
    let mut chosen: Vec<(&str, Ports)> = Vec::new();
    let mut open: Ports = used.clone();
    loop {
        let left = |ports: &Ports| ports.intersection(&open).count();
        let best =
            candidates(config, server).filter(|(_, ports)| left(ports) > 0).min_by_key(|(name, ports)| {
                let excess = ports.difference(used).count();
                (excess, usize::MAX - left(ports), *name)
            });
        let Some((name, ports)) = best else { break };
        open = open.difference(&ports).copied().collect();
        chosen.push((name, ports));
    }
    // A later one may have made an earlier one needless.
    for at in (0..chosen.len()).rev() {
        let others = || chosen.iter().enumerate().filter(|(other, _)| *other != at);
        let has = |port: &(Protocol, u16)| others().any(|(_, (_, ports))| ports.contains(port));
        let needless = chosen.get(at).is_some_and(|(_, ports)| ports.intersection(used).all(has));
        if needless {
            chosen.remove(at);
        }
    }
    chosen.sort();
    chosen.into_iter().map(|(name, _)| name).collect()
}

fn candidates<'a>(config: &'a Config, server: &'a Server) -> impl Iterator<Item = (&'a str, Ports)> {
    server.services.iter().filter_map(|name| {
        let service = config.services.get(name)?;
        let ports = service.ports.iter().flat_map(|ports| {
            (ports.ports.first..=ports.ports.last).map(|port| (protocol(ports.protocol), port))
        });
        Some((name.as_str(), ports.collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(services: &str, ports: &[u16]) -> Vec<String> {
        let file = format!(
            "[gateway]\nname = \"gw-1\"\nlisten = \"0.0.0.0:51820\"\nendpoint = \"vpn.example.org:51820\"\n\
             tunnel = [\"10.99.0.0/16\"]\ndata = \"/d\"\n[[server]]\nname = \"a\"\naddress = \"192.168.10.21\"\n\
             services = [{services}]\n[service.wide]\ntcp = [\"8000-8010\"]\n[service.left]\ntcp = [8000, 8001]\n\
             [service.right]\ntcp = [8001, 8002]\n[service.one]\ntcp = [8001]\n"
        );
        let config = Config::from_str(&file, "gateway.toml").unwrap();
        let address = "192.168.10.21".parse().unwrap();
        let used: Vec<Used> =
            ports.iter().map(|port| Used { address, protocol: Protocol::Tcp, port: *port }).collect();
        smallest_rules(&config, &used)
    }

    #[test]
    fn the_services_that_open_the_fewest_other_ports_are_chosen() {
        let all = "\"wide\", \"left\", \"right\", \"one\"";
        assert_eq!(rules(all, &[8001]), ["a:one"]);
        assert_eq!(rules(all, &[8000, 8001]), ["a:left"]);
        assert_eq!(rules(all, &[8000, 8001, 8002]), ["a:left", "a:right"]);
        assert_eq!(rules(all, &[8005]), ["a:wide"]);
        assert_eq!(rules("\"wide\"", &[8000]), ["a:wide"]);
        assert_eq!(rules(all, &[9999]), Vec::<String>::new());
        assert_eq!(rules(all, &[]), Vec::<String>::new());
    }
}
