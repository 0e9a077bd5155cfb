//! A changed configuration is applied to the running gateway: whole or not at all, also to flows that are open.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};
use vmsgate_tests::{
    curl::Download,
    process::{PATIENCE, capture},
    product::Flow,
    recording::RECORDER,
    require::can_run,
    site::{self, Site},
    stock,
    topology::{Family, Server},
    web::FILE_BYTES,
};

#[test]
fn a_service_taken_from_the_role_is_cut_in_mid_flow_and_recorded_and_other_flows_go_on() {
    let Some(mut site) = site() else { return };
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let download = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    download.wait_for(1_000_000).unwrap();
    let recorder = SocketAddr::new(Server::Rec01.v4().into(), RECORDER);
    let watching = {
        let (clip, ffmpeg) = (site.clip.clone(), client.command("ffmpeg"));
        std::thread::spawn(move || clip.watch(ffmpeg, &format!("tcp://{recorder}")))
    };
    while !site.recording.arrivals().iter().any(|arrival| arrival.to == recorder) {
        std::thread::yield_now();
    }

    site.configure("\n[role.smart-client]\nallow = [\"rec*:recording-server\"]\n").unwrap();
    site.gateway().unwrap().signal(Signal::SIGHUP).unwrap();
    download.wait_for_silence(Duration::from_secs(2)).unwrap();
    watching.join().unwrap().unwrap();
    download.finish().unwrap_err();

    site.stop().unwrap();
    let flows: Vec<Flow> = site.records("flows", &["--server", "mgmt"]).unwrap();
    let [flow] = &flows[..] else { panic!("{flows:?}") };
    assert!(flow.ended.is_some(), "{flow:?}");
    let reason = flow.reason.as_deref().unwrap();
    assert!(reason.contains("policy"), "cut because of: {reason}");
}

#[test]
fn an_invalid_new_file_is_refused_whole_and_reported_and_the_old_one_stays_in_force() {
    let Some(mut site) = site() else { return };
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let download = Download::start(client.command("curl"), "http://192.168.10.10/slow").unwrap();
    download.wait_for(1_000_000).unwrap();
    let good = fs::read_to_string(site.config()).unwrap();
    site.configure("\n[role.smart-client]\nallow = []\n\n[nonsense]\nkey = 1\n").unwrap();
    let bad = fs::read_to_string(site.config()).unwrap();
    site.gateway().unwrap().signal(Signal::SIGHUP).unwrap();
    becomes(&site, "503");
    let not_ready = site.ask("/readyz").unwrap();
    assert!(not_ready.contains("configuration-in-force"), "{not_ready}");
    assert_eq!(download.finish().unwrap(), (FILE_BYTES as u64, site.web.checksum.clone()));

    fs::write(site.config(), &good).unwrap();
    site.gateway().unwrap().signal(Signal::SIGHUP).unwrap();
    becomes(&site, "200");
    let printed = site.stop().unwrap();
    assert!(printed.contains("nonsense"), "the log names what is wrong: {printed}");
    let recorded = |kind: &str| -> Value {
        let lines = capture(&mut site.vmsgate(&["audit", "export"])).unwrap();
        let mut records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.find(|record| record["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {lines}"))
    };
    assert_eq!(recorded("gateway.started")["config_hash"], sha256(&good));
    let refused = recorded("gateway.config-refused");
    assert_eq!(refused["config_hash"], sha256(&bad));
    assert_eq!(refused["errors"], 2);
    assert!(refused["error"].as_str().unwrap().contains("`allow` in [role.smart-client]"), "{refused}");
    assert_eq!(recorded("gateway.config")["config_hash"], sha256(&good));
}

/// As `sha256sum` prints it.
fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn becomes(site: &Site, status: &str) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = site.ask("/readyz").unwrap();
        if answer.starts_with(&format!("HTTP/1.1 {status}")) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "/readyz does not become {status}: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn site() -> Option<Site> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    can_run(&programs).then(|| Site::start(Family::V4).unwrap())
}
