//! What is right: written down a second time, as plainly as it can be.

use std::net::IpAddr;
use std::time::Instant;

use uuid::Uuid;
use vmsgate_tunnel::packet::FiveTuple;
use vmsgate_tunnel::peer::Access;
use vmsgate_tunnel::policy::{Grant, Policy, PolicyBuilder, Protocol};

pub(crate) const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 1));
pub(crate) const SERVERS: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 10, 10)),
    IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 10, 21)),
];
pub(crate) const ROLES: [&str; 2] = ["viewer", "administrator"];

type Rule = (usize, Protocol, u16);
/// By configuration and role: what may be reached. Echo goes wherever anything may.
const RULES: [[&[Rule]; 2]; 2] = [
    [
        &[(1, Protocol::Tcp, 7563), (1, Protocol::Udp, 161)],
        &[(0, Protocol::Tcp, 443), (0, Protocol::Udp, 161)],
    ],
    [
        &[(1, Protocol::Tcp, 7563), (0, Protocol::Udp, 161)],
        &[(0, Protocol::Tcp, 443), (1, Protocol::Tcp, 7563)],
    ],
];
/// Granted or not, nobody reaches it.
pub(crate) const NEVER: Rule = (0, Protocol::Tcp, 3389);

pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) address: IpAddr,
    pub(crate) role: usize,
    pub(crate) access: Access,
    /// In the registry.
    pub(crate) exists: bool,
    /// When a packet of it was let through last.
    pub(crate) passed: Option<Instant>,
}

impl Person {
    pub(crate) fn may_connect(&self, unix: u64) -> bool {
        let valid = match self.access {
            Access::Active { until } => until.is_none_or(|until| unix < until),
            Access::Suspended | Access::Revoked => false,
        };
        self.exists && valid
    }
}

/// Whether `role` may reach it under `configuration`.
pub(crate) fn allows(configuration: usize, role: usize, tuple: &FiveTuple) -> bool {
    let (to, port) = (tuple.destination.ip(), tuple.destination.port());
    if to == GATEWAY {
        return match tuple.protocol {
            Protocol::Tcp => [53, 80].contains(&port),
            Protocol::Udp => port == 53,
            Protocol::Icmp => true,
        };
    }
    let rules = RULES[configuration][role].iter().filter(|(server, _, _)| SERVERS[*server] == to);
    rules.into_iter().any(|(_, protocol, at)| {
        tuple.protocol == Protocol::Icmp || (*protocol, *at) == (tuple.protocol, port)
    })
}

pub(crate) fn policy(configuration: usize) -> Policy {
    let version = format!("v{configuration}");
    let mut builder = PolicyBuilder::new(&version, vec!["10.99.0.0/16".parse().unwrap()], vec![GATEWAY]);
    let servers = SERVERS.map(|address| builder.server(&address.to_string(), &[address]));
    for (name, rules) in ROLES.into_iter().zip(RULES[configuration]) {
        let role = builder.role(name, true);
        for (server, protocol, port) in rules.iter().chain([&NEVER]) {
            // The port that nobody reaches is granted on a server that the role has anyway.
            if (*server, *protocol, *port) == NEVER && !rules.iter().any(|(own, _, _)| *own == *server) {
                continue;
            }
            let (service, rule) = ("service".into(), format!("{server}:{port}").into());
            let (server, ports, protocol) = (servers[*server], *port..=*port, *protocol);
            builder.grant(role, Grant { server, service, rule, protocol, ports, require_tls: None });
        }
    }
    builder.never_expose(NEVER.1, NEVER.2..=NEVER.2, "remote desktop");
    builder.build()
}
