//! What each role reaches under one policy and not under another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use vmsgate_config::Config;
use vmsgate_tunnel::gateway::foresee::Member;
use vmsgate_tunnel::policy::{Allowed, Policy, Protocol, Reach, partition};

use super::{Change, Effect, RoleDifference};

pub(super) fn compare(
    (in_force, before): (&Config, &Policy),
    (other, after): (&Config, &Policy),
    members: &[Member],
) -> Vec<RoleDifference> {
    let addresses: BTreeSet<IpAddr> = before.server_addresses().chain(after.server_addresses()).collect();
    let names: BTreeSet<&str> = in_force.role_names().chain(other.role_names()).collect();
    let mut roles = Vec::new();
    for name in names {
        let changes = changes(name, before, after, &addresses);
        let requires = |policy: &Policy| Some(policy.requires_post_quantum(policy.role(name)?));
        // A role that came or went says it all by what it reaches.
        let both = requires(before).zip(requires(after));
        let require_post_quantum = both.filter(|(before, after)| before != after).map(|(_, after)| after);
        if changes.is_empty() && require_post_quantum.is_none() {
            continue;
        }
        let with = members.iter().filter(|member| &*member.info.role == name);
        let mut clients: Vec<String> = with.map(|member| member.info.name.to_string()).collect();
        clients.sort();
        roles.push(RoleDifference { role: name.to_owned(), clients, require_post_quantum, changes });
    }
    roles
}

/// Ports of one address for which something changes.
#[derive(Debug)]
struct Changed<'a> {
    effect: Effect,
    protocol: Protocol,
    ports: RangeInclusive<u16>,
    allowed: &'a Allowed,
}

/// What makes changes at several addresses one: server, effect, protocol, first and last port, service, rule.
type Key = (Arc<str>, Effect, Protocol, (u16, u16), Arc<str>, Arc<str>);

fn changes(role: &str, before: &Policy, after: &Policy, addresses: &BTreeSet<IpAddr>) -> Vec<Change> {
    // The addresses of a server mostly share what changes.
    let mut merged: BTreeMap<Key, Vec<IpAddr>> = BTreeMap::new();
    for address in addresses {
        let reach = |policy: &Policy| policy.role(role).map(|role| policy.reach(role, *address));
        let (before, after) = (reach(before).unwrap_or_default(), reach(after).unwrap_or_default());
        for Changed { effect, protocol, ports, allowed } in changed(&before, &after) {
            let (server, service) = (allowed.server.clone(), allowed.service.clone());
            let rule = match effect {
                Effect::TlsOnly => allowed.require_tls.clone().unwrap_or_default(),
                _ => allowed.rule.clone(),
            };
            let key = (server, effect, protocol, ports.into_inner(), service, rule);
            merged.entry(key).or_default().push(*address);
        }
    }
    let told =
        merged.into_iter().map(|((server, effect, protocol, (first, last), service, rule), addresses)| {
            let ports = match protocol {
                Protocol::Icmp => String::new(),
                Protocol::Tcp | Protocol::Udp if first == last => first.to_string(),
                Protocol::Tcp | Protocol::Udp => format!("{first}-{last}"),
            };
            let (server, service, protocol) = (server.to_string(), service.to_string(), protocol.to_string());
            Change { effect, server, service, protocol, ports, addresses, rule: rule.to_string() }
        });
    told.collect()
}

