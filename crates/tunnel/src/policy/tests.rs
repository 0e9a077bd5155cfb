use super::*;

pub(super) fn policy() -> (Policy, RoleId) {
    let mut builder =
        PolicyBuilder::new("v1", vec!["10.99.0.0/16".parse().unwrap()], vec!["10.99.0.1".parse().unwrap()]);
    let mgmt = builder.server("mgmt", &["192.168.10.10".parse().unwrap()]);
    let rec = builder.server("rec01", &["192.168.10.21".parse().unwrap(), "fd00:10::21".parse().unwrap()]);
    let operator = builder.role("smart-client", true);
    let admin = builder.role("management-client", false);
    let grant = |server, service: &str, protocol, port: u16| Grant {
        server,
        service: service.into(),
        rule: format!("*:{service}").into(),
        protocol,
        ports: port..=port,
        require_tls: None,
    };
    builder.grant(operator, grant(mgmt, "management-server", Protocol::Tcp, 443));
    builder.grant(operator, grant(rec, "recording-server", Protocol::Tcp, 7563));
    builder.grant(operator, grant(mgmt, "sql", Protocol::Tcp, 1433));
    builder.grant(admin, grant(mgmt, "log-server", Protocol::Tcp, 22337));
    builder.never_expose(Protocol::Tcp, 1433..=1434, "SQL Server");
    builder.never_expose(Protocol::Tcp, 3389..=3389, "Remote Desktop");
    let policy = builder.build();
    let role = policy.role("smart-client").unwrap();
    (policy, role)
}

fn reason(verdict: Verdict) -> DenyReason {
    match verdict {
        Verdict::Deny(refusal) => refusal.reason,
        Verdict::Allow(allowed) => panic!("allowed by {}", allowed.rule),
    }
}

#[test]
fn a_granted_port_is_allowed_on_every_address_of_the_server() {
    let (policy, role) = policy();
    for address in ["192.168.10.21", "fd00:10::21"] {
        let verdict = policy.decide(role, address.parse().unwrap(), Protocol::Tcp, 7563);
        assert!(matches!(verdict, Verdict::Allow(allowed) if &*allowed.service == "recording-server"));
    }
}

#[test]
fn everything_without_a_rule_is_refused_with_its_own_reason() {
    let (policy, role) = policy();
    let decide =
        |address: &str, protocol, port| reason(policy.decide(role, address.parse().unwrap(), protocol, port));
    assert_eq!(decide("192.168.10.21", Protocol::Tcp, 7564), DenyReason::NotInRole);
    assert_eq!(decide("192.168.10.21", Protocol::Udp, 7563), DenyReason::NotInRole);
    assert_eq!(decide("192.168.10.99", Protocol::Tcp, 443), DenyReason::UnknownDestination);
    assert_eq!(decide("10.99.0.7", Protocol::Tcp, 443), DenyReason::ClientToClient);
    assert_eq!(decide("10.99.0.1", Protocol::Tcp, 22), DenyReason::GatewayPort);
    assert_eq!(decide("8.8.8.8", Protocol::Udp, 53), DenyReason::UnknownDestination);
}

#[test]
fn the_never_expose_list_wins_over_a_grant() {
    let (policy, role) = policy();
    let verdict = policy.decide(role, "192.168.10.10".parse().unwrap(), Protocol::Tcp, 1433);
    assert_eq!(reason(verdict), DenyReason::NeverExposed);
}

#[test]
fn a_refusal_names_the_nearest_rule() {
    let (policy, role) = policy();
    let Verdict::Deny(refusal) = policy.decide(role, "192.168.10.10".parse().unwrap(), Protocol::Tcp, 22337)
    else {
        panic!("allowed");
    };
    assert_eq!(refusal.nearest.as_deref(), Some("role management-client: *:log-server"));
}

#[test]
fn echo_needs_the_roles_consent_and_a_reachable_server() {
    let (policy, role) = policy();
    let rec = "192.168.10.21".parse().unwrap();
    assert!(matches!(policy.decide(role, rec, Protocol::Icmp, 0), Verdict::Allow(_)));
    let admin = policy.role("management-client").unwrap();
    assert_eq!(reason(policy.decide(admin, rec, Protocol::Icmp, 0)), DenyReason::NotInRole);
}

#[test]
fn services_that_share_a_port_share_the_strictest_requirement_and_udp_has_none() {
    let mut builder = PolicyBuilder::new("v1", vec![], vec![]);
    let address = "192.168.10.10".parse().unwrap();
    let server = builder.server("mgmt", &[address]);
    let role = builder.role("smart-client", true);
    let rule = "service api-gateway: require-tls";
    for (service, protocol, ports, require_tls) in [
        ("management-server", Protocol::Tcp, 80..=443, None),
        ("api-gateway", Protocol::Tcp, 443..=443, Some(rule.into())),
        ("media", Protocol::Udp, 443..=443, Some(rule.into())),
    ] {
        let (service, words) = (service.into(), "mgmt:*".into());
        builder.grant(role, Grant { server, service, rule: words, protocol, ports, require_tls });
    }
    let policy = builder.build();
    let required = |protocol, port| match policy.decide(role, address, protocol, port) {
        Verdict::Allow(allowed) => allowed.require_tls,
        Verdict::Deny(refusal) => panic!("{refusal:?}"),
    };
    assert_eq!(required(Protocol::Tcp, 443).as_deref(), Some(rule));
    assert_eq!(required(Protocol::Tcp, 80), None);
    assert_eq!(required(Protocol::Udp, 443), None);
    assert_eq!(required(Protocol::Icmp, 0), None);
}

#[test]
fn control_services_are_the_only_ports_of_the_gateway() {
    let (policy, role) = policy();
    let gateway = "10.99.0.1".parse().unwrap();
    for (protocol, port) in
        [(Protocol::Udp, 53), (Protocol::Tcp, 53), (Protocol::Tcp, 80), (Protocol::Icmp, 0)]
    {
        assert!(matches!(policy.decide(role, gateway, protocol, port), Verdict::Allow(_)));
    }
}

#[test]
fn a_role_that_insists_on_an_agreed_key_loses_servers_without_one_and_keeps_control_services() {
    let mut builder = PolicyBuilder::new("v1", vec![], vec!["10.99.0.1".parse().unwrap()]);
    let server = builder.server("mgmt", &["192.168.10.10".parse().unwrap()]);
    let roles = ["strict", "lax"].map(|name| builder.role(name, true));
    builder.require_post_quantum(roles[0]);
    for role in roles {
        let (service, rule) = ("web".into(), "mgmt:web".into());
        let (protocol, ports) = (Protocol::Tcp, 443..=443);
        builder.grant(role, Grant { server, service, rule, protocol, ports, require_tls: None });
    }
    let policy = builder.build();
    let weakly = |role, address: &str, port| {
        let verdict = policy.decide(role, address.parse().unwrap(), Protocol::Tcp, port);
        policy.without_post_quantum(role, verdict)
    };
    assert_eq!(roles.map(|role| policy.requires_post_quantum(role)), [true, false]);
    assert_eq!(reason(weakly(roles[0], "192.168.10.10", 443)), DenyReason::PostQuantumRequired);
    assert_eq!(reason(weakly(roles[0], "192.168.10.10", 444)), DenyReason::NotInRole);
    assert!(matches!(weakly(roles[0], "10.99.0.1", 80), Verdict::Allow(_)));
    assert!(matches!(weakly(roles[1], "192.168.10.10", 443), Verdict::Allow(_)));
}
