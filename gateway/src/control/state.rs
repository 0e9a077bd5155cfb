//! What the control services answer from: a configuration, arranged per role. Built once when a configuration
//! comes into force and then only read; the next one replaces it whole.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use jiff::Timestamp;
use vmsgate_config::{
    Config, Permission, PortRange,
    profile::{GatewayInfo, Profile, ProfileServer, ProfileService, SCHEMA_VERSION},
};

use super::zone::Zone;

/// The client behind a connection, known from the tunnel address that it owns.
#[derive(Debug, Clone)]
pub struct Caller {
    pub client: String,
    pub operator: String,
    pub role: String,
    pub expires: Option<Timestamp>,
    pub addresses: Vec<IpNet>,
}

/// Everything that the control services know.
#[derive(Debug)]
pub struct ControlState {
    /// The gateway as profiles describe it; only its clock is filled in per answer.
    gateway: GatewayInfo,
    roles: BTreeMap<String, RoleView>,
    /// For a client whose role is not configured (any more): no name exists.
    no_names: Zone,
}

#[derive(Debug)]
struct RoleView {
    servers: Vec<ProfileServer>,
    zone: Zone,
}

impl ControlState {
    /// `identities`: the gateway's public keys, base64, newest first.
    pub fn new(config: &Config, identities: Vec<String>) -> Self {
        let gateway = GatewayInfo {
            name: config.gateway.name.clone(),
            server_time: String::new(),
            endpoints: config.gateway.endpoints.iter().map(ToString::to_string).collect(),
            identities,
            addresses: config.gateway.tunnel_addresses(),
            mtu: config.gateway.mtu,
            dns_suffix: config.dns.suffix.clone(),
        };
        let roles = config.roles.values().map(|role| {
            let servers = servers(config, &role.permissions);
            let names = servers.iter().map(|server| (&server.hostnames[..], &server.addresses[..]));
            let zone = Zone::new(names, config.dns.ttl);
            (role.name.clone(), RoleView { servers, zone })
        });
        Self { gateway, roles: roles.collect(), no_names: Zone::default() }
    }

    /// The names that a role may look up.
    pub fn zone(&self, role: &str) -> &Zone {
        self.roles.get(role).map_or(&self.no_names, |role| &role.zone)
    }

    /// The caller's profile, unless its role is not configured.
    pub(super) fn profile(&self, caller: Caller, now: Timestamp) -> Option<Profile> {
        let role = self.roles.get(&caller.role)?;
        Some(Profile {
            schema_version: SCHEMA_VERSION,
            client: caller.client,
            operator: caller.operator,
            role: caller.role,
            expires: caller.expires.map(rfc3339),
            addresses: caller.addresses,
            gateway: GatewayInfo { server_time: rfc3339(now), ..self.gateway.clone() },
            servers: role.servers.clone(),
        })
    }

    /// The gateway's own tunnel addresses.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.gateway.addresses
    }
}

/// Always three digits of a second, so that texts sort as their times do.
fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// The servers on which the role may reach something, in the order of the configuration.
fn servers(config: &Config, permissions: &[Permission]) -> Vec<ProfileServer> {
    let servers = config.servers.iter().map(|server| ProfileServer {
        name: server.name.clone(),
        hostnames: server.names.clone(),
        addresses: server.addresses.clone(),
        services: services(permissions.iter().filter(|permission| permission.server == server.name)),
    });
    servers.filter(|server| !server.services.is_empty()).collect()
}

/// One entry per service and protocol, with all its ports.
fn services<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Vec<ProfileService> {
    let mut services: Vec<ProfileService> = Vec::new();
    for permission in permissions {
        let known = services
            .iter_mut()
            .find(|known| known.name == permission.service && known.protocol == permission.protocol);
        match known {
            Some(known) => add_ports(&mut known.ports, permission.ports),
            None => services.push(ProfileService {
                name: permission.service.clone(),
                protocol: permission.protocol,
                ports: vec![permission.ports],
            }),
        }
    }
    services
}

fn add_ports(ports: &mut Vec<PortRange>, range: PortRange) {
    if !ports.contains(&range) {
        ports.push(range);
    }
}
