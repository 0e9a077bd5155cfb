//! Revoking or suspending a client cuts its running download in under two seconds and nobody else's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use vmsgate_tests::{
    curl::{self, Download},
    process::capture,
    require::can_run,
    site::{self, Site},
    stock,
    topology::Family,
    web::FILE_BYTES,
};

/// The product's promise, from the command to the last byte that was forwarded.
const PROMISE: Duration = Duration::from_secs(2);
/// Longer than the promise, so that a late byte would be seen.
const SILENCE: Duration = Duration::from_secs(4);

const STEADY: &str = "http://192.168.10.10/steady";
const SLOW: &str = "http://192.168.10.10/slow";

#[test]
fn revoke_cuts_a_running_download_in_under_two_seconds_and_no_other() {
    cut_by(&["client", "revoke", "thief", "--yes"]);
}

#[test]
fn suspend_cuts_a_running_download_in_under_two_seconds_and_resume_lets_the_client_in_again() {
    let Some(site) = cut_by(&["client", "suspend", "thief"]) else { return };
    // The same profile works again, on another machine: nothing about the client was lost.
    capture(&mut site.keys(&["client", "resume", "thief"])).unwrap();
    site.wait_for_clients(2).unwrap();
    let profile = std::fs::read_to_string(site.data().join("thief.conf")).unwrap();
    let profile = vmsgate_tests::profile::Profile::new(profile);
    let client = stock::StockClient::up(site.topology.add_client().unwrap(), &profile).unwrap();
    let fetched = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
}

fn cut_by(command: &[&str]) -> Option<Site> {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return None;
    }
    let site = Site::start(Family::V4).unwrap();
    let (thief, other) =
        (site.stock_client("thief", "smart-client"), site.stock_client("other", "smart-client"));
    let (thief, other) = (thief.unwrap(), other.unwrap());
    let stolen = Download::start(thief.command("curl"), STEADY).unwrap();
    stolen.wait_for(2_000_000).unwrap();
    let honest = Download::start(other.command("curl"), SLOW).unwrap();
    honest.wait_for(2_000_000).unwrap();

    let commanded = Instant::now();
    capture(&mut site.keys(command)).unwrap();
    let cut = stolen.wait_for_silence(SILENCE).unwrap();
    let took = cut.last.unwrap().saturating_duration_since(commanded);
    assert!(took < PROMISE, "the last byte came {took:?} after the command");
    assert_eq!(honest.finish().unwrap(), (FILE_BYTES as u64, site.web.checksum.clone()));

    // It stays out: the session is gone, and no new one is opened.
    let mut again = thief.command("curl");
    again.args(["--connect-timeout", "3"]);
    curl::fetch(again, STEADY).unwrap_err();
    let clients: Vec<_> = site.status().unwrap().sessions.into_iter().map(|session| session.client).collect();
    assert_eq!(clients, ["other"]);
    Some(site)
}
