//! A service manager passes the gateway its sockets: those of a socket unit, or those that it was asked to keep over a restart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::UdpSocket;

use vmsgate_tests::{
    curl,
    manager::ServiceManager,
    process::PATIENCE,
    profile::Profile,
    raw::RawClient,
    require::can_run,
    site::{self, Site},
    stock::{self, StockClient},
    topology::{ClientHost, Family, PORT},
    web::FILE_BYTES,
};

const KEPT: [&str; 3] = ["vmsgate-[__]_51820-00", "vmsgate-[__]_51820-01", "vmsgate-[__]_51820-02"];

#[test]
fn what_clients_send_while_the_gateway_restarts_is_answered_when_it_is_back() {
    let Some((mut site, manager)) = site() else { return };
    site.run_under(&manager).unwrap();
    manager.wait_until_told("READY=1", 1).unwrap();
    assert_eq!(manager.kept(), KEPT[..2]);
    let (early, early_profile) = client(&site, "early");
    let (late, late_profile) = client(&site, "late");
    let stock = StockClient::up(early, &early_profile).unwrap();
    works(&site, &stock);

    site.stop().unwrap();
    manager.wait_until_told("STOPPING=1", 1).unwrap();
    let mut caller = RawClient::calling(&late, &late_profile).unwrap();
    site.run_under(&manager).unwrap();
    assert!(caller.is_answered(PATIENCE).unwrap(), "it had called before the gateway was back");
    manager.wait_until_told("READY=1", 2).unwrap();
    assert_eq!(manager.kept(), KEPT[..2], "it was asked to keep nothing twice");
    works(&site, &stock);
}

#[test]
fn sockets_that_the_configuration_no_longer_wants_are_let_go() {
    let Some((mut site, manager)) = site() else { return };
    site.run_under(&manager).unwrap();
    site.stop().unwrap();
    set_workers(&site, 2, 3);
    site.run_under(&manager).unwrap();
    assert_eq!(manager.kept(), KEPT);
    let (host, profile) = client(&site, "anna-laptop");
    works(&site, &StockClient::up(host, &profile).unwrap());
}

#[test]
fn the_sockets_of_a_socket_unit_are_used_and_the_workers_are_as_many() {
    let Some((mut site, manager)) = site() else { return };
    set_workers(&site, 2, 0);
    let socket = site.topology.gateway.run(|| UdpSocket::bind(("::", PORT))).unwrap().unwrap();
    manager.add("vmsgate.socket", socket);
    site.run_under(&manager).unwrap();
    assert_eq!(manager.kept(), ["vmsgate.socket"]);
    let (host, profile) = client(&site, "anna-laptop");
    works(&site, &StockClient::up(host, &profile).unwrap());
    site.stop().unwrap();

    set_workers(&site, 0, 4);
    let passed = manager.passing(&site.run_command()).unwrap();
    let (status, said) = passed.start("vmsgate run").unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("passes 1 sockets for [::]:51820, but the gateway has 4 workers"), "{said}");
    assert!(said.contains("ReusePort=true"), "{said}");
}

/// Its gateway has two workers.
fn site() -> Option<(Site, ServiceManager)> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl", "bash"]].concat();
    can_run(&programs).then(|| {
        let site = Site::prepare(Family::V4).unwrap();
        let manager = ServiceManager::start(site.folder()).unwrap();
        (site, manager)
    })
}

fn set_workers(site: &Site, before: u8, after: u8) {
    let text = std::fs::read_to_string(site.config()).unwrap();
    let changed = text.replacen(&format!("workers = {before}\n"), &format!("workers = {after}\n"), 1);
    assert_ne!(text, changed);
    std::fs::write(site.config(), changed).unwrap();
}

fn client(site: &Site, name: &str) -> (ClientHost, Profile) {
    let profile = site.add_client(name, "smart-client").unwrap();
    (site.topology.add_client().unwrap(), profile)
}

fn works(site: &Site, client: &StockClient) {
    let fetched = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
}
