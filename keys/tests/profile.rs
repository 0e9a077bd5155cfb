//! The profile is a stock WireGuard configuration that lets its owner in, and says no more than it must.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use support::{Installation, mode, setting};

const ADD: &[&str] = &["client", "add", "anna", "--role", "smart-client", "--operator", "Anna Berg"];

const CONFIG: &str = r#"
[gateway]
name = "north"
endpoint = ["north.example.org:51820", "south.example.org:51820"]
tunnel = ["10.77.0.0/24", "fd00:77::/64"]
mtu = 1400

[[server]]
name = "mgmt"
address = ["192.168.10.10", "fd00:10::10"]
services = ["management-server"]

[[server]]
name = "rec01"
address = "192.168.10.21"
services = ["recording-server"]

[[server]]
name = "mobile"
address = "192.168.10.30"
services = ["mobile-server"]
"#;

/// Replaces what differs from run to run.
fn masked(conf: &str) -> String {
    let mask = |line: &str| {
        let secret = ["PrivateKey", "PublicKey", "PresharedKey"].iter().find(|name| line.starts_with(**name));
        match secret {
            Some(name) => {
                let key = setting(conf, name);
                assert_eq!((key.len(), key.chars().last()), (44, Some('=')), "{line}");
                format!("{name} = KEY\n")
            }
            None if line.starts_with("# made:") => "# made:     TIME\n".to_owned(),
            None => format!("{line}\n"),
        }
    };
    conf.lines().map(mask).collect()
}

#[test]
fn with_a_configuration_only_the_servers_of_the_role_are_in_it() {
    let installation = Installation::new();
    installation.write("gateway.toml", CONFIG);

    let run =
        installation.run(&[&["-c", "gateway.toml"], ADD, &["--expires", "2999-01-01"]].concat()).succeeded();

    assert_eq!(
        masked(&run.stdout),
        "\
# Vmsgate profile. It holds secret keys: keep it as you keep a password.
# client:   anna
# operator: Anna Berg
# role:     smart-client
# expires:  2999-01-01T00:00:00Z
# gateway:  north
# made:     TIME
# The name servers know the names of the video system only. If other names stop working
# while the tunnel is up, remove the DNS line and use addresses.

[Interface]
PrivateKey = KEY
Address = 10.77.0.2/32, fd00:77::2/128
DNS = 10.77.0.1, fd00:77::1
MTU = 1400

[Peer]
PublicKey = KEY
PresharedKey = KEY
AllowedIPs = 10.77.0.1/32, fd00:77::1/128, 192.168.10.10/32, 192.168.10.21/32, fd00:10::10/128
Endpoint = north.example.org:51820
PersistentKeepalive = 25
"
    );
    assert!(!run.stderr.contains("warning:"), "{}", run.stderr);
}

#[test]
fn without_a_configuration_it_covers_all_private_addresses_and_says_so() {
    let installation = Installation::new();

    let run = installation.run(ADD).succeeded();

    assert_eq!(
        setting(&run.stdout, "AllowedIPs"),
        "10.99.0.1/32, fd00:99::1/128, 10.99.0.0/16, fd00:99::/64, \
         10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7"
    );
    assert!(run.stderr.contains("warning: without a configuration"), "{}", run.stderr);
    assert!(run.stderr.contains("-c FILE"), "{}", run.stderr);
}

#[test]
fn its_keys_are_those_of_the_registry() {
    let installation = Installation::new();

    let conf = installation.run(ADD).succeeded().stdout;

    let private = setting(&conf, "PrivateKey");
    let derived = installation.run_with_input(&["pubkey"], &format!("{private}\n")).succeeded().stdout;
    let stored = &installation.clients()[0]["keys"][0]["public_key"];
    assert_eq!(stored.as_str().unwrap(), derived.trim_end());
    let gateway = installation.run(&["gateway", "show", "--json"]).json();
    assert_eq!(gateway["identities"][0]["public_key"], setting(&conf, "PublicKey"));
}

#[test]
fn a_key_pair_of_the_device_needs_no_private_key_in_it() {
    let installation = Installation::new();
    let private = installation.run(&["genkey"]).stdout;
    let public = installation.run_with_input(&["pubkey"], &private).stdout.trim_end().to_owned();

    let conf = installation.run(&[ADD, &["--public-key", &public]].concat()).succeeded().stdout;

    assert!(!conf.lines().any(|line| line.starts_with("PrivateKey")), "{conf}");
    assert!(conf.contains("# PrivateKey = (the private key is on the device that made it)"), "{conf}");
    assert_eq!(installation.clients()[0]["keys"][0]["public_key"], public);
    let again =
        ["client", "add", "bert", "--role", "smart-client", "--operator", "B", "--public-key", &public];
    installation.run(&again).refused("belongs to client `anna` already");
    let gateway =
        installation.run(&["gateway", "show", "--json"]).json()["identities"][0]["public_key"].clone();
    let stolen = [&again[..8], &[gateway.as_str().unwrap()]].concat();
    installation.run(&stolen).refused("is the gateway's own");
}

#[test]
fn a_profile_file_is_private_and_never_overwritten() {
    let installation = Installation::new();

    let run = installation.run(&[ADD, &["--out", "anna.conf"]].concat()).succeeded();

    assert_eq!((run.stdout.as_str(), mode(&installation.path("anna.conf"))), ("", 0o600));
    let before = std::fs::read_to_string(installation.path("anna.conf")).unwrap();
    let add_bert =
        ["client", "add", "bert", "--role", "smart-client", "--operator", "B", "--out", "anna.conf"];
    installation.run(&add_bert).refused("anna.conf exists already");
    assert_eq!(std::fs::read_to_string(installation.path("anna.conf")).unwrap(), before);
    let nowhere = [&add_bert[..8], &["nowhere/bert.conf"]].concat();
    installation.run(&nowhere).refused("cannot write the profile to nowhere/bert.conf");
    assert_eq!(installation.clients().len(), 1, "no client is added without its profile");
}

#[test]
fn in_json_the_profile_is_text_or_the_name_of_its_file() {
    let installation = Installation::new();

    let shown = installation.run(&[ADD, &["--json"]].concat()).succeeded().json();
    let written =
        ["client", "add", "bert", "--role", "web-mobile", "--operator", "B", "--json", "--out", "b.conf"];
    let written = installation.run(&written).succeeded().json();

    assert!(shown["profile"].as_str().unwrap().contains("[Interface]"));
    assert_eq!(shown["client"]["name"], "anna");
    assert_eq!((&written["profile_file"], &written["profile"]), (&"b.conf".into(), &serde_json::Value::Null));
}

#[test]
fn a_qr_code_replaces_the_text() {
    let installation = Installation::new();

    let run = installation.run(&[ADD, &["--qr"]].concat()).succeeded();

    assert!(run.stdout.contains("█▀▀▀▀▀█"), "finder patterns: {}", run.stdout);
    assert!(!run.stdout.contains("PrivateKey"));
    assert_eq!(installation.run(&[ADD, &["--qr", "--json"]].concat()).status, 2);
}

#[test]
fn a_role_without_servers_is_pointed_out() {
    let installation = Installation::new();
    installation.write("gateway.toml", &CONFIG.replace("mobile-server", "event-server"));

    let add = ["-c", "gateway.toml", "client", "add", "a", "--role", "web-mobile", "--operator", "A"];
    let run = installation.run(&add).succeeded();

    assert!(run.stderr.contains("warning: role `web-mobile` reaches no server"), "{}", run.stderr);
}
