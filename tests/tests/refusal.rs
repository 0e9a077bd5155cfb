//! A client that is shut out while it is up is told why and whom to ask, hears nothing else, and is back when it is let in again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use vmsgate_tests::{
    curl,
    process::{InTime, PATIENCE, capture},
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    topology::Family,
    web::FILE_BYTES,
};

const CONTACT: &str = "VMS operations, +45 12 34 56 78";

#[test]
fn a_suspended_client_is_told_and_a_resumed_one_works_again_by_itself() {
    let Some(site) = site() else { return };
    let client = ShimClient::up(&site, "anna", "smart-client").unwrap();
    assert_eq!(client.status().unwrap()["contact"], CONTACT, "the profile document tells it");

    capture(&mut site.keys(&["client", "suspend", "anna"])).unwrap();
    let refused = wait_until_refused(&client);
    assert_eq!((&refused["refusal"]["reason"], &refused["contact"]), (&"suspended".into(), &CONTACT.into()));
    let text = client.shim(&["status"]).output_in_time().unwrap();
    assert_eq!(text.status.code(), Some(1));
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("state        refused since "), "{text}");
    assert!(text.contains("\nreason       access with this profile is suspended\n"), "{text}");
    assert!(text.contains(&format!("\ncontact      {CONTACT}\n")), "{text}");

    capture(&mut site.keys(&["client", "resume", "anna"])).unwrap();
    client.wait_until_connected().unwrap();
    let web = client.listens_for("mgmt", 80).unwrap();
    let fetched = curl::fetch(client.command("curl"), &format!("http://{web}/file")).unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
}

#[test]
fn a_revoked_client_is_told_and_its_next_start_says_so_and_ends() {
    let Some(site) = site() else { return };
    let client = ShimClient::up(&site, "anna", "smart-client").unwrap();
    capture(&mut site.keys(&["client", "revoke", "anna", "--yes"])).unwrap();
    assert_eq!(wait_until_refused(&client)["refusal"]["reason"], "revoked");

    let profile = client.profile().to_owned();
    let machine = client.kill().unwrap();
    let output = machine.shim(&["up", profile.to_str().unwrap(), "--quiet"]).output_in_time().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("error: access with this profile was revoked, and the gateway is silent\n"),
        "{error}"
    );
    assert!(error.contains(&format!("hint: ask {CONTACT}; ")), "{error}");
}

fn wait_until_refused(client: &ShimClient) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = client.shim(&["status", "--json"]).output_in_time().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        if report["state"] == "refused" {
            assert_eq!(output.status.code(), Some(1));
            return report;
        }
        assert!(Instant::now() < deadline, "not refused: {report:#}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A site whose gateway tells whom to ask.
fn site() -> Option<Site> {
    if !can_run(&[&site::PROGRAMS[..], &["curl"]].concat()) {
        return None;
    }
    let mut site = Site::prepare(Family::V4).unwrap();
    let text = std::fs::read_to_string(site.config()).unwrap();
    let with_contact = text.replacen("[gateway]\n", &format!("[gateway]\ncontact = \"{CONTACT}\"\n"), 1);
    std::fs::write(site.config(), with_contact).unwrap();
    site.run().unwrap();
    Some(site)
}
