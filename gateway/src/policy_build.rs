//! From a configuration to the policy that the data path asks: the one place where both meet.

use std::collections::HashMap;

use vmsgate_config::{Config, PortRange, catalogue::NEVER_EXPOSE};
use vmsgate_exchange::GATEWAY_ADDRESS;
use vmsgate_tunnel::policy::{Grant, Policy, PolicyBuilder, Protocol, ServerId};

/// Builds the policy of `config`. Roles keep every permission that the configuration gave them; the
/// never-expose list is added beside them and wins where they meet.
pub fn build_policy(config: &Config) -> Policy {
    let mut gateway = config.gateway.tunnel_addresses();
    gateway.push(GATEWAY_ADDRESS.into());
    let mut builder = PolicyBuilder::new(&config.version, config.gateway.tunnel.clone(), gateway);
    let mut servers: HashMap<&str, ServerId> = HashMap::new();
    for server in &config.servers {
        let id = builder.server(&server.name, &server.addresses);
        servers.insert(&server.name, id);
        for exposure in &server.expose_anyway {
            let PortRange { first, last } = exposure.ports.ports;
            for port in first..=last {
                builder.expose_anyway(id, protocol(exposure.ports.protocol), port);
            }
        }
    }
    for role in config.roles.values() {
        let id = builder.role(&role.name, role.icmp);
        if role.require_post_quantum {
            builder.require_post_quantum(id);
        }
        for permission in &role.permissions {
            // A permission always names a server of the same configuration.
            let Some(server) = servers.get(permission.server.as_str()) else { continue };
            builder.grant(
                id,
                Grant {
                    server: *server,
                    service: permission.service.as_str().into(),
                    rule: permission.rule.as_str().into(),
                    protocol: protocol(permission.protocol),
                    ports: permission.ports.first..=permission.ports.last,
                    require_tls: permission.require_tls.as_deref().map(Into::into),
                },
            );
        }
    }
    for entry in NEVER_EXPOSE {
        let PortRange { first, last } = entry.ports.ports;
        builder.never_expose(protocol(entry.ports.protocol), first..=last, entry.name);
    }
    builder.build()
}

/// The same protocol, as the tunnel names it.
pub fn protocol(protocol: vmsgate_config::Protocol) -> Protocol {
    match protocol {
        vmsgate_config::Protocol::Tcp => Protocol::Tcp,
        vmsgate_config::Protocol::Udp => Protocol::Udp,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use vmsgate_tunnel::policy::{DenyReason, Verdict};

    use super::*;

    const CONFIG: &str = r#"
        [gateway]
        name = "gw-1"
        listen = "0.0.0.0:51820"
        endpoint = "vpn.example.org:51820"
        tunnel = ["10.99.0.0/16"]
        data = "/var/lib/vmsgate"

        [[server]]
        name = "mgmt"
        address = "192.168.10.10"
        services = ["management-server", "event-server"]

        [[server]]
        name = "rec01"
        address = ["192.168.10.21", "fd00:10::21"]
        services = ["recording-server", "sql"]
        expose-anyway = [{ port = "tcp/1433", reason = "reporting tool of the site" }]

        [service.sql]
        tcp = [1433]

        [role.report]
        allow = ["rec01:sql"]
        icmp = false
        require-post-quantum = true
    "#;

    /// What the policy answers, in short: the service, or the reason.
    fn decide(role: &str, address: &str, protocol: Protocol, port: u16) -> String {
        let policy = build_policy(&Config::from_str(CONFIG, "gateway.toml").unwrap());
        let role = policy.role(role).unwrap();
        match policy.decide(role, address.parse::<IpAddr>().unwrap(), protocol, port) {
            Verdict::Allow(allowed) => allowed.service.to_string(),
            Verdict::Deny(refusal) => refusal.reason.as_str().to_owned(),
        }
    }

    #[test]
    fn a_built_in_role_reaches_its_services_on_every_address_of_a_server() {
        assert_eq!(decide("smart-client", "192.168.10.10", Protocol::Tcp, 443), "management-server");
        assert_eq!(decide("smart-client", "192.168.10.21", Protocol::Tcp, 7563), "recording-server");
        assert_eq!(decide("smart-client", "fd00:10::21", Protocol::Tcp, 7563), "recording-server");
    }

    #[test]
    fn a_role_that_insists_on_post_quantum_sessions_is_the_only_one() {
        let policy = build_policy(&Config::from_str(CONFIG, "gateway.toml").unwrap());
        assert!(policy.requires_post_quantum(policy.role("report").unwrap()));
        assert!(!policy.requires_post_quantum(policy.role("smart-client").unwrap()));
    }

    #[test]
    fn the_gateway_s_address_for_invitations_is_its_own() {
        let policy = build_policy(&Config::from_str(CONFIG, "gateway.toml").unwrap());
        let port = |port| policy.decide_invitation(GATEWAY_ADDRESS.into(), Protocol::Tcp, port);
        assert!(matches!(port(80), Verdict::Allow(_)));
        assert!(matches!(port(53), Verdict::Deny(_)));
    }

    #[test]
    fn what_no_rule_names_is_refused() {
        let reason = DenyReason::NotInRole.as_str();
        assert_eq!(decide("smart-client", "192.168.10.21", Protocol::Udp, 7563), reason);
        assert_eq!(decide("smart-client", "192.168.10.10", Protocol::Tcp, 7563), reason);
        assert_eq!(decide("report", "192.168.10.21", Protocol::Icmp, 0), reason);
    }

    #[test]
    fn a_never_expose_port_opens_where_the_file_says_so_and_nowhere_else() {
        assert_eq!(decide("report", "192.168.10.21", Protocol::Tcp, 1433), "sql");
        let reason = DenyReason::NeverExposed.as_str();
        assert_eq!(decide("report", "192.168.10.10", Protocol::Tcp, 1433), reason);
        assert_eq!(decide("smart-client", "192.168.10.21", Protocol::Tcp, 3389), reason);
    }
}
