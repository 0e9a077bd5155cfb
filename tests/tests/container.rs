//! The gateway's image carries an operator's work with a read-only root and no more rights than documented.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::chown,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    carries,
    container::{self, Container},
    process::{InTime, PATIENCE, Process, User, capture},
    require::can_run_container,
    site::{self, Egress, Site},
    stock,
    topology::Family,
};

/// `CAP_NET_ADMIN`, as /proc writes sets of capabilities.
const NET_ADMIN: &str = "0000000000001000";
const NONE: &str = "0000000000000000";

#[test]
fn with_the_proxy_it_needs_no_capability_and_no_certain_user() {
    carries_an_operators_work(Egress::Proxy, &[], NONE);
}

#[test]
fn with_tun_it_needs_net_admin_and_the_device_alone() {
    let rights = ["--cap-add=net_admin", "--device=/dev/net/tun"];
    carries_an_operators_work(Egress::Tun { masquerade: true }, &rights, NET_ADMIN);
}

fn carries_an_operators_work(egress: Egress, rights: &[&str], bounding: &str) {
    let programs = [&container::PROGRAMS[..], &site::PROGRAMS, &stock::PROGRAMS, &["curl"]].concat();
    if !can_run_container(&programs) {
        return;
    }
    let mut site = Site::prepare_with(Family::V4, egress).unwrap();
    let container = Container::new();
    let user = User::Gateway.uid();
    let mount = |from: std::path::PathBuf, to: &str| format!("--volume={}:{to}", from.display());
    let mut options = vec![
        format!("--user={user}:{user}"),
        "--env=VMSGATE_CONFIG=/etc/vmsgate/gateway.toml".to_owned(),
        mount(site.config(), "/etc/vmsgate/gateway.toml:ro"),
        mount(site.folder().join("passphrase"), "/run/secrets/vmsgate-passphrase:ro"),
        mount(site.data(), "/data"),
    ];
    options.extend(rights.iter().map(|&right| right.to_owned()));
    let run = container.run(Some(&site.topology.gateway), &options).unwrap();
    site.run_with(run).unwrap();

    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    carries::an_operators_work(&site, &client).unwrap();

    capture(&mut container.podman(&["healthcheck", "run"], &[])).unwrap();
    let status = container.proc("status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} is missing:\n{status}")).trim().to_owned()
    };
    assert_eq!(field("Uid"), [user.to_string().as_str(); 4].join("\t"));
    assert_eq!(field("CapBnd"), bounding, "what it may ever have");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), NONE, "{set}: what it has while it carries");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    let mounts = container.proc("mountinfo").unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
    site.stop().unwrap();
}

#[test]
fn in_an_empty_volume_it_says_what_to_do_or_does_it_as_its_own_user() {
    if !can_run_container(&container::PROGRAMS) {
        return;
    }
    let secret = tempfile::tempdir().unwrap();
    let passphrase = secret.path().join("passphrase");
    fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    chown(&passphrase, Some(10_001), None).unwrap();

    let puzzled = Container::new();
    let output = puzzled.run(None, &[]).unwrap().output_in_time().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("set VMSGATE_ENDPOINT"), "{text}");

    let container = Container::new();
    let options = [
        "--env=VMSGATE_ENDPOINT=vpn.example.org:51820".to_owned(),
        format!("--volume={}:/run/secrets/vmsgate-passphrase:ro", passphrase.display()),
    ];
    let mut gateway = Process::start("podman run", container.run(None, &options).unwrap()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !container.podman(&["healthcheck", "run"], &[]).output_in_time().unwrap().status.success() {
        let runs = gateway.is_running().unwrap() && Instant::now() < deadline;
        assert!(runs, "{}", gateway.output());
        std::thread::sleep(Duration::from_millis(100));
    }
    let add = ["vmsgate-keys", "client", "add", "anna", "--role", "smart-client", "--operator", "Anna Berg"];
    let profile = capture(&mut container.podman(&["exec"], &add)).unwrap();
    assert!(profile.contains("Endpoint = vpn.example.org:51820"), "{profile}");
    let (status, output) = gateway.stop().unwrap();
    assert!(status.success(), "{output}");
}
