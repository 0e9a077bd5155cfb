//! The sections of plain settings: `[keys]`, `[proxy]`, `[limits]`, `[audit]`, `[admin]`, `[dns]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::address::IpRange;
use crate::file::diagnostics::{At, Diagnostics};
use crate::file::keys;
use crate::file::schema::Key;
use crate::file::section::SectionValues;
use crate::names::is_host_name;
use crate::resolved::{Admin, Audit, Bandwidth, Dns, Durability, Keys, Limits, OnFailure, Proxy, Retention};

/// `[proxy]` with the places of its addresses.
#[derive(Debug)]
pub(super) struct WrittenProxy {
    pub(super) source_pool: Vec<At<IpRange>>,
    settings: Proxy,
}

pub(super) fn proxy(section: &SectionValues, out: &mut Diagnostics) -> WrittenProxy {
    use keys::proxy as key;
    let source_pool = section.parsed(&key::SOURCE_POOL, str::parse::<IpRange>, out);
    let size = source_pool.iter().fold(0_u128, |size, range| size.saturating_add(range.value.size()));
    if key::SOURCE_POOL.range.is_some_and(|(_, most)| size > u128::from(most)) {
        let place = section.place_of(&key::SOURCE_POOL);
        out.error(
            &place,
            "`source-pool` has too many addresses",
            "at most 65536: every one must be this host's own",
        );
    }
    let errors = out.errors();
    let client_memory = section.size(&key::CLIENT_MEMORY, out);
    let total_memory = section.size(&key::TOTAL_MEMORY, out);
    if client_memory > total_memory && out.errors() == errors {
        out.error(
            &section.place_of(&key::CLIENT_MEMORY),
            "`client-memory` is larger than `total-memory`",
            "raise `total-memory` or lower `client-memory`",
        );
    }
    let settings = Proxy {
        connect_timeout: section.duration(&key::CONNECT_TIMEOUT, out),
        source_pool: Vec::new(),
        idle_tcp_established: section.duration(&key::IDLE_TCP_ESTABLISHED, out),
        idle_tcp_half_open: section.duration(&key::IDLE_TCP_HALF_OPEN, out),
        idle_udp: section.duration(&key::IDLE_UDP, out),
        idle_icmp: section.duration(&key::IDLE_ICMP, out),
        client_memory,
        total_memory,
    };
    WrittenProxy { source_pool, settings }
}

impl WrittenProxy {
    pub(super) fn resolve(self) -> Proxy {
        let source_pool = self.source_pool.into_iter().map(|range| range.value).collect();
        Proxy { source_pool, ..self.settings }
    }
}

pub(super) fn keys(section: &SectionValues, out: &mut Diagnostics) -> Keys {
    use keys::keys as key;
    Keys {
        client_max_age: section.optional_duration(&key::CLIENT_MAX_AGE, out),
        pq_interval: section.duration(&key::PQ_INTERVAL, out),
    }
}

pub(super) fn limits(section: &SectionValues, out: &mut Diagnostics) -> Limits {
    use keys::limits as key;
    let errors = out.errors();
    let limits = Limits {
        flows_per_client: section.count(&key::FLOWS_PER_CLIENT, out),
        flows_total: section.count(&key::FLOWS_TOTAL, out),
        new_flows_per_second: section.count(&key::NEW_FLOWS_PER_SECOND, out),
        bandwidth: Bandwidth {
            up: section.optional_rate(&key::BANDWIDTH_UP, out),
            down: section.optional_rate(&key::BANDWIDTH_DOWN, out),
        },
        handshakes_per_source: section.count(&key::HANDSHAKES_PER_SOURCE, out),
        handshakes_total: section.count(&key::HANDSHAKES_TOTAL, out),
    };
    if limits.flows_per_client > limits.flows_total && out.errors() == errors {
        out.error(
            &section.place_of(&key::FLOWS_PER_CLIENT),
            "`flows-per-client` is larger than `flows-total`",
            "raise `flows-total` or lower `flows-per-client`",
        );
    }
    limits
}

pub(super) fn audit(section: &SectionValues, out: &mut Diagnostics) -> Audit {
    use keys::audit as key;
    let durability = [("before-forward", Durability::BeforeForward), ("200ms", Durability::Soon)];
    let on_failure = [("refuse", OnFailure::Refuse), ("continue", OnFailure::Continue)];
    Audit {
        queue: section.count(&key::QUEUE, out),
        durability: section.choice(&key::DURABILITY, durability, out).unwrap_or(Durability::BeforeForward),
        on_failure: section.choice(&key::ON_FAILURE, on_failure, out).unwrap_or(OnFailure::Refuse),
        failure_grace: section.duration(&key::FAILURE_GRACE, out),
        retention: Retention {
            sessions: retention(section, &key::RETENTION_SESSIONS, out),
            flows: retention(section, &key::RETENTION_FLOWS, out),
            denials: retention(section, &key::RETENTION_DENIALS, out),
            handshakes: retention(section, &key::RETENTION_HANDSHAKES, out),
            gateway: retention(section, &key::RETENTION_GATEWAY, out),
            admin: retention(section, &key::RETENTION_ADMIN, out),
        },
    }
}

/// None is for ever. Less than a day would empty the log; somebody who writes `180m` means something else.
fn retention(section: &SectionValues, key: &Key, out: &mut Diagnostics) -> Option<Duration> {
    let kept = section.duration(key, out);
    if !kept.is_zero() && kept < Duration::from_secs(86_400) {
        out.error(
            &section.place_of(key),
            format!("`{}` is shorter than a day", key.name),
            "give days, as in `180d`, or `0s` to keep these records for ever",
        );
    }
    (!kept.is_zero()).then_some(kept)
}

pub(super) fn admin(section: &SectionValues, out: &mut Diagnostics) -> Admin {
    let key = &keys::admin::LISTEN;
    let listen = section.parsed(key, socket_address, out).into_iter().next();
    if let Some(listen) = listen.as_ref().filter(|listen| !listen.value.ip().is_loopback()) {
        out.warning(
            &listen.place,
            format!(
                "`{}` is not a loopback address: anyone who reaches it sees the gateway's health",
                listen.value
            ),
            "use 127.0.0.1:9586, or make sure that only a management network reaches it",
        );
    }
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Admin { listen: listen.map_or(nowhere, |listen| listen.value) }
}

pub(super) fn dns(section: &SectionValues, out: &mut Diagnostics) -> Dns {
    use keys::dns as key;
    let suffix = section.text(&key::SUFFIX, out).map(|suffix| {
        let name = suffix.value.trim_matches('.').to_ascii_lowercase();
        if !is_host_name(&name) {
            out.error(
                &suffix.place,
                format!("`{}` is not a domain name", suffix.value),
                "write it like `vms.local`",
            );
        }
        name
    });
    Dns { suffix, ttl: section.duration(&key::TTL, out) }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not of the form ADDRESS:PORT"))
}
