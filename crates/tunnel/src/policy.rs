//! What a role may reach: one pure verdict function, shared by the data path, `vmsgate explain` and the audit log.
//!
//! Deny is the default. A [`Policy`] is built once from a configuration and then only read: replacing it is a
//! swap of the whole value, so no packet ever sees half of a change.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

/// Transport protocol of a flow. ICMP means ICMP in IPv4 and ICMPv6 in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A server of the policy, by its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerId(u32);

/// A role of the policy, by its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoleId(u32);

/// One thing a role may reach: a service of a server on a range of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub server: ServerId,
    /// Service name, as in the catalogue.
    pub service: Arc<str>,
    /// The configuration's words that made this grant, e.g. `rec*:recording-server`.
    pub rule: Arc<str>,
    pub protocol: Protocol,
    pub ports: RangeInclusive<u16>,
    /// The configuration's words that let only TLS pass, e.g. `service recording-server: require-tls`. For TCP.
    pub require_tls: Option<Arc<str>>,
}

/// A verdict on one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow(Allowed),
    Deny(Refusal),
}

/// Why a flow is allowed, and what it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    pub server: Arc<str>,
    pub service: Arc<str>,
    pub rule: Arc<str>,
    /// The words that let only TLS pass, if any do.
    pub require_tls: Option<Arc<str>>,
    /// A control service of the gateway itself, not of the recording network.
    pub control: bool,
}

/// Why a flow is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: DenyReason,
    /// The server that has the destination address, if one has.
    pub server: Option<Arc<str>>,
    /// What decided, in words: the never-expose entry, or the role's lack of a rule.
    pub rule: Arc<str>,
    /// The nearest rule that would have allowed it, e.g. `role management-client: mgmt:log-server`.
    pub nearest: Option<Arc<str>>,
}

/// What decides about an invitation's attempts.
pub(crate) const INVITATION_RULE: &str = "an invitation reaches enrolment only";

/// The kinds of refusal, stable names in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DenyReason {
    /// The destination is no server of the configuration.
    UnknownDestination,
    /// A server, but no rule of the role covers this protocol and port.
    NotInRole,
    /// A port that no remote client may reach, whatever the rules say.
    NeverExposed,
    /// Another client's tunnel address.
    ClientToClient,
    /// A port of the gateway itself other than its control services.
    GatewayPort,
    /// The role no longer exists in the configuration in force.
    UnknownRole,
    /// New flows are refused because the audit log cannot be written.
    AuditUnavailable,
    /// The client or the gateway has as many live flows as it may have.
    FlowLimit,
    /// The client opens more flows per second than it may.
    NewFlowLimit,
    /// A transport protocol that the gateway does not forward.
    Protocol,
    /// Clear text where the service or the role requires TLS.
    TlsRequired,
    /// The role requires an agreed pre-shared key, and the session is under none.
    PostQuantumRequired,
    /// An invitation, which reaches enrolment only.
    Invitation,
}

impl DenyReason {
    pub const ALL: [Self; Self::Invitation as usize + 1] = [
        Self::UnknownDestination,
        Self::NotInRole,
        Self::NeverExposed,
        Self::ClientToClient,
        Self::GatewayPort,
        Self::UnknownRole,
        Self::AuditUnavailable,
        Self::FlowLimit,
        Self::NewFlowLimit,
        Self::Protocol,
        Self::TlsRequired,
        Self::PostQuantumRequired,
        Self::Invitation,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DenyReason::UnknownDestination => "unknown-destination",
            DenyReason::NotInRole => "not-in-role",
            DenyReason::NeverExposed => "never-exposed",
            DenyReason::ClientToClient => "client-to-client",
            DenyReason::GatewayPort => "gateway-port",
            DenyReason::UnknownRole => "unknown-role",
            DenyReason::AuditUnavailable => "audit-unavailable",
            DenyReason::FlowLimit => "flow-limit",
            DenyReason::NewFlowLimit => "new-flow-limit",
            DenyReason::Protocol => "protocol-not-forwarded",
            DenyReason::TlsRequired => "tls-required",
            DenyReason::PostQuantumRequired => "post-quantum-required",
            DenyReason::Invitation => "invitation",
        }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A port that no remote client may reach, with the reason given to people.
#[derive(Debug, Clone)]
struct NeverExpose {
    protocol: Protocol,
    ports: RangeInclusive<u16>,
    name: Arc<str>,
}

#[derive(Debug, Default)]
struct Role {
    name: Arc<str>,
    /// Echo requests to servers of which the role may reach any service.
    icmp_echo: bool,
    require_post_quantum: bool,
    grants: HashMap<ServerId, Vec<Grant>>,
}

/// The rules in force. Built by [`PolicyBuilder`].
#[derive(Debug)]
pub struct Policy {
    version: Arc<str>,
    tunnel: Vec<IpNet>,
    gateway: Vec<IpAddr>,
    servers: Vec<Arc<str>>,
    by_address: HashMap<IpAddr, ServerId>,
    roles: Vec<Role>,
    never: Vec<NeverExpose>,
    exposed_anyway: HashMap<(ServerId, Protocol, u16), ()>,
}

impl Policy {
    /// Names the policy in audit records.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    pub fn role(&self, name: &str) -> Option<RoleId> {
        self.roles.iter().position(|role| &*role.name == name).map(|at| RoleId(at as u32))
    }

