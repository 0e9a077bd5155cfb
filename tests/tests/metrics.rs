//! `/metrics` counts what happens, and the registry learns at once what a session was like.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::UdpSocket,
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
    topology::{Family, PORT},
    web::FILE_BYTES,
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

#[test]
fn what_happens_at_the_site_moves_its_number() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let mut site = Site::prepare(Family::V4).unwrap();
    // Nobody listens there.
    site.configure("\n[[ship]]\nname = \"siem\"\nto = \"syslog+tcp://127.0.0.1:9\"\n").unwrap();
    site.run().unwrap();
    let before = Numbers::of(&site);
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    let mut refused = client.command("curl");
    refused.args(["--connect-timeout", "5"]);
    curl::fetch(refused, "http://192.168.10.10:1433/").unwrap_err();
    site.topology
        .gateway
        .run(|| UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", ("127.0.0.1", PORT)).unwrap())
        .unwrap();
    let grow = [
        "vmsgate_clients",
        "vmsgate_handshakes_total{result=\"accepted\"}",
        "vmsgate_bytes_total{direction=\"received\"}",
        "vmsgate_bytes_total{direction=\"sent\"}",
        "vmsgate_packets_total{direction=\"received\"}",
        "vmsgate_packets_total{direction=\"sent\"}",
        "vmsgate_server_bytes_total{server=\"mgmt\",direction=\"received\"}",
        "vmsgate_server_bytes_total{server=\"mgmt\",direction=\"sent\"}",
        "vmsgate_server_packets_total{server=\"mgmt\",direction=\"received\"}",
        "vmsgate_server_packets_total{server=\"mgmt\",direction=\"sent\"}",
        "vmsgate_dropped_packets_total{reason=\"not-wireguard\"}",
        "vmsgate_dropped_packets_total{reason=\"denied\"}",
        "vmsgate_flows_opened_total",
        "vmsgate_flows_closed_total{reason=\"finished\"}",
        "vmsgate_flows_refused_total{reason=\"never-exposed\"}",
        "vmsgate_denials_total{role=\"smart-client\",service=\"none\"}",
        "vmsgate_worker_busy_seconds_total{worker=\"0\"}",
        "vmsgate_audit_records_written_total",
        "vmsgate_shipping_behind_records{receiver=\"siem\"}",
        "process_cpu_seconds_total",
    ];
    let deadline = Instant::now() + PATIENCE;
    let after = loop {
        let now = Numbers::of(&site);
        let still = grow.iter().filter(|series| now.value(series) <= before.value(series));
        let still: Vec<_> = still.collect();
        if still.is_empty() {
            break now;
        }
        assert!(Instant::now() < deadline, "{still:?} do not grow:\n{}", now.0);
        thread::sleep(Duration::from_millis(100));
    };
    let server = after.value("vmsgate_server_bytes_total{server=\"mgmt\",direction=\"sent\"}");
    let whole = after.value("vmsgate_bytes_total{direction=\"sent\"}");
    assert!(server > FILE_BYTES as f64 && server <= whole, "{server} of {whole}");
    assert!(after.value("process_open_fds") <= after.value("process_max_fds"));
    assert!(after.value("process_resident_memory_bytes") > 1e6);
    // Perhaps it was tried in vain before the first look.
    assert!(after.value("vmsgate_shipping_failing{receiver=\"siem\"}") > 0.5);
    for server in ["rec01", "rec02"] {
        assert!(!after.0.contains(&format!("server=\"{server}\"")), "nobody was there:\n{}", after.0);
    }
    for condition in ["event-loop", "udp-bound", "audit-accepting", "configuration-in-force"] {
        assert!(after.value(&format!("vmsgate_condition{{condition=\"{condition}\"}}")) > 0.5);
    }
    // One busy second per second is all that a thread has.
    assert!(after.value("vmsgate_worker_busy_seconds_total{worker=\"0\"}") < PATIENCE.as_secs_f64() * 2.0);
}

/// A page of numbers.
struct Numbers(String);

impl Numbers {
    fn of(site: &Site) -> Self {
        Self(site.ask("/metrics").unwrap())
    }

    /// Zero before it is there.
    fn value(&self, series: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
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
