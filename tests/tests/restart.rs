//! The gateway is restarted in the middle of a session: the same client carries on by itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use vmsgate_tests::{
    require::can_run,
    site::{self, Site},
    stock,
    topology::Family,
    web::{self, Download, FILE_BYTES},
};

/// The product's promise: from the moment the gateway is back until the client works again.
const PROMISE: Duration = Duration::from_secs(15);

#[test]
fn a_stock_client_carries_on_within_fifteen_seconds() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let mut site = Site::start(Family::V4).unwrap();
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let download = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    download.wait_for(2_000_000).unwrap();

    site.stop().unwrap();
    site.run().unwrap();
    let back = Instant::now();
    loop {
        let mut curl = client.command("curl");
        curl.args(["--max-time", "2", "--range", "0-99"]);
        if web::fetch(curl, "http://192.168.10.10/file").is_ok() {
            break;
        }
        assert!(back.elapsed() < PROMISE, "not back after {:?}", back.elapsed());
    }
    let took = back.elapsed();
    assert!(took < PROMISE, "back only after {took:?}");
    let fetched = web::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
}
