//! From a configuration file to what the packet loop is told.

use std::net::IpAddr;
use std::sync::Arc;

use vmsgate_config::address::IpRange;
use vmsgate_config::{Config, OnDenied, Role, format_rate};
use vmsgate_exchange::refusal::{self, Reason, Refusal};
use vmsgate_keys::Identity;
use vmsgate_netio::WANTED_BUFFER_BYTES;
use vmsgate_tunnel::bandwidth::{Bandwidth, Bandwidths, Limit};
use vmsgate_tunnel::flow::FlowLimits;
use vmsgate_tunnel::gateway::{LastNotices, Settings};
use vmsgate_tunnel::guard::HandshakeLimits;
use vmsgate_tunnel::netstack::{MemoryLimits, StackConfig};

use crate::control::ControlState;
use crate::control::facts::Facts;
use crate::control::requests::KeyRequests;
use crate::forward::proxy::{ProxySettings, SourcePool};
use crate::policy_build::build_policy;
use crate::worker::Configuration;

/// More LAN addresses than any site has operators; a larger range is cut here.
const MAX_SOURCES: usize = 65_536;

/// The limits that hold for all clients together are shared out among the workers.
pub fn build(
    config: &Config,
    identities: &[Identity],
    facts: &Facts,
    key_requests: &KeyRequests,
    workers: u8,
) -> Configuration {
    let share = |limit: u32| limit.div_ceil(workers.max(1).into());
    Configuration {
        settings: Settings {
            policy: build_policy(config).into(),
            flows: FlowLimits {
                tcp_established: config.proxy.idle_tcp_established,
                tcp_transitory: config.proxy.idle_tcp_half_open,
                udp: config.proxy.idle_udp,
                icmp: config.proxy.idle_icmp,
                per_client: config.limits.flows_per_client as usize,
                total: share(config.limits.flows_total) as usize,
                new_per_second: config.limits.new_flows_per_second,
            },
            handshakes: HandshakeLimits {
                per_source: config.limits.handshakes_per_source,
                total: share(config.limits.handshakes_total),
            },
            bandwidths: bandwidths(config),
            answer_refused: config.gateway.on_denied == OnDenied::Reject,
            mtu: config.gateway.mtu,
            last_notices: last_notices(config),
        },
        proxy: ProxySettings {
            connect_timeout: config.proxy.connect_timeout,
            sources: SourcePool::new(sources(&config.proxy.source_pool)),
            tunnel: config.gateway.tunnel.clone(),
        },
        control: control(config, identities, facts, key_requests),
        hash: config.hash.into(),
    }
}

/// What each client may use, with the words of the file that say so.
fn bandwidths(config: &Config) -> Bandwidths {
    let limit = |key: &str, own: Option<(&str, u64)>, default: Option<u64>| {
        let (place, bits) = match own {
            Some((role, bits)) => (format!("role {role}"), bits),
            None => ("limits".to_owned(), default?),
        };
        let rule = format!("{place}: {key} = {}", format_rate(bits)).into();
        // The largest that may be written is 10 Gbit/s.
        Some(Limit { bytes_per_second: u32::try_from(bits / 8).unwrap_or(u32::MAX), rule })
    };
    let default = config.limits.bandwidth;
    let bandwidth = |role: Option<&Role>| {
        let own = |bits: Option<u64>| Some((role?.name.as_str(), bits?));
        let (up, down) = role.map_or((None, None), |role| (role.bandwidth.up, role.bandwidth.down));
        Bandwidth {
            up: limit("bandwidth-up", own(up), default.up),
            down: limit("bandwidth-down", own(down), default.down),
        }
    };
    let roles = config.roles.values().map(|role| (role.name.as_str().into(), bandwidth(Some(role))));
    Bandwidths { roles: roles.collect(), others: bandwidth(None) }
}

/// What a client that is shut out hears last.
fn last_notices(config: &Config) -> LastNotices {
    let contact = config.gateway.contact.as_deref();
    let text = |reason| Refusal::new(reason, contact).to_bytes().into();
    LastNotices {
        from: config.gateway.tunnel_addresses().into(),
        port: refusal::PORT,
        revoked: text(Reason::Revoked),
        suspended: text(Reason::Suspended),
        expired: text(Reason::Expired),
    }
}

/// `identities`: those that answer, the newest last.
pub fn control(
    config: &Config,
    identities: &[Identity],
    facts: &Facts,
    key_requests: &KeyRequests,
) -> Arc<ControlState> {
    let newest_first = identities.iter().rev().map(|identity| identity.public_key.to_string()).collect();
    Arc::new(ControlState::new(config, newest_first, facts.clone(), key_requests.clone()))
}

pub fn stack(config: &Config, workers: u8) -> StackConfig {
    let bytes = |configured: u64| usize::try_from(configured).unwrap_or(usize::MAX);
    StackConfig {
        mtu: config.gateway.mtu,
        memory: MemoryLimits {
            per_owner_bytes: bytes(config.proxy.client_memory),
            total_bytes: bytes(config.proxy.total_memory) / usize::from(workers.max(1)),
        },
    }
}

/// A gateway that cannot buffer a burst loses datagrams of everybody.
pub fn warn_about_buffers(granted: &[usize]) {
    if let Some(granted) = granted.iter().min().filter(|granted| **granted < WANTED_BUFFER_BYTES) {
        tracing::warn!(
            granted,
            wanted = WANTED_BUFFER_BYTES,
            "the system grants small UDP buffers; set the sysctls net.core.rmem_max and net.core.wmem_max higher"
        );
    }
}

/// The keys whose changed values wait for a restart.
pub fn waiting_for_restart(old: &Config, new: &Config) -> impl Iterator<Item = &'static str> {
    let waits = [
        ("gateway.name", old.gateway.name != new.gateway.name),
        ("gateway.listen", old.gateway.listen != new.gateway.listen),
        ("gateway.data", old.gateway.data != new.gateway.data),
        ("gateway.egress", old.gateway.egress != new.gateway.egress),
        ("gateway.workers", old.gateway.workers != new.gateway.workers),
        ("gateway.mtu", old.gateway.mtu != new.gateway.mtu),
        ("proxy.client-memory", old.proxy.client_memory != new.proxy.client_memory),
        ("proxy.total-memory", old.proxy.total_memory != new.proxy.total_memory),
        ("audit.queue", old.audit.queue != new.audit.queue),
        ("audit.durability", old.audit.durability != new.audit.durability),
        ("audit.on-failure", old.audit.on_failure != new.audit.on_failure),
        ("audit.failure-grace", old.audit.failure_grace != new.audit.failure_grace),
        ("admin.listen", old.admin.listen != new.admin.listen),
    ];
    waits.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key)
}

fn sources(pool: &[IpRange]) -> impl Iterator<Item = IpAddr> + '_ {
    let addresses = |range: &IpRange| {
        let range = *range;
        (0..range.size()).map_while(move |index| range.nth(index))
    };
    pool.iter().flat_map(addresses).take(MAX_SOURCES)
}
