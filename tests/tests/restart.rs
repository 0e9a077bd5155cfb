//! The gateway is restarted, or the client's address changes, in the middle of a session: the same client carries on by
//! itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{SocketAddr, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    curl::{self, Download},
    process::capture,
    product::Session,
    profile::Profile,
    relay::{Path, Relay},
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    stock::{self, StockClient},
    topology::{Family, PORT, Topology},
    web::FILE_BYTES,
};

/// From the moment the gateway is back until the client works again. Generous for a machine with other work, and less than
/// the 15 s after which a stock client would begin to look for the gateway by itself.
const PROMISE: Duration = Duration::from_secs(10);

/// How a run of the gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Crash,
}

#[test]
fn a_stock_client_carries_on_at_once_after_a_restart_and_its_sessions_are_linked() {
    let Some(mut site) = site() else { return };
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    survives(End::Stop, &mut site, || client.command("curl"), "http://192.168.10.10");
}

#[test]
fn a_stock_client_carries_on_at_once_after_a_crash_and_its_sessions_are_linked() {
    let Some(mut site) = site() else { return };
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    survives(End::Crash, &mut site, || client.command("curl"), "http://192.168.10.10");
}

#[test]
fn the_shim_carries_on_at_once_after_a_restart_and_its_sessions_are_linked() {
    let Some(mut site) = site() else { return };
    let client = ShimClient::up(&site, "anna-laptop", "smart-client").unwrap();
    let web = client.listens_for("mgmt", 80).unwrap();
    survives(End::Stop, &mut site, || client.command("curl"), &format!("http://{web}"));
}

#[test]
fn a_download_survives_a_change_of_the_stock_clients_address() {
    let Some(site) = site() else { return };
    let (relay, profile) = through_a_relay(&site);
    let client = StockClient::up(site.topology.add_client().unwrap(), &profile).unwrap();
    survives_roaming(&site, &relay, client.command("curl"), "http://192.168.10.10");
}

#[test]
fn a_download_survives_a_change_of_the_shims_address() {
    let Some(site) = site() else { return };
    let (relay, profile) = through_a_relay(&site);
    let client = ShimClient::up_with(&site, &profile, "roamer", &[]).unwrap();
    let web = client.listens_for("mgmt", 80).unwrap();
    survives_roaming(&site, &relay, client.command("curl"), &format!("http://{web}"));
}

fn survives(end: End, site: &mut Site, curl: impl Fn() -> Command, base: &str) {
    let download = Download::start(curl(), &format!("{base}/steady")).unwrap();
    download.wait_for(2_000_000).unwrap();

    match end {
        End::Stop => drop(site.stop().unwrap()),
        End::Crash => site.kill().unwrap(),
    }
    site.run().unwrap();
    let back = Instant::now();
    loop {
        let mut attempt = curl();
        attempt.args(["--max-time", "2", "--range", "0-99"]);
        if curl::fetch(attempt, &format!("{base}/file")).is_ok() {
            break;
        }
        assert!(back.elapsed() < PROMISE, "not back after {:?}", back.elapsed());
    }
    let took = back.elapsed();
    assert!(took < PROMISE, "back only after {took:?}");
    let fetched = curl::fetch(curl(), &format!("{base}/file")).unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
    is_one_presence(end, site);
}

/// The log has two sessions, of which the second says that it is the first one's continuation.
fn is_one_presence(end: End, site: &Site) {
    let sessions: Vec<Session> = site.records("sessions", &[]).unwrap();
    let [now, before] = &sessions[..] else { panic!("{sessions:?}") };
    let reason = match end {
        End::Stop => "shutdown",
        End::Crash => "gateway-crash",
    };
    assert_eq!(before.reason.as_deref(), Some(reason), "{before:?}");
    assert_eq!((before.continues.as_deref(), now.ended.as_deref()), (None, None), "{sessions:?}");
    assert_eq!(now.continues.as_ref(), Some(&before.session), "{now:?}");
    capture(&mut site.vmsgate(&["audit", "verify"])).unwrap();
}

fn survives_roaming(site: &Site, relay: &Relay, curl: Command, base: &str) {
    let download = Download::start(curl, &format!("{base}/slow")).unwrap();
    download.wait_for(10_000_000).unwrap();
    let changed = relay.change_address().unwrap();
    assert_eq!(download.finish().unwrap(), (FILE_BYTES as u64, site.web.checksum.clone()));
    let endpoints: Vec<_> =
        site.status().unwrap().sessions.into_iter().map(|session| session.endpoint).collect();
    // The relay listens on every address of the router; the gateway sees the one on its link.
    assert_eq!(endpoints, [Some(format!("198.51.100.1:{}", changed.port()))]);
}

/// A relay on the internet between the gateway and a new client of the name `roamer`.
fn through_a_relay(site: &Site) -> (Relay, Profile) {
    let bind = |address: &'static str| site.topology.internet.run(|| UdpSocket::bind(address)).unwrap();
    let inner = bind("198.51.100.1:4500").unwrap();
    let spare = std::sync::Mutex::new(vec![bind("0.0.0.0:0").unwrap(), bind("0.0.0.0:0").unwrap()]);
    let open = move || spare.lock().unwrap().pop().ok_or_else(|| std::io::Error::other("no more sockets"));
    let gateway = SocketAddr::new(Topology::gateway_address(Family::V4), PORT);
    let path = Path { delay: Duration::from_millis(5), loss: 0.0, seed: 1 };
    let relay = Relay::start(inner, gateway, Box::new(open), path).unwrap();
    let profile = site.add_client("roamer", "smart-client").unwrap().through(relay.address());
    (relay, profile)
}

fn site() -> Option<Site> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    can_run(&programs).then(|| Site::start(Family::V4).unwrap())
}