    /// The gateway's own addresses inside the tunnel.
    pub fn gateway_addresses(&self) -> &[IpAddr] {
        &self.gateway
    }

    pub fn is_gateway(&self, address: IpAddr) -> bool {
        self.gateway.contains(&address)
    }

    pub fn server_name(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.by_address.get(&address).map(|id| &self.servers[id.0 as usize])
    }

    /// The service that some role reaches at this address and port, whether or not the asking one does.
    pub fn service_at(&self, address: IpAddr, protocol: Protocol, port: u16) -> Option<&Arc<str>> {
        let server = self.by_address.get(&address)?;
        let mut grants = self.roles.iter().filter_map(|role| role.grants.get(server)).flatten();
        grants.find(|grant| grant.covers(protocol, port)).map(|grant| &grant.service)
    }

    /// Decides whether `role` may open a flow to `address` and `port` (0 for ICMP echo).
    pub fn decide(&self, role: RoleId, address: IpAddr, protocol: Protocol, port: u16) -> Verdict {
        let Some(role) = self.roles.get(role.0 as usize) else {
            return self.refuse(DenyReason::UnknownRole, None, "the role is not configured".into(), None);
        };
        if self.is_gateway(address) {
            return self.decide_control(protocol, port);
        }
        if self.tunnel.iter().any(|range| range.contains(&address)) {
            return self.refuse(DenyReason::ClientToClient, None, "clients never reach clients".into(), None);
        }
        let Some(&server) = self.by_address.get(&address) else {
            let rule = "no server has this address".into();
            return self.refuse(DenyReason::UnknownDestination, None, rule, None);
        };
        let allowed = role.grants.get(&server).and_then(|grants| matching(role, grants, protocol, port));
        if let Some(entry) = self.never_exposed(server, protocol, port) {
            let rule = format!("never-expose: {}", entry.name).into();
            let overridden = allowed.map(|grant| format!("role {}: {}", role.name, grant.rule).into());
            return self.refuse(DenyReason::NeverExposed, Some(server), rule, overridden);
        }
        match allowed {
            Some(grant) => Verdict::Allow(Allowed {
                server: self.servers[server.0 as usize].clone(),
                service: if protocol == Protocol::Icmp { "icmp-echo".into() } else { grant.service.clone() },
                rule: format!("{}: {}", role.name, grant.rule).into(),
                require_tls: role.require_tls(server, protocol, port),
                control: false,
            }),
            None => {
                let rule = format!("role {} has no rule for it", role.name).into();
                let nearest = self.nearest(role, server, protocol, port);
                self.refuse(DenyReason::NotInRole, Some(server), rule, nearest)
            }
        }
    }

    /// Whether the role reaches servers only in sessions under an agreed pre-shared key.
    pub fn requires_post_quantum(&self, role: RoleId) -> bool {
        self.roles.get(role.0 as usize).is_some_and(|role| role.require_post_quantum)
    }

    /// What [`Policy::decide`] means for a session under no agreed pre-shared key.
    pub fn without_post_quantum(&self, role: RoleId, verdict: Verdict) -> Verdict {
        match (verdict, self.roles.get(role.0 as usize)) {
            (Verdict::Allow(allowed), Some(role)) if role.require_post_quantum && !allowed.control => {
                Verdict::Deny(Refusal {
                    reason: DenyReason::PostQuantumRequired,
                    server: Some(allowed.server),
                    rule: format!("role {}: require-post-quantum", role.name).into(),
                    nearest: Some(allowed.rule),
                })
            }
            (verdict, _) => verdict,
        }
    }

    /// Decides for an invitation, which has no role: it may ask to be enrolled.
    pub fn decide_invitation(&self, address: IpAddr, protocol: Protocol, port: u16) -> Verdict {
        if self.is_gateway(address) && (protocol, port) == (Protocol::Tcp, 80) {
            return self.decide_control(protocol, port);
        }
        let server = self.by_address.get(&address).copied();
        self.refuse(DenyReason::Invitation, server, INVITATION_RULE.into(), None)
    }

    /// The gateway's control services: DNS, the profile service, and echo.
    fn decide_control(&self, protocol: Protocol, port: u16) -> Verdict {
        let service = match (protocol, port) {
            (Protocol::Udp | Protocol::Tcp, 53) => "dns",
            (Protocol::Tcp, 80) => "control",
            (Protocol::Icmp, _) => "icmp-echo",
            _ => {
                let rule = "the gateway serves tcp/80 and port 53 only".into();
                return self.refuse(DenyReason::GatewayPort, None, rule, None);
            }
        };
        Verdict::Allow(Allowed {
            server: "gateway".into(),
            service: service.into(),
            rule: "control services".into(),
            require_tls: None,
            control: true,
        })
    }

