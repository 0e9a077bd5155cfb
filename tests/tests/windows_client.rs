//! An operator's day with `vmsgate-shim`, the same on Linux and on Windows: from an invitation over work, a new key and a
//! restart of the gateway to the end. Windows is played by Wine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Output, time::Instant};

use nix::sys::signal::Signal;
use vmsgate_tests::{
    carries, curl,
    process::{InTime, PATIENCE, capture},
    profile::Profile,
    recording::RECORDER,
    require::{can_run, can_run_windows},
    shim::{ShimClient, ShimMachine},
    site::{self, Site},
    stock::{self, StockClient},
    topology::Family,
    web::FILE_BYTES,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Linux,
    Windows,
}

#[test]
fn an_operators_day_on_linux() {
    if can_run(&programs()) {
        a_day_on(System::Linux);
    }
}

#[test]
fn an_operators_day_on_windows() {
    if can_run_windows(&programs()) {
        a_day_on(System::Windows);
    }
}

fn a_day_on(system: System) {
    let mut site = Site::start(Family::V4).unwrap();
    let machine = match system {
        System::Linux => ShimMachine::new(&site, "anna"),
        System::Windows => ShimMachine::windows(&site, "anna"),
    };
    let machine = machine.unwrap();

    // From the invitation to a profile. People copy it with the line ends of their system.
    let printed = capture(&mut site.keys(&[
        "client",
        "invite",
        "anna",
        "--role",
        "smart-client",
        "--operator",
        "Anna",
    ]));
    let token = printed.unwrap().lines().find(|line| line.starts_with("vgi1-")).unwrap().to_owned();
    let enrolled =
        machine.shim(&["enroll", "-", "--out", "anna.conf"]).output_given(&format!("{token}\r\n")).unwrap();
    assert_done(&enrolled);
    let file = machine.path("anna.conf");
    let first = fs::read_to_string(&file).unwrap();
    assert_key_is_as_the_system_has_it(system, &first);
    let again = machine.shim(&["enroll", "-", "--out", "anna.conf"]).output_given(&token).unwrap();
    assert_refused(&again, "anna.conf exists already");

    // Work: files and video, at the addresses that `status` and `hosts` tell.
    let client = machine.up(file.clone(), &[]).unwrap();
    works(&site, &client);
    let recorder = client.listens_for("rec01", RECORDER).unwrap();
    let urls = [format!("tcp://{recorder}"), format!("tcp://{recorder}")];
    carries::streams(&site.clip, || client.command("ffmpeg"), &urls).unwrap();
    let hosts = capture(&mut client.shim(&["hosts"])).unwrap();
    assert!(
        hosts.lines().any(|line| line.starts_with(&recorder.ip().to_string()) && line.contains(" rec01"))
    );
    let twice = client.shim(&["up", "anna.conf"]).output_in_time().unwrap();
    assert_refused(&twice, "the profile anna is already up");
    assert_refused(&client.shim(&["uninstall"]).output_in_time().unwrap(), "the profile anna is up");

    // A new key, under an open connection.
    let web = client.listens_for("mgmt", 80).unwrap();
    let download = curl::Download::start(client.command("curl"), &format!("http://{web}/slow")).unwrap();
    download.wait_for(1_000_000).unwrap();
    let rotated: serde_json::Value =
        serde_json::from_str(&capture(&mut client.shim(&["rotate", "--json"])).unwrap()).unwrap();
    assert_ne!(rotated["before"], rotated["after"]);
    assert_eq!(client.status().unwrap()["keys"]["fingerprint"], rotated["after"]);
    assert_eq!(download.finish().unwrap(), (FILE_BYTES as u64, site.web.checksum.clone()));
    let second = fs::read_to_string(&file).unwrap();
    assert_key_is_as_the_system_has_it(system, &second);
    assert_ne!(private_key(&first), private_key(&second));

    // The gateway is restarted.
    site.stop().unwrap();
    site.run().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut attempt = client.command("curl");
        attempt.args(["--max-time", "2", "--range", "0-99"]);
        if curl::fetch(attempt, &format!("http://{web}/file")).is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "not back; it printed:\n{}", client.process().output());
    }
    works(&site, &client);

    // A crash is in nobody's way, and Ctrl-C ends it in order.
    let machine = client.kill().unwrap();
    assert_refused(&machine.shim(&["status"]).output_in_time().unwrap(), "no shim is running");
    let client = machine.up(file.clone(), &[]).unwrap();
    works(&site, &client);
    client.process().signal(Signal::SIGINT).unwrap();
    let machine = has_ended(client);

    // The same work by name, through the proxy.
    let client = machine.up(file.clone(), &["--mode", "socks"]).unwrap();
    let proxy = client.proxy().unwrap().url("socks5h");
    let curl = || {
        let mut curl = client.command("curl");
        curl.args(["--proxy", &proxy]);
        curl
    };
    carries::files(&site.web, curl, "http://mgmt").unwrap();
    client.process().signal(Signal::SIGINT).unwrap();
    let machine = has_ended(client);

    sets_up_and_removes(&machine);

    // The sealed key is of no use elsewhere, and can be taken out by its owner.
    if system == System::Windows {
        let stock = Profile::new(capture(&mut machine.shim(&["export", "anna.conf"])).unwrap());
        let elsewhere = ShimMachine::new(&site, "elsewhere").unwrap();
        let copied = elsewhere.take(&Profile::new(second), "anna").unwrap();
        let refused = elsewhere.shim(&["up", copied.to_str().unwrap()]).output_in_time().unwrap();
        assert_refused(&refused, "is sealed by Windows");
        let client = StockClient::up(site.topology.add_client().unwrap(), &stock).unwrap();
        let fetched = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
        assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
    }
}

