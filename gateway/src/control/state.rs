//! What the control services answer from: a configuration, arranged per role. Built once when a configuration
//! comes into force and then only read; the next one replaces it whole.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;
use vmsgate_config::{
    Config, Permission, PortRange,
    profile::{
        GatewayInfo, Profile, ProfileKeys, ProfilePostQuantum, ProfileServer, ProfileService, SCHEMA_VERSION,
    },
};
use vmsgate_exchange::GATEWAY_ADDRESS;

use super::{
    caller::Caller, facts::Facts, requests::KeyRequests, speed::SpeedLimits, warnings::warnings, zone::Zone,
};

/// Everything that the control services know.
#[derive(Debug)]
pub struct ControlState {
    /// The gateway as profiles describe it; only its clock is filled in per answer.
    gateway: GatewayInfo,
    roles: BTreeMap<String, RoleView>,
    clients: Facts,
    pub(super) key_requests: KeyRequests,
    pub(super) speed: SpeedLimits,
    client_max_age: Option<Duration>,
    pq_interval: Duration,
    /// For a client whose role is not configured (any more): no name exists.
    no_names: Zone,
}

#[derive(Debug)]
struct RoleView {
    require_post_quantum: bool,
    servers: Vec<ProfileServer>,
    zone: Zone,
}

impl ControlState {
    /// `identities`: the gateway's public keys, base64, newest first.
    pub fn new(config: &Config, identities: Vec<String>, clients: Facts, key_requests: KeyRequests) -> Self {
        let gateway = GatewayInfo {
            name: config.gateway.name.clone(),
            server_time: String::new(),
            endpoints: config.gateway.endpoints.iter().map(ToString::to_string).collect(),
            identities,
            addresses: config.gateway.tunnel_addresses(),
            mtu: config.gateway.mtu,
            dns_suffix: config.dns.suffix.clone(),
            contact: config.gateway.contact.clone(),
        };
        let roles = config.roles.values().map(|role| {
            let servers = servers(config, &role.permissions);
            let names = servers.iter().map(|server| (&server.hostnames[..], &server.addresses[..]));
            let zone = Zone::new(names, config.dns.ttl);
            let require_post_quantum = role.require_post_quantum;
            (role.name.clone(), RoleView { require_post_quantum, servers, zone })
        });
        Self {
            gateway,
            roles: roles.collect(),
            clients,
            key_requests,
            speed: SpeedLimits::default(),
            client_max_age: config.keys.client_max_age,
            pq_interval: config.keys.pq_interval,
            no_names: Zone::default(),
        }
    }

    /// The names that a role may look up.
    pub fn zone(&self, role: &str) -> &Zone {
        self.roles.get(role).map_or(&self.no_names, |role| &role.zone)
    }

    /// The caller's profile, unless its role is not configured.
    pub(super) fn profile(&self, caller: &Caller, now: Timestamp) -> Option<Profile> {
        let role = self.roles.get(&caller.role)?;
        let facts = self.clients.of(caller.id);
        let created = facts.keys.iter().find(|(key, _)| *key == caller.key).map(|(_, created)| *created);
        let newest = self.gateway.identities.first().map(String::as_str);
        Some(Profile {
            schema_version: SCHEMA_VERSION,
            client: caller.client.clone(),
            operator: caller.operator.clone(),
            role: caller.role.clone(),
            expires: caller.expires.map(rfc3339),
            addresses: caller.addresses.clone(),
            gateway: GatewayInfo { server_time: rfc3339(now), ..self.gateway.clone() },
            servers: role.servers.clone(),
            keys: created.map(|created| ProfileKeys {
                created: rfc3339(created),
                max_age_seconds: self.client_max_age.map(|age| age.as_secs()),
            }),
            post_quantum: Some(ProfilePostQuantum {
                interval_seconds: self.pq_interval.as_secs(),
                required: role.require_post_quantum,
                in_force: caller.post_quantum,
            }),
            warnings: warnings(caller, &facts, newest, now),
        })
    }

    /// Whether this is one of the gateway's own tunnel addresses.
    pub fn is_own(&self, address: IpAddr) -> bool {
        address == GATEWAY_ADDRESS || self.gateway.addresses.contains(&address)
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
