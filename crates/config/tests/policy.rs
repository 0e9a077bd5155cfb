//! What a configuration opens, and how the policy is named.

use vmsgate_config::{Config, Protocol, never_expose};

const FILE: &str = r#"
[gateway]
name = "gw-1"
endpoint = "vpn.example.org:51820"
tunnel = ["10.99.0.0/16", "fd00:99::/64"]

[[server]]
name = "mgmt"
address = ["192.168.10.10", "fd00:10::10"]
hostnames = ["LAB-XPCO", "mgmt.vms.local"]
services = ["management-server"]

[[server]]
name = "axis"
address = "192.168.10.40"
services = ["axis-camera-station"]

[role.night]
allow = ["mgmt:management-server", "m*:*", "*:axis-camera-station"]
icmp = false

[dns]
suffix = ".VMS.local"
"#;

fn load(text: &str) -> Config {
    Config::from_str(text, "gateway.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_service_that_two_rules_open_is_opened_once_by_the_first() {
    let config = load(FILE);
    let opened: Vec<String> = config.roles["night"]
        .permissions
        .iter()
        .map(|one| format!("{} {}/{} {}", one.server, one.protocol, one.ports, one.rule))
        .collect();
    assert_eq!(
        opened,
        [
            "mgmt tcp/80 mgmt:management-server",
            "mgmt tcp/443 mgmt:management-server",
            "axis tcp/55752-55754 *:axis-camera-station",
            "axis tcp/55756-55757 *:axis-camera-station",
        ]
    );
    assert!(!config.roles["night"].icmp && config.roles["smart-client"].icmp);
}

/// What must be TLS for a role, with the words that say so.
fn tls_only(config: &Config, role: &str) -> Vec<String> {
    let permissions = config.roles[role].permissions.iter();
    permissions
        .filter_map(|one| Some(format!("{}/{} {}", one.protocol, one.ports, one.require_tls.as_ref()?)))
        .collect()
}

#[test]
fn tls_is_required_by_a_service_for_every_role_and_by_a_role_for_every_service_over_tcp() {
    let config = load(FILE);
    assert!(config.roles.keys().all(|role| tls_only(&config, role).is_empty()), "by default by none");

    let service = "[service.management-server]\nrequire-tls = true\n";
    let config = load(&format!("{FILE}\n{service}"));
    let required = "service management-server: require-tls";
    for role in ["night", "smart-client"] {
        assert_eq!(tls_only(&config, role), [format!("tcp/80 {required}"), format!("tcp/443 {required}")]);
    }

    let role = FILE.replace("icmp = false", "icmp = false\nrequire-tls = true");
    let config = load(&format!("{role}\n[service.management-server]\ntcp = 443\nudp = 5004\n"));
    let required = "role night: require-tls";
    let tcp = ["443", "55752-55754", "55756-55757"].map(|ports| format!("tcp/{ports} {required}"));
    assert_eq!(tls_only(&config, "night"), tcp);
    assert!(tls_only(&config, "smart-client").is_empty());
}

#[test]
fn a_built_in_service_keeps_what_the_file_does_not_write() {
    let config = load(&format!("{FILE}\n[service.axis-camera-station]\nrequire-tls = true\n"));
    let (before, after) =
        (&load(FILE).services["axis-camera-station"], &config.services["axis-camera-station"]);
    assert!(after.require_tls && !before.require_tls);
    assert_eq!((&after.ports, &after.description), (&before.ports, &before.description));
    assert_eq!(config.servers[1].expose_anyway, load(FILE).servers[1].expose_anyway);
}

#[test]
fn require_tls_on_a_service_with_udp_ports_is_a_warning_with_its_line() {
    let text = format!("{FILE}\n[service.door]\ntcp = 8443\nudp = [5060, 5061]\nrequire-tls = true\n");
    let config = load(&text);
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(warning.message.contains("`door` leaves udp/5060 as it is"), "{warning}");
    let line = text.lines().position(|line| line == "require-tls = true").map(|at| at + 1);
    assert_eq!(warning.line, line);
}

#[test]
fn a_role_reaches_every_address_of_its_servers_and_no_other() {
    let config = load(FILE);
    let addresses: Vec<String> =
        config.roles["smart-client"].addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.168.10.10", "fd00:10::10"]);
}

#[test]
fn names_are_lower_case_and_short_ones_also_get_the_suffix() {
    let config = load(FILE);
    assert_eq!(
        config.servers[0].names,
        ["mgmt", "mgmt.vms.local", "lab-xpco", "lab-xpco.vms.local"],
        "each once, although `mgmt.vms.local` is both written and made"
    );
}

#[test]
fn the_gateway_has_the_first_address_of_each_range() {
    let addresses: Vec<String> =
        load(FILE).gateway.tunnel_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.99.0.1", "fd00:99::1"]);
}

#[test]
fn every_never_expose_port_that_a_role_opens_is_an_exception_of_the_server() {
    let config = load(FILE);
    let mut seen = 0;
    for permission in config.roles.values().flat_map(|role| &role.permissions) {
        for port in permission.ports.first..=permission.ports.last {
            if never_expose(permission.protocol, port).is_some() {
                seen += 1;
                let server = config.server(&permission.server).unwrap();
                assert!(server.expose_anyway.iter().any(|exposure| {
                    exposure.ports.protocol == permission.protocol && exposure.ports.ports.contains(port)
                }));
            }
        }
    }
    assert_eq!(seen, 5, "the ports of AXIS Camera Station");
    assert!(never_expose(Protocol::Tcp, 55752).is_some());
}

#[test]
fn ipv4_and_ipv6_wildcards_on_one_port_become_one_socket() {
    let both =
        FILE.replace("[gateway]", "[gateway]\nlisten = [\"0.0.0.0:51820\", \"[::]:51820\", \"[::]:443\"]");
    let listen: Vec<String> = load(&both).gateway.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["[::]:51820", "[::]:443"]);
}

#[test]
fn the_version_names_what_is_allowed_and_nothing_else() {
    let version = load(FILE).version;
    assert_eq!(version.len(), 16);
    for same in [
        FILE.replace("LAB-XPCO", "lab2"),
        FILE.replace("gw-1", "gw-2"),
        format!("{FILE}\n[limits]\nflows-total = 5000\n"),
        format!("# a remark\n{FILE}"),
    ] {
        assert_eq!(load(&same).version, version, "{same}");
    }
    for other in [
        FILE.replace("192.168.10.10", "192.168.10.11"),
        FILE.replace("icmp = false", ""),
        FILE.replace(", \"*:axis-camera-station\"", ""),
        FILE.replace("10.99.0.0/16", "10.98.0.0/16"),
        FILE.replace("[gateway]", "[gateway]\non-denied = \"drop\""),
        format!("{FILE}\n[service.management-server]\ntcp = 443\n"),
        format!("{FILE}\n[service.management-server]\nrequire-tls = true\n"),
        FILE.replace("icmp = false", "icmp = false\nrequire-tls = true"),
    ] {
        assert_ne!(load(&other).version, version, "{other}");
    }
}
