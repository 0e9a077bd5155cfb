//! What a policy says of records. The verdicts are [`Policy::decide`]'s.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use vmsgate_audit::Tls;
use vmsgate_audit::query::{DenialRow, FlowRow};
use vmsgate_tunnel::policy::{Allowed, DenyReason, Policy, Protocol, Refusal, Verdict};

/// Reasons of denials that no role is the cause of: the policy then in force had nothing against it, or nobody could have.
const NOT_BY_ROLE: [DenyReason; 5] = [
    DenyReason::AuditUnavailable,
    DenyReason::FlowLimit,
    DenyReason::NewFlowLimit,
    DenyReason::Protocol,
    DenyReason::Invitation,
];

/// Stands for the one port of ICMP echo, which has none.
static ECHO: [RangeInclusive<u16>; 1] = [0..=0];

/// Ports that a denial record tells of, which a policy allows.
#[derive(Debug, PartialEq, Eq)]
pub struct AllowedPorts {
    pub ports: RangeInclusive<u16>,
    pub allowed: Allowed,
}

/// Why the policy would have refused a recorded flow, if it would have.
pub fn refusal(policy: &Policy, flow: &FlowRow) -> Option<Refusal> {
    let protocol = protocol(flow.protocol)?;
    let port = flow.destination.port.unwrap_or(0);
    match decide(policy, flow.role.as_str(), flow.destination.address, protocol, port) {
        Verdict::Deny(refusal) => Some(refusal),
        Verdict::Allow(Allowed { require_tls: Some(rule), server, .. }) if flow.tls == Some(Tls::Plain) => {
            Some(Refusal { reason: DenyReason::TlsRequired, server: Some(server), rule, nearest: None })
        }
        Verdict::Allow(_) => None,
    }
}

/// Which of the recorded attempts the policy would have allowed.
pub fn allowed(policy: &Policy, denial: &DenialRow) -> Vec<AllowedPorts> {
    let reason = denial.reason.as_str();
    let by_role = NOT_BY_ROLE.iter().all(|other| other.as_str() != reason);
    let (Some(protocol), Some(role), true) =
        (protocol(denial.protocol), policy.role(denial.role.as_str()), by_role)
    else {
        return Vec::new();
    };
    let address = denial.destination.address;
    let tried = match protocol {
        Protocol::Icmp => &ECHO[..],
        Protocol::Tcp | Protocol::Udp => denial.ports.ranges(),
    };
    let reached = policy.reach(role, address).into_iter().filter(|reach| reach.protocol == protocol);
    let mut found = Vec::new();
    for reach in reached {
        // What was recorded tells what the session was like then.
        let in_clear = reason == DenyReason::TlsRequired.as_str();
        let verdict = Verdict::Allow(reach.allowed);
        let verdict = match reason == DenyReason::PostQuantumRequired.as_str() {
            true => policy.without_post_quantum(role, verdict),
            false => verdict,
        };
        let Verdict::Allow(allowed) = verdict else { continue };
        if in_clear && allowed.require_tls.is_some() {
            continue;
        }
        for range in tried {
            let ports = *reach.ports.start().max(range.start())..=*reach.ports.end().min(range.end());
            if !ports.is_empty() {
                found.push(AllowedPorts { ports, allowed: allowed.clone() });
            }
        }
    }
    found
}

/// What the policy says of a client with this role.
pub fn decide(policy: &Policy, role: &str, address: IpAddr, protocol: Protocol, port: u16) -> Verdict {
    match policy.role(role) {
        Some(role) => policy.decide(role, address, protocol, port),
        None => Verdict::Deny(Refusal {
            reason: DenyReason::UnknownRole,
            server: policy.server_name(address).cloned(),
            rule: format!("there is no role {role}").into(),
            nearest: None,
        }),
    }
}

