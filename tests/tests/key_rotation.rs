//! Keys change under a live connection, and it does not notice. The old ones then get no answer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    counted::{self, Listener},
    curl,
    process::{InTime, capture},
    profile::Profile,
    raw,
    recording::RECORDER,
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    stock::{self, StockClient},
    topology::{Family, Server},
};

/// A wall of a dozen cameras.
const BITS: u64 = 50_000_000;
const STREAM: Duration = Duration::from_secs(30);
/// Beside the recorders, which play a clip there.
const PORT: u16 = RECORDER + 1;
/// A registry change is in force within this time.
const IN_FORCE: Duration = Duration::from_secs(2);
/// For so long the older key of a client goes on after the newer one was heard, and some more.
const GRACE: Duration = Duration::from_secs(45);

#[test]
fn a_stream_loses_no_byte_while_client_key_preshared_key_and_gateway_identity_are_rotated_and_the_old_ones_end()
 {
    let Some(site) = site() else { return };
    let client = ShimClient::up(&site, "anna-laptop", "smart-client").unwrap();
    let first = Profile::new(std::fs::read_to_string(client.profile()).unwrap());
    let address = client.listens_for("rec01", PORT).unwrap();
    let begun = Instant::now();
    let stream = Listener::connect(&client.machine.host.namespace, address).unwrap();
    stream.wait_for_more(BITS / 8).unwrap();
    wait_until(&client, "an agreed pre-shared key", |report| report["keys"]["post_quantum"] == true);

    // The client's key pair, and the pre-shared key with it.
    capture(&mut client.shim(&["rotate"])).unwrap();
    stream.wait_for_more(BITS / 8).unwrap();
    let second = Profile::new(std::fs::read_to_string(client.profile()).unwrap());
    assert_ne!(first.key("PrivateKey").unwrap(), second.key("PrivateKey").unwrap());
    assert_ne!(first.key("PresharedKey").unwrap(), second.key("PresharedKey").unwrap());
    wait_until(&client, "another agreed pre-shared key", |report| report["keys"]["post_quantum"] == true);

    // The gateway's identity.
    capture(&mut site.keys(&["gateway", "rotate"])).unwrap();
    stream.wait_for_more(BITS / 8).unwrap();
    capture(&mut client.shim(&["rotate"])).unwrap();
    site.wait_until_everybody_moved(Duration::from_secs(45)).unwrap();
    let third = Profile::new(std::fs::read_to_string(client.profile()).unwrap());
    assert_ne!(second.key("PublicKey").unwrap(), third.key("PublicKey").unwrap());
    capture(&mut site.keys(&["gateway", "retire"])).unwrap();

    while begun.elapsed() < STREAM {
        stream.wait_for_more(BITS / 8).unwrap();
    }
    let heard = stream.finish().unwrap();
    println!("{} bytes, longest pause {:?}", heard.bytes, heard.longest_pause);
    let least = (STREAM.as_secs() - 2) * BITS / 8;
    assert!(heard.bytes >= least, "{} of {least} bytes", heard.bytes);
    assert_eq!(site.status().unwrap().sessions.len(), 1, "the session went on");

    // Nobody answers the keys of before.
    for old in [first, second] {
        assert_no_answer(&site, &old, GRACE);
    }
}

#[test]
fn a_role_that_requires_post_quantum_keys_loses_no_stream_by_a_rotation() {
    let role = "[role.smart-client]\nallow = [\"rec*:recording-server\"]\nrequire-post-quantum = true\n";
    let Some(site) = site_with(role) else { return };
    let client = ShimClient::up(&site, "anna-laptop", "smart-client").unwrap();
    wait_until(&client, "an agreed pre-shared key", |report| report["keys"]["post_quantum"] == true);
    let address = client.listens_for("rec01", PORT).unwrap();
    let stream = Listener::connect(&client.machine.host.namespace, address).unwrap();
    stream.wait_for_more(BITS / 8).unwrap();
    for _ in 0..2 {
        capture(&mut client.shim(&["rotate"])).unwrap();
        stream.wait_for_more(BITS / 8).unwrap();
    }
    wait_until(&client, "an agreed pre-shared key", |report| report["keys"]["post_quantum"] == true);
    assert!(site.ask("/metrics").unwrap().contains("vmsgate_sessions{post_quantum=\"true\"} 1\n"));
    stream.finish().unwrap();
}

#[test]
fn a_stock_client_on_the_old_identity_works_until_the_identity_is_retired() {
    let Some(site) = site() else { return };
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let profile = Profile::new(site.profile_text("anna-laptop").unwrap());
    curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();

    capture(&mut site.keys(&["gateway", "rotate"])).unwrap();
    // With a new handshake, not with the keys of before.
    drop(client);
    let client = StockClient::up(site.topology.add_client().unwrap(), &profile).unwrap();
    curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();

    let refused = site.keys(&["gateway", "retire"]).output_in_time().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("anna-laptop"), "{text}");

    capture(&mut site.keys(&["gateway", "retire", "--force"])).unwrap();
    assert_no_answer(&site, &profile, IN_FORCE);
}

#[test]
fn a_stock_client_gets_a_new_profile_and_its_old_one_ends_when_the_new_one_is_heard() {
    let Some(site) = site() else { return };
    let old_client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let old = Profile::new(site.profile_text("anna-laptop").unwrap());
    let out = site.data().join("new.conf");
    capture(&mut site.keys(&["client", "rotate", "anna-laptop", "--out", out.to_str().unwrap()])).unwrap();
    // The device has not got it yet.
    curl::fetch(old_client.command("curl"), "http://192.168.10.10/file").unwrap();
    drop(old_client);

    let new = Profile::new(std::fs::read_to_string(&out).unwrap());
    let new_client = StockClient::up(site.topology.add_client().unwrap(), &new).unwrap();
    curl::fetch(new_client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_no_answer(&site, &old, GRACE);
    curl::fetch(new_client.command("curl"), "http://192.168.10.10/file").unwrap();
}

fn wait_until(client: &ShimClient, what: &str, found: impl Fn(&serde_json::Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let report = client.status().unwrap();
        if found(&report) {
            return;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}: {report:#}");
    }
}

/// Nobody answers a handshake with these keys, at the latest after a while.
fn assert_no_answer(site: &Site, profile: &Profile, at_the_latest: Duration) {
    let host = site.topology.add_client().unwrap();
    let deadline = Instant::now() + at_the_latest;
    while raw::is_answered(&host, profile, Duration::from_secs(1)).unwrap() {
        assert!(Instant::now() < deadline, "the old keys still get an answer");
        // A gateway answers a few handshakes a second and then wants proofs.
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn site() -> Option<Site> {
    site_with("")
}

fn site_with(more: &str) -> Option<Site> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    can_run(&programs).then(|| {
        let site = Site::prepare(Family::V4).unwrap();
        site.configure(&format!("\n[service.recording-server]\ntcp = [{RECORDER}, {PORT}]\n{more}")).unwrap();
        let mut site = site;
        site.run().unwrap();
        let address = SocketAddr::new(Server::Rec01.v4().into(), PORT);
        counted::serve(&site.topology.recording, address, BITS).unwrap();
        site
    })
}
