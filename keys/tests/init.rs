//! `init` makes an installation once, and never over another.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;

use support::{Installation, mode};

const INIT: &[&str] = &["init", "--endpoint", "vpn.example.org:51820"];

#[test]
fn an_installation_is_readable_by_its_owner_alone() {
    let installation = Installation::new();

    let data = installation.data();
    assert_eq!(
        (mode(&data), mode(&data.join("keystore")), mode(&data.join("vmsgate.db"))),
        (0o700, 0o600, 0o600)
    );
    let mut files: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["keystore", "vmsgate.db"], "nothing is left in temporary files or logs");
}

#[test]
fn a_second_init_changes_nothing() {
    let installation = Installation::with_clients(&["anna"]);
    let keystore = fs::read(installation.data().join("keystore")).unwrap();

    installation.run(INIT).refused("there is already a keystore at");

    assert_eq!(fs::read(installation.data().join("keystore")).unwrap(), keystore);
    assert_eq!(installation.clients().len(), 1);
}

#[test]
fn a_lost_keystore_does_not_let_init_take_over_the_registry() {
    let installation = Installation::with_clients(&["anna"]);
    fs::remove_file(installation.data().join("keystore")).unwrap();

    installation.run(INIT).refused("the data directory is initialised already");

    assert!(!installation.data().join("keystore").exists());
    installation.add("bert").refused("there is no keystore at");
}

#[test]
fn of_many_inits_at_once_one_wins_and_the_installation_works() {
    let installation = Installation::empty();
    let children: Vec<_> = (0..6).map(|_| installation.command(INIT).spawn().unwrap()).collect();
    let won =
        children.into_iter().filter_map(|child| child.wait_with_output().ok()).filter(|o| o.status.success());

    assert_eq!(won.count(), 1);
    installation.add("anna").succeeded();
}

#[test]
fn a_named_but_missing_configuration_is_written_and_used() {
    let installation = Installation::empty();

    let run = installation.run(&[
        "-c",
        "gateway.toml",
        "init",
        "--endpoint",
        "[2001:db8::1]:51820",
        "--name",
        "north",
    ]);

    let config = vmsgate_config::load(&installation.path("gateway.toml")).unwrap();
    assert_eq!(config.gateway.name, "north");
    assert_eq!(config.gateway.endpoints[0].to_string(), "[2001:db8::1]:51820");
    assert_eq!(config.gateway.data, installation.data());
    assert!(run.succeeded().stderr.contains("vmsgate -c gateway.toml check"));
}

#[test]
fn a_failed_init_leaves_no_configuration_behind() {
    let installation = Installation::empty();
    fs::write(installation.data(), "in the way").unwrap();

    installation
        .run(&["-c", "gateway.toml", "init", "--endpoint", "vpn.example.org:51820"])
        .refused("cannot make the data directory");

    assert!(!installation.path("gateway.toml").exists());
}

#[test]
fn flags_that_contradict_the_configuration_are_refused() {
    let installation = Installation::empty();
    installation.write(
        "gateway.toml",
        "[gateway]\nname = \"gw-1\"\nendpoint = \"vpn.example.org:51820\"\ntunnel = [\"10.99.0.0/16\"]\n",
    );
    let config = ["-c", "gateway.toml", "init"];

    for (flag, value) in
        [("--endpoint", "other.example.org:51820"), ("--tunnel", "10.98.0.0/16"), ("--name", "gw-2")]
    {
        let run = installation.run(&[&config[..], &[flag, value]].concat());
        run.refused(&format!("{flag} contradicts the configuration"));
    }
    assert!(!installation.data().exists());
    installation.run(&config).succeeded();
    let shown = installation.run(&["gateway", "show", "--json"]).json();
    assert_eq!(shown["endpoints"][0], "vpn.example.org:51820");
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_made() {
    let installation = Installation::empty();
    installation.write("short", "seven77\n");

    installation.run(&["init"]).refused("the endpoint is missing");
    let endpoint = INIT[2];
    let init = |more: &[&str]| installation.run(&[&["init", "--endpoint", endpoint], more].concat());
    init(&["--tunnel", "10.0.0.0/31"]).refused("10.0.0.0/31 is too small");
    init(&["--tunnel", "10.0.0.7/24"]).refused("did you mean 10.0.0.0/24?");
    init(&["--tunnel", "10.0.0.0/24", "--tunnel", "10.1.0.0/24"]).refused("are of the same kind");
    init(&["--name", "a\nb"]).refused("`a\\nb` cannot name a gateway");
    init(&["--passphrase-file", "short"]).refused("fewer than 8 characters");
    init(&["--passphrase-file", "missing"]).refused("cannot read the passphrase file missing");
    assert!(!installation.data().exists());
}
