//! Ten thousand clients connect, and renew their keys, while one of them carries data; and no command about keys takes long
//! because there are so many.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use serde_json::Value;
use vmsgate_tests::{
    curl::Download,
    load::handshakes,
    process::capture,
    require::can_run,
    site::{self, SOURCES, Site},
    stock::{self, StockClient},
    topology::{Family, PORT, Topology},
    web::FILE_BYTES,
};

const CLIENTS: usize = 10_000;
/// Handshakes in flight: as if all clients had been told to renew at once.
const WINDOW: usize = 256;

#[test]
fn ten_thousand_clients_connect_and_renew_together_while_a_download_goes_on_and_loses_no_byte() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let mut site = Site::prepare(Family::V4).unwrap();
    let profile = site.add_client("anna", "smart-client").unwrap();
    let keys = site.register(CLIENTS).unwrap();
    site.run().unwrap();
    let crowd = site.topology.add_crowd().unwrap();
    let shake_hands = || -> Value {
        let gateway = (Topology::gateway_address(Family::V4), PORT).into();
        let work = || handshakes::run(&keys, gateway, SOURCES, WINDOW).unwrap();
        serde_json::to_value(crowd.namespace.run(work).unwrap()).unwrap()
    };

    let connected = shake_hands();
    println!("connected: {connected}");
    assert_eq!(connected["completed"], CLIENTS, "{connected}");

    let client = StockClient::up(site.topology.add_client().unwrap(), &profile).unwrap();
    let download = Download::start(client.command("curl"), "http://192.168.10.10/slow").unwrap();
    download.wait_for(1_000_000).unwrap();
    let renewed = shake_hands();
    println!("renewed: {renewed}");
    assert_eq!(renewed["completed"], CLIENTS, "{renewed}");
    assert_eq!(download.finish().unwrap(), (FILE_BYTES as u64, site.web.checksum.clone()));
    let status = site.status().unwrap();
    assert_eq!(status.sessions.len(), CLIENTS + 1, "every one has a session");
    assert_eq!(status.totals.drops.get("handover-full"), None, "{:?}", status.totals.drops);
}

#[test]
fn with_ten_thousand_clients_a_list_takes_a_second_a_revocation_two_and_a_rotation_of_the_gateway_five() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let mut site = Site::prepare(Family::V4).unwrap();
    let profile = site.add_client("anna", "smart-client").unwrap();
    site.register(CLIENTS).unwrap();
    site.run().unwrap();
    let within = |seconds: u64, arguments: &[&str]| -> Value {
        let began = Instant::now();
        let output = capture(&mut site.keys(arguments)).unwrap();
        let took = began.elapsed();
        println!("{arguments:?}: {took:?}");
        assert!(took < Duration::from_secs(seconds), "{arguments:?} took {took:?}");
        serde_json::from_str(&output).unwrap()
    };

    let listed = within(1, &["client", "list", "--json"]);
    assert_eq!(listed["clients"].as_array().unwrap().len(), CLIENTS + 1);

    within(5, &["gateway", "rotate", "--json"]);
    site.wait_for_identities(2).unwrap();

    let client = StockClient::up(site.topology.add_client().unwrap(), &profile).unwrap();
    let download = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    download.wait_for(1_000_000).unwrap();
    let revoked = within(3, &["client", "revoke", "anna", "--yes", "--json"]);
    let proof = &revoked["gateways"][0];
    println!("{proof}");
    assert!(proof["cut_ms"].as_u64().is_some_and(|ms| ms < 2000), "{proof}");
    assert!(proof["last_packet_ms"].as_u64().is_none_or(|ms| ms < 2000), "{proof}");
    assert_eq!(proof["flows_cut"], 1, "{proof}");
}
