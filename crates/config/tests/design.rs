//! The configuration that the documentation calls minimal and complete.

use vmsgate_config::Config;

const MINIMAL: &str = r#"[gateway]
name = "gw-1"
listen = "0.0.0.0:51820"                 # UDP; the only port the internet sees
endpoint = "vpn.example.org:51820"       # written into profiles; a list for several gateways
tunnel = ["10.99.0.0/16", "fd00:99::/64"]
data = "/var/lib/vmsgate"                # or database = "postgres://…"
egress = "proxy"                         # or "tun"

[[server]]
name = "mgmt"
address = "192.168.10.10"
hostnames = ["mgmt", "mgmt.vms.local"]
services = ["management-server", "event-server"]

[[server]]
name = "rec01"
address = "192.168.10.21"
services = ["recording-server"]

[admin]
listen = "127.0.0.1:9586"                # /healthz /readyz /metrics
"#;

#[test]
fn it_loads_without_a_finding() {
    let config = Config::from_str(MINIMAL, "gateway.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, []);
}

#[test]
fn smart_client_reaches_exactly_login_video_and_events() {
    let config = Config::from_str(MINIMAL, "gateway.toml").unwrap();
    let reached: Vec<String> = config.roles["smart-client"]
        .permissions
        .iter()
        .map(|one| format!("{} {} {}/{} {}", one.server, one.service, one.protocol, one.ports, one.rule))
        .collect();
    assert_eq!(
        reached,
        [
            "mgmt management-server tcp/80 *:management-server",
            "mgmt management-server tcp/443 *:management-server",
            "mgmt event-server tcp/22331 *:event-server",
            "rec01 recording-server tcp/7563 *:recording-server",
        ]
    );
    assert!(config.roles["web-mobile"].permissions.is_empty());
}
