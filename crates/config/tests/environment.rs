//! Values from the environment take the place of the file's.

use vmsgate_config::{Config, ConfigErrors, Environment};

const FILE: &str = r#"
[gateway]
name = "gw-1"
endpoint = "vpn.example.org:51820"
tunnel = "10.99.0.0/16"

[[server]]
name = "rec01"
address = "192.168.10.21"
services = ["recording-server"]
"#;

fn with(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let environment: Environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::from_str_with(FILE, "gateway.toml", &environment)
}

#[test]
fn every_type_can_come_from_a_variable() {
    let config = with(&[
        ("VMSGATE_GATEWAY_NAME", "gw-2"),
        ("VMSGATE_GATEWAY_LISTEN", "192.0.2.1:51820, [2001:db8::1]:51820"),
        ("VMSGATE_GATEWAY_MTU", "1280"),
        ("VMSGATE_GATEWAY_ON_DENIED", "drop"),
        ("VMSGATE_DNS_TTL", "1h"),
        ("VMSGATE_PROXY_CLIENT_MEMORY", "64MiB"),
    ])
    .unwrap();
    assert_eq!(config.gateway.name, "gw-2");
    let listen: Vec<String> = config.gateway.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["192.0.2.1:51820", "[2001:db8::1]:51820"]);
    assert_eq!(config.gateway.mtu, 1280);
    assert_eq!(config.gateway.on_denied, vmsgate_config::OnDenied::Drop);
    assert_eq!(config.dns.ttl.as_secs(), 3600);
    assert_eq!(config.proxy.client_memory, 64 << 20);
    assert_eq!(config.variables.len(), 6);
}

#[test]
fn an_error_names_the_variable() {
    let errors =
        with(&[("VMSGATE_GATEWAY_MTU", "big"), ("VMSGATE_GATEWAY_LISTEN", "0.0.0.0:1,x")]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "$VMSGATE_GATEWAY_LISTEN: `x` is not of the form ADDRESS:PORT\n  \
         hint: write it like `listen = \"0.0.0.0:51820\"`\n\
         $VMSGATE_GATEWAY_MTU: `mtu` in [gateway] cannot be `big`\n  \
         hint: write it like `mtu = 1420`"
    );
}

#[test]
fn an_empty_variable_is_not_set() {
    let config = with(&[("VMSGATE_GATEWAY_NAME", "")]).unwrap();
    assert_eq!(config.gateway.name, "gw-1");
    assert!(config.variables.is_empty());
}

#[test]
fn a_misspelt_variable_is_a_warning_and_foreign_ones_are_ignored() {
    let config = with(&[
        ("VMSGATE_GATEWAY_LISTNE", "0.0.0.0:1"),
        // A container platform sets these for a service that is called vmsgate-gateway.
        ("VMSGATE_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("VMSGATE_GATEWAY_PORT_51820_UDP", "udp://10.0.0.1:51820"),
        // These belong to the command line.
        ("VMSGATE_DATA", "/tmp"),
        ("VMSGATE_CONFIG", "/tmp/gateway.toml"),
        ("LISTEN", "x"),
    ])
    .unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["$VMSGATE_GATEWAY_LISTNE: the variable is not a key of the configuration and has no effect"]
    );
    assert_eq!(config.warnings[0].hint.as_deref(), Some("did you mean `VMSGATE_GATEWAY_LISTEN`?"));
}

/// What `sha256sum` prints of the file, and of the file with those lines after it.
#[test]
fn the_hash_is_that_of_the_file_and_of_the_variables_that_took_effect() {
    use sha2::{Digest, Sha256};
    let digest = |text: String| -> [u8; 32] { Sha256::digest(text).into() };

    let plain =
        with(&[("VMSGATE_DNS_TLL", "1h"), ("VMSGATE_DNS_SUFFIX", ""), ("VMSGATE_DATA", "x")]).unwrap();
    let varied = with(&[("VMSGATE_GATEWAY_MTU", "1280"), ("VMSGATE_DNS_TTL", "1h")]).unwrap();
    let refused = with(&[("VMSGATE_GATEWAY_MTU", "large")]).unwrap_err();

    assert_eq!(plain.hash, digest(FILE.to_owned()));
    assert_eq!(varied.hash, digest(format!("{FILE}VMSGATE_DNS_TTL=1h\nVMSGATE_GATEWAY_MTU=1280\n")));
    assert_eq!(refused.hash, Some(digest(format!("{FILE}VMSGATE_GATEWAY_MTU=large\n"))));
}