/// The same protocol, as the tunnel names it; none if it is never forwarded.
pub fn protocol(recorded: vmsgate_audit::Protocol) -> Option<Protocol> {
    match recorded {
        vmsgate_audit::Protocol::Tcp => Some(Protocol::Tcp),
        vmsgate_audit::Protocol::Udp => Some(Protocol::Udp),
        vmsgate_audit::Protocol::Icmp => Some(Protocol::Icmp),
        vmsgate_audit::Protocol::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vmsgate_audit::{Destination, Label, Ports};
    use vmsgate_config::Config;

    use super::*;
    use crate::policy_build::build_policy;

    fn policy(role: &str) -> Policy {
        let file = format!(
            "[gateway]\nname = \"gw-1\"\nlisten = \"0.0.0.0:51820\"\nendpoint = \"vpn.example.org:51820\"\n\
             tunnel = [\"10.99.0.0/16\"]\ndata = \"/d\"\n[[server]]\nname = \"rec01\"\naddress = \"192.168.10.21\"\n\
             services = [\"recording-server\", \"relay\"]\n[service.relay]\ntcp = [\"8000-8010\"]\n\
             [role.guard]\nallow = [\"rec01:relay\"]\n{role}"
        );
        build_policy(&Config::from_str(&file, "gateway.toml").unwrap())
    }

    fn time() -> vmsgate_audit::UtcTime {
        vmsgate_audit::UtcTime::from_unix_ms(1)
    }

    fn destination(port: Option<u16>) -> Destination {
        Destination { server: None, service: None, address: "192.168.10.21".parse().unwrap(), port }
    }

    fn flow(role: &str, port: u16, tls: Option<Tls>) -> FlowRow {
        FlowRow {
            session: uuid::Uuid::nil(),
            flow: 1,
            gateway: Label::new("gw-1"),
            client: Label::new("anna"),
            operator: Label::new("Anna"),
            role: Label::new(role),
            key: serde_json::from_value(json!("0011223344556677")).unwrap(),
            source: "203.0.113.7:4000".parse().unwrap(),
            protocol: vmsgate_audit::Protocol::Tcp,
            tunnel_source: "10.99.0.2:5000".parse::<std::net::SocketAddr>().unwrap().into(),
            destination: destination(Some(port)),
            lan_source: None,
            opened: time(),
            ended: None,
            reason: None,
            tls,
            last_seen: time(),
            traffic: Default::default(),
            policy: None,
        }
    }

    fn denial(reason: DenyReason, ports: &str) -> DenialRow {
        let FlowRow { session, gateway, client, operator, role, key, source, protocol, .. } =
            flow("guard", 1, None);
        DenialRow {
            session,
            gateway,
            client,
            operator,
            role,
            key,
            source,
            protocol,
            tunnel_source: "10.99.0.2".parse().unwrap(),
            destination: destination(None),
            ports: ports.parse::<Ports>().unwrap(),
            count: 1,
            first: time(),
            last: time(),
            reason: vmsgate_audit::Reason::new(reason.as_str()),
            rule: None,
            nearest: None,
            policy: None,
        }
    }

    #[test]
    fn a_recorded_flow_is_refused_for_the_reason_that_the_gateway_would_give() {
        let reason = |policy: &Policy, flow: &FlowRow| refusal(policy, flow).map(|refusal| refusal.reason);
        let lax = policy("");
        assert_eq!(reason(&lax, &flow("guard", 8000, Some(Tls::Plain))), None);
        assert_eq!(reason(&lax, &flow("guard", 7563, None)), Some(DenyReason::NotInRole));
        assert_eq!(reason(&lax, &flow("gone", 8000, None)), Some(DenyReason::UnknownRole));
        let strict = policy("require-tls = true\n");
        assert_eq!(reason(&strict, &flow("guard", 8000, Some(Tls::Plain))), Some(DenyReason::TlsRequired));
        assert_eq!(reason(&strict, &flow("guard", 8000, Some(Tls::Tls))), None);
    }

    #[test]
    fn of_a_scan_the_ports_that_are_open_now_are_told_and_limits_are_nobodys_rule() {
        let ports = |policy: &Policy, denial: &DenialRow| {
            allowed(policy, denial).into_iter().map(|allowed| allowed.ports).collect::<Vec<_>>()
        };
        let lax = policy("");
        let scan = denial(DenyReason::NotInRole, "22,80,7990-8002,8010-9000");
        assert_eq!(ports(&lax, &scan), [8000..=8002, 8010..=8010]);
        assert_eq!(ports(&lax, &denial(DenyReason::FlowLimit, "8000")), []);
        assert_eq!(ports(&lax, &denial(DenyReason::TlsRequired, "8000")), [8000..=8000]);
        assert_eq!(ports(&policy("require-tls = true\n"), &denial(DenyReason::TlsRequired, "8000")), []);
        let weak = denial(DenyReason::PostQuantumRequired, "8000");
        assert_eq!(ports(&lax, &weak), [8000..=8000]);
        assert_eq!(ports(&policy("require-post-quantum = true\n"), &weak), []);
    }
}
