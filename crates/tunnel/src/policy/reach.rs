//! All that a role reaches, told by [`Policy::decide`]: it is asked at every port where its answer may change.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Allowed, Policy, Protocol, RoleId, ServerId, Verdict};

/// Ports of one address that a role reaches, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub protocol: Protocol,
    /// 0 alone for ICMP echo, which has none.
    pub ports: RangeInclusive<u16>,
    pub allowed: Allowed,
}

impl Policy {
    /// The addresses of all servers.
    pub fn server_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.by_address.keys().copied()
    }

    /// What `role` reaches at a server's address, by protocol and port.
    pub fn reach(&self, role: RoleId, address: IpAddr) -> Vec<Reach> {
        let mut reached: Vec<Reach> = Vec::new();
        let Some(&server) = self.by_address.get(&address) else { return reached };
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
            for ports in self.uniform(role, server, protocol) {
                let Verdict::Allow(allowed) = self.decide(role, address, protocol, *ports.start()) else {
                    continue;
                };
                match reached.last_mut().filter(|last| {
                    let follows = last.ports.end().checked_add(1) == Some(*ports.start());
                    follows && (last.protocol, &last.allowed) == (protocol, &allowed)
                }) {
                    Some(last) => last.ports = *last.ports.start()..=*ports.end(),
                    None => reached.push(Reach { protocol, ports, allowed }),
                }
            }
        }
        reached
    }

    /// All ports, in ranges within each of which one verdict holds.
    fn uniform(&self, role: RoleId, server: ServerId, protocol: Protocol) -> Vec<RangeInclusive<u16>> {
        if protocol == Protocol::Icmp {
            return vec![0..=0];
        }
        let grants = self.roles.get(role.0 as usize).and_then(|role| role.grants.get(&server));
        let granted = grants.into_iter().flatten().filter(|grant| grant.protocol == protocol);
        let never = self.never.iter().filter(|entry| entry.protocol == protocol);
        let anyway = self.exposed_anyway.keys().filter(|key| (key.0, key.1) == (server, protocol));
        let ranges = granted.map(|grant| grant.ports.clone());
        let ranges = ranges.chain(never.map(|entry| entry.ports.clone()));
        partition(ranges.chain(anyway.map(|key| key.2..=key.2)))
    }
}

/// All ports, cut where one of `ranges` begins or ends.
pub fn partition(ranges: impl Iterator<Item = RangeInclusive<u16>>) -> Vec<RangeInclusive<u16>> {
    let edges = ranges.flat_map(|range| [Some(*range.start()), range.end().checked_add(1)]);
    let starts: BTreeSet<u16> = edges.flatten().chain([0]).collect();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
    starts.iter().zip(ends).map(|(start, end)| *start..=end).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::policy;
    use super::*;

    #[test]
    fn reach_is_what_decide_allows_of_every_port() {
        let (policy, role) = policy();
        for address in policy.server_addresses() {
            let reached = policy.reach(role, address);
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                for port in 0..=u16::MAX {
                    let told = reached
                        .iter()
                        .find(|reach| reach.protocol == protocol && reach.ports.contains(&port));
                    let verdict = policy.decide(role, address, protocol, port);
                    match verdict {
                        Verdict::Allow(allowed) => assert_eq!(told.unwrap().allowed, allowed),
                        Verdict::Deny(_) => assert_eq!(told, None, "{protocol}/{port}"),
                    }
                }
            }
            let echo = reached.iter().any(|reach| reach.protocol == Protocol::Icmp);
            let allowed = matches!(policy.decide(role, address, Protocol::Icmp, 0), Verdict::Allow(_));
            assert_eq!(echo, allowed);
        }
        assert!(!policy.reach(role, "192.168.10.21".parse().unwrap()).is_empty());
        assert_eq!(policy.reach(role, "192.168.10.99".parse().unwrap()), []);
    }

    #[test]
    fn ranges_that_touch_or_end_with_the_last_port_are_cut_once() {
        let ranges = [443..=443, 444..=u16::MAX, 0..=79];
        let expected = [0..=79, 80..=442, 443..=443, 444..=u16::MAX];
        assert_eq!(partition(ranges.into_iter()), expected);
    }
}