fn changed<'a>(before: &'a [Reach], after: &'a [Reach]) -> Vec<Changed<'a>> {
    let mut found: Vec<Changed> = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
        let ranges = before.iter().chain(after).filter(|reach| reach.protocol == protocol);
        for ports in partition(ranges.map(|reach| reach.ports.clone())) {
            let at = |reach: &'a [Reach]| {
                let covers =
                    |reach: &&Reach| reach.protocol == protocol && reach.ports.contains(ports.start());
                reach.iter().find(covers).map(|reach| &reach.allowed)
            };
            let (effect, allowed) = match (at(before), at(after)) {
                (Some(before), None) => (Effect::Loses, before),
                (None, Some(after)) => (Effect::Gains, after),
                (Some(before), Some(after)) => {
                    match (before.require_tls.is_some(), after.require_tls.is_some()) {
                        (false, true) => (Effect::TlsOnly, after),
                        (true, false) => (Effect::NotTlsOnly, after),
                        _ => continue,
                    }
                }
                (None, None) => continue,
            };
            let same = |last: &&mut Changed| {
                let follows = last.ports.end().checked_add(1) == Some(*ports.start());
                follows && (last.effect, last.protocol, last.allowed) == (effect, protocol, allowed)
            };
            match found.last_mut().filter(same) {
                Some(last) => last.ports = *last.ports.start()..=*ports.end(),
                None => found.push(Changed { effect, protocol, ports, allowed }),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::compare;
    use super::*;

    const FILE: &str = r#"
        [gateway]
        name = "gw-1"
        listen = "0.0.0.0:51820"
        endpoint = "vpn.example.org:51820"
        tunnel = ["10.99.0.0/16"]
        data = "/var/lib/vmsgate"

        [[server]]
        name = "rec01"
        address = ["192.168.10.21", "fd00:10::21"]
        services = ["recording-server", "relay"]

        [service.relay]
        tcp = ["8000-8010"]
    "#;

    fn difference(before: &str, after: &str) -> Vec<RoleDifference> {
        let config = |more: &str| Config::from_str(&format!("{FILE}{more}"), "gateway.toml").unwrap();
        compare(&config(before), &config(after), &[], &[]).roles
    }

    fn told(roles: &[RoleDifference]) -> Vec<String> {
        let line = |change: &Change| {
            let Change { effect, server, protocol, ports, .. } = change;
            assert_eq!(change.addresses.len(), 2, "both addresses of the server: {change:?}");
            format!("{effect:?} {server} {protocol}/{ports}")
        };
        roles.iter().flat_map(|role| &role.changes).map(line).collect()
    }

    #[test]
    fn what_a_role_loses_and_gains_is_told_port_by_port_and_the_rest_is_not() {
        let before = "[role.guard]\nallow = [\"rec01:recording-server\"]\n";
        let after = "[role.guard]\nallow = [\"rec01:relay\"]\nicmp = false\n";
        assert_eq!(difference(before, before), []);
        let roles = difference(before, after);
        let expected = ["Loses rec01 tcp/7563", "Loses rec01 icmp/", "Gains rec01 tcp/8000-8010"];
        assert_eq!(told(&roles), expected, "{roles:?}");
        assert_eq!(roles[0].changes[0].rule, "guard: rec01:recording-server");
    }

    #[test]
    fn a_narrower_range_loses_what_was_cut_off_it() {
        let role = "[role.guard]\nallow = [\"rec01:relay\"]\n";
        let narrow = FILE.replace("8000-8010", "8003-8010");
        let config = |file: &str| Config::from_str(&format!("{file}{role}"), "gateway.toml").unwrap();
        let roles = compare(&config(FILE), &config(&narrow), &[], &[]).roles;
        let guard: Vec<_> = roles.into_iter().filter(|role| role.role == "guard").collect();
        assert_eq!(told(&guard), ["Loses rec01 tcp/8000-8002"]);
    }

    #[test]
    fn a_role_that_is_gone_loses_all_and_stricter_sessions_are_told() {
        let role = "[role.guard]\nallow = [\"rec01:recording-server\"]\n";
        assert_eq!(told(&difference(role, "")), ["Loses rec01 tcp/7563", "Loses rec01 icmp/"]);
        let strict = difference(role, &format!("{role}require-tls = true\nrequire-post-quantum = true\n"));
        assert_eq!(told(&strict), ["TlsOnly rec01 tcp/7563"]);
        assert_eq!(strict[0].require_post_quantum, Some(true));
        assert_eq!(strict[0].changes[0].rule, "role guard: require-tls");
    }
}