    fn never_exposed(&self, server: ServerId, protocol: Protocol, port: u16) -> Option<&NeverExpose> {
        if self.exposed_anyway.contains_key(&(server, protocol, port)) {
            return None;
        }
        self.never.iter().find(|entry| entry.protocol == protocol && entry.ports.contains(&port))
    }

    /// A rule of another role that allows it, or the role's own rule on that server with the closest port.
    fn nearest(&self, role: &Role, server: ServerId, protocol: Protocol, port: u16) -> Option<Arc<str>> {
        let other = self.roles.iter().filter(|other| other.name != role.name).find_map(|other| {
            let grant = matching(other, other.grants.get(&server)?, protocol, port)?;
            Some(format!("role {}: {}", other.name, grant.rule))
        });
        let own = || {
            let grants = role.grants.get(&server)?.iter().filter(|grant| grant.protocol == protocol);
            let grant = grants.min_by_key(|grant| distance(&grant.ports, port))?;
            let (from, to) = (grant.ports.start(), grant.ports.end());
            let ports = if from == to { from.to_string() } else { format!("{from}-{to}") };
            Some(format!("role {}: {} ({protocol}/{ports})", role.name, grant.rule))
        };
        other.or_else(own).map(Into::into)
    }

    fn refuse(
        &self,
        reason: DenyReason,
        server: Option<ServerId>,
        rule: Arc<str>,
        nearest: Option<Arc<str>>,
    ) -> Verdict {
        let server = server.map(|id| self.servers[id.0 as usize].clone());
        Verdict::Deny(Refusal { reason, server, rule, nearest })
    }
}

impl Role {
    /// Services may share a port: what one of them requires holds for all.
    fn require_tls(&self, server: ServerId, protocol: Protocol, port: u16) -> Option<Arc<str>> {
        let mut grants = self.grants.get(&server)?.iter().filter(|grant| grant.covers(protocol, port));
        grants.find_map(|grant| grant.require_tls.clone()).filter(|_| protocol == Protocol::Tcp)
    }
}

impl Grant {
    fn covers(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol && self.ports.contains(&port)
    }
}

fn matching<'a>(role: &Role, grants: &'a [Grant], protocol: Protocol, port: u16) -> Option<&'a Grant> {
    if protocol == Protocol::Icmp {
        return grants.first().filter(|_| role.icmp_echo);
    }
    grants.iter().find(|grant| grant.covers(protocol, port))
}

fn distance(ports: &RangeInclusive<u16>, port: u16) -> u16 {
    if port < *ports.start() { ports.start() - port } else { port.saturating_sub(*ports.end()) }
}

/// Assembles a [`Policy`].
#[derive(Debug)]
pub struct PolicyBuilder {
    policy: Policy,
}

impl PolicyBuilder {
    /// `tunnel`: the ranges that clients' addresses come from; `gateway`: the gateway's own addresses in them.
    pub fn new(version: &str, tunnel: Vec<IpNet>, gateway: Vec<IpAddr>) -> Self {
        PolicyBuilder {
            policy: Policy {
                version: version.into(),
                tunnel,
                gateway,
                servers: Vec::new(),
                by_address: HashMap::new(),
                roles: Vec::new(),
                never: Vec::new(),
                exposed_anyway: HashMap::new(),
            },
        }
    }

    pub fn server(&mut self, name: &str, addresses: &[IpAddr]) -> ServerId {
        let id = ServerId(self.policy.servers.len() as u32);
        self.policy.servers.push(name.into());
        self.policy.by_address.extend(addresses.iter().map(|address| (*address, id)));
        id
    }

    pub fn role(&mut self, name: &str, icmp_echo: bool) -> RoleId {
        let id = RoleId(self.policy.roles.len() as u32);
        self.policy.roles.push(Role { name: name.into(), icmp_echo, ..Role::default() });
        id
    }

    /// Lets a role made by this builder reach servers only in sessions under an agreed pre-shared key.
    pub fn require_post_quantum(&mut self, role: RoleId) {
        if let Some(role) = self.policy.roles.get_mut(role.0 as usize) {
            role.require_post_quantum = true;
        }
    }

    /// Grants something to a role made by this builder.
    pub fn grant(&mut self, role: RoleId, grant: Grant) {
        if let Some(role) = self.policy.roles.get_mut(role.0 as usize) {
            role.grants.entry(grant.server).or_default().push(grant);
        }
    }

    pub fn never_expose(&mut self, protocol: Protocol, ports: RangeInclusive<u16>, name: &str) {
        self.policy.never.push(NeverExpose { protocol, ports, name: name.into() });
    }

    /// Lifts the never-expose list for one port of one server.
    pub fn expose_anyway(&mut self, server: ServerId, protocol: Protocol, port: u16) {
        self.policy.exposed_anyway.insert((server, protocol, port), ());
    }

    pub fn build(self) -> Policy {
        self.policy
    }
}

mod reach;
#[cfg(test)]
mod tests;

pub use reach::{Reach, partition};