/// `install` makes what it says, as often as it is asked; `uninstall`, by the installed program, leaves nothing of it.
fn sets_up_and_removes(machine: &ShimMachine) {
    let before = machine.files().unwrap();
    assert_refused(&machine.shim(&["uninstall"]).output_in_time().unwrap(), "has set up nothing");
    let install = |more: &[&str]| {
        let arguments = [&["install", "anna.conf", "--json"], more].concat();
        let text = capture(&mut machine.shim(&arguments)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let installed = install(&[]);
    let program = machine.here(installed["program"].as_str().unwrap());
    let entries = |installed: &serde_json::Value| -> Vec<_> {
        installed["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|path| machine.here(path.as_str().unwrap()))
            .collect()
    };
    for entry in entries(&installed).iter().chain([&program]) {
        assert!(entry.exists(), "{}", entry.display());
    }
    let after = machine.files().unwrap();
    assert_eq!(install(&[]), installed);
    assert_eq!(machine.files().unwrap(), after);
    let without = install(&["--no-log-on"]);
    assert_eq!(entries(&without).len(), entries(&installed).len() - 1);
    let at_log_on = entries(&installed).into_iter().find(|entry| !entries(&without).contains(entry)).unwrap();
    assert!(at_log_on.symlink_metadata().is_err());

    let removed = machine.run(&program, &["uninstall"]).output_in_time().unwrap();
    assert_done(&removed);
    assert_eq!(machine.files().unwrap(), before);
}

/// It ended in order, and says so to whom asks.
fn has_ended(client: ShimClient) -> ShimMachine {
    let (machine, status, output) = client.wait().unwrap();
    assert!(status.success(), "{status}: {output}");
    assert_refused(&machine.shim(&["status"]).output_in_time().unwrap(), "no shim is running");
    machine
}

fn works(site: &Site, client: &ShimClient) {
    let web = client.listens_for("mgmt", 80).unwrap();
    carries::files(&site.web, || client.command("curl"), &format!("http://{web}")).unwrap();
}

fn private_key(profile: &str) -> &str {
    let line = profile.lines().find_map(|line| line.strip_prefix("PrivateKey = "));
    line.unwrap().trim()
}

fn assert_key_is_as_the_system_has_it(system: System, profile: &str) {
    let sealed = private_key(profile).starts_with("dpapi:");
    assert_eq!(sealed, system == System::Windows, "{system:?}");
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

fn assert_refused(output: &Output, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(words) && text.contains("hint: "), "{text}");
    for of_unix in ["chmod", "chown", "sudo", "sysctl", "XDG_"] {
        assert!(!text.contains(of_unix), "{text}");
    }
}

fn programs() -> Vec<&'static str> {
    [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()
}
