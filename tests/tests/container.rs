//! The gateway's image carries an operator's work with a read-only root and no more rights than documented.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
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

/// The image's own user.
const USER: u32 = 10_001;
/// `CAP_NET_ADMIN`, as /proc writes sets of capabilities.
const NET_ADMIN: &str = "0000000000001000";
const NONE: &str = "0000000000000000";
const TUN: Egress = Egress::Tun { masquerade: true };
const TUN_RIGHTS: [&str; 2] = ["--cap-add=net_admin", "--device=/dev/net/tun"];

#[test]
fn with_the_proxy_it_needs_no_capability_and_no_certain_user() {
    works_with(Egress::Proxy, Family::V4, &[], NONE);
}

#[test]
fn with_the_proxy_it_does_so_over_ipv6_outside() {
    works_with(Egress::Proxy, Family::V6, &[], NONE);
}

#[test]
fn with_tun_it_needs_net_admin_and_the_device_alone() {
    works_with(TUN, Family::V4, &TUN_RIGHTS, NET_ADMIN);
}

#[test]
fn with_tun_it_does_so_over_ipv6_outside() {
    works_with(TUN, Family::V6, &TUN_RIGHTS, NET_ADMIN);
}

/// What the tests with a stock client ask of a gateway, asked of the image; then what the kernel says of its rights.
fn works_with(egress: Egress, outside: Family, rights: &[&str], bounding: &str) {
    let programs = [&container::PROGRAMS[..], &site::PROGRAMS, &stock::PROGRAMS, &["curl"]].concat();
    if !can_run_container(&programs) {
        return;
    }
    let mut site = Site::prepare_with(outside, egress).unwrap();
    let container = Container::new();
    let user = User::Gateway.uid();
    let mount = |from: PathBuf, to: &str| format!("--volume={}:{to}", from.display());
    let mut options = vec![
        format!("--user={user}:{user}"),
        "--env=VMSGATE_CONFIG=/etc/vmsgate/gateway.toml".to_owned(),
        mount(site.config(), "/etc/vmsgate/gateway.toml:ro"),
        mount(site.folder().join("passphrase"), "/run/secrets/vmsgate-passphrase:ro"),
        mount(site.data(), "/data"),
    ];
    options.extend(rights.iter().map(|&right| right.to_owned()));
    site.run_with(container.run(Some(&site.topology.gateway), &options).unwrap()).unwrap();

    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    carries::an_operators_work(&site, &client).unwrap();
    if outside == Family::V4 {
        carries::sixteen_streams(&site, &client).unwrap();
    }

    capture(&mut container.podman(&["healthcheck", "run"], &[])).unwrap();
    let proc = |path: &str| container.proc(path).unwrap();
    let status = fs::read_to_string(proc("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} is missing:\n{status}")).trim().to_owned()
    };
    assert_eq!(field("Name"), "vmsgate");
    for ids in ["Uid", "Gid"] {
        assert_eq!(field(ids), [user.to_string().as_str(); 4].join("\t"), "{ids}");
    }
    assert_eq!(field("CapBnd"), bounding, "what it may ever have");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), NONE, "{set}: what it has while it carries");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    let mounts = fs::read_to_string(proc("mountinfo")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
    let programs = fs::read_dir(proc("root/usr/bin")).unwrap();
    let mut programs: Vec<_> = programs.map(|entry| entry.unwrap().file_name()).collect();
    programs.sort();
    assert_eq!(programs, ["vmsgate", "vmsgate-keys"], "nothing else to run");
    assert!(!proc("root/bin").exists() && !proc("root/lib").exists());
    site.stop().unwrap();
}

#[test]
fn in_an_empty_volume_it_says_what_to_do_or_does_it_as_its_own_user() {
    if !can_run_container(&container::PROGRAMS) {
        return;
    }
    let puzzled = Container::new();
    let output = puzzled.run(None, &[]).unwrap().output_in_time().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("set VMSGATE_ENDPOINT"), "{text}");

    // As podman hands out a volume and a secret, and as Kubernetes does with `fsGroup`.
    let folder = tempfile::tempdir().unwrap();
    let of_the_user = passphrase(folder.path(), "of-the-user", Some(USER), 0o400);
    works_at_once(&[of_the_user]);
    let of_the_group = passphrase(folder.path(), "of-the-group", None, 0o440);
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    chown(&data, None, Some(USER)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o2775)).unwrap();
    works_at_once(&[of_the_group, format!("--volume={}:/data", data.display())]);
}

fn works_at_once(volumes: &[String]) {
    let container = Container::new();
    let options = [&["--env=VMSGATE_ENDPOINT=vpn.example.org:51820".to_owned()], volumes].concat();
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

/// The option that mounts a passphrase of that owner (or else of root and the user's group) and mode.
fn passphrase(folder: &Path, name: &str, owner: Option<u32>, mode: u32) -> String {
    let path = folder.join(name);
    fs::write(&path, "correct horse battery staple\n").unwrap();
    chown(&path, owner, Some(USER)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    format!("--volume={}:/run/secrets/vmsgate-passphrase:ro", path.display())
}
