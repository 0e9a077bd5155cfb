//! `/metrics` counts what happens, and the registry learns at once what a session was like.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    thread,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    curl,
    process::{PATIENCE, capture},
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    stock,
    topology::Family,
};

#[test]
fn sessions_key_requests_and_ends_are_counted_and_a_session_of_seconds_is_known_as_post_quantum() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let site = Site::start(Family::V4).unwrap();
    let stock = site.stock_client("anna-phone", "smart-client").unwrap();
    curl::fetch(stock.command("curl"), "http://192.168.10.10/file").unwrap();
    let shim = ShimClient::up(&site, "anna-laptop", "smart-client").unwrap();
    wait_for(&site, "vmsgate_sessions{post_quantum=\"true\"} 1");
    wait_for(&site, "vmsgate_sessions{post_quantum=\"false\"} 1");
    wait_for(&site, "vmsgate_key_requests_total{request=\"psk\",result=\"ok\"} 1");
    wait_for(&site, "vmsgate_identities{state=\"active\"} 1");
    assert!(
        site.ask("/metrics").unwrap().contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n")
    );

    wait_for(&site, "vmsgate_clients_expiring 0");
    capture(&mut site.keys(&["client", "expire", "anna-phone", "13d"])).unwrap();
    wait_for(&site, "vmsgate_clients_expiring 1");
    capture(&mut site.keys(&["client", "expire", "anna-phone", "now"])).unwrap();
    wait_for(&site, "vmsgate_clients_expired 1");
    wait_for(&site, "vmsgate_sessions{post_quantum=\"false\"} 0");

    // Long before the gateway tells the registry who is there.
    drop(shim);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let list = capture(&mut site.keys(&["client", "list", "--json"])).unwrap();
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let told = |name: &str| {
            let clients = list["clients"].as_array().unwrap();
            clients.iter().find(|client| client["name"] == name).unwrap()["post_quantum"].clone()
        };
        if (told("anna-laptop"), told("anna-phone")) == (true.into(), false.into()) {
            return;
        }
        assert!(Instant::now() < deadline, "{list:#}");
    }
}

/// The page is made anew once a second.
fn wait_for(site: &Site, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = site.ask("/metrics").unwrap();
        if page.lines().any(|found| found == line) {
            return;
        }
        assert!(Instant::now() < deadline, "{line} does not come:\n{page}");
        thread::sleep(Duration::from_millis(100));
    }
}
