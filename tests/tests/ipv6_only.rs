//! The client's network has IPv6 only: what can work does, and what cannot is told in one line.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use vmsgate_tests::{
    curl,
    process::InTime,
    require::can_run,
    shim::{ShimClient, ShimMachine},
    site::{self, Site},
    topology::{Family, PORT, Topology},
    web::FILE_BYTES,
};

#[test]
fn an_ipv6_endpoint_works() {
    let Some(site) = site() else { return };
    let profile = site.add_client("anna", "smart-client").unwrap();
    let machine = machine(&site);
    let path = machine.take(&profile, "anna").unwrap();
    fetches(&site, &machine.up(path, &[]).unwrap());
}

#[test]
fn an_ipv4_endpoint_is_told_and_with_an_ipv6_one_beside_it_works() {
    let Some(site) = site() else { return };
    let [v4, v6] = Family::BOTH.map(|family| SocketAddr::new(Topology::gateway_address(family), PORT));
    let profile = site.add_client("anna", "smart-client").unwrap().through(v4);
    let machine = machine(&site);
    let path = machine.take(&profile, "anna").unwrap();
    let file = path.to_str().unwrap();

    let output = machine.shim(&["up", file, "--quiet"]).output_in_time().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let told = format!("error: this network has IPv6 only, and the gateway's address {} is IPv4\n", v4.ip());
    assert!(
        error.contains(&told) && error.contains("hint: ask your administrator for an endpoint"),
        "{error}"
    );

    // As it would know from a start in another network.
    let addresses: Vec<_> =
        profile.values("Address").into_iter().map(|net| net.split('/').next().unwrap()).collect();
    let known = serde_json::json!({
        "schema_version": 1, "endpoint": v4.to_string(), "addresses": addresses, "endpoints": [v6.to_string()],
    });
    let memory = machine.path("anna.conf.known");
    std::fs::write(&memory, known.to_string()).unwrap();
    std::fs::set_permissions(&memory, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fetches(&site, &machine.up(path, &[]).unwrap());
}

fn fetches(site: &Site, client: &ShimClient) {
    let web = client.listens_for("mgmt", 80).unwrap();
    let fetched = curl::fetch(client.command("curl"), &format!("http://{web}/file")).unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
}

/// A machine without IPv4.
fn machine(site: &Site) -> ShimMachine {
    let machine = ShimMachine::new(site, "anna").unwrap();
    machine.host.namespace.ip(&format!("addr del {}/24 dev eth0", machine.host.v4)).unwrap();
    machine
}

fn site() -> Option<Site> {
    can_run(&[&site::PROGRAMS[..], &["curl"]].concat()).then(|| Site::start(Family::V6).unwrap())
}
