//! The gateway carries traffic as an ordinary user without a single capability.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use vmsgate_tests::{
    curl,
    process::{User, capture},
    require::can_run,
    site::{self, Egress, Site},
    stock,
    topology::Family,
};

#[test]
fn the_gateway_holds_no_capability_and_cannot_gain_one_while_it_carries_traffic() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let mut site = Site::start(Family::V4).unwrap();
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let (_, checksum) = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(checksum, site.web.checksum);

    let gateway = site.gateway().unwrap();
    let threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap().collect();
    assert!(threads.len() > 2, "{threads:?}");
    for thread in threads {
        check(&fs::read_to_string(thread.unwrap().path().join("status")).unwrap());
    }
}

fn check(status: &str) {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} is missing:\n{status}")).trim().to_owned()
    };
    let id = User::Gateway.uid();
    for ids in ["Uid", "Gid"] {
        assert_eq!(field(ids), format!("{id}\t{id}\t{id}\t{id}"), "{ids}");
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    // Emptying the bounding set takes a capability of its own; without new privileges it bounds nothing.
    let net_admin = matches!(Egress::asked_for().unwrap(), Egress::Tun { .. });
    assert_eq!(field("CapBnd"), if net_admin { "0000000000001000" } else { "0000000000000000" });
    assert_eq!(field("NoNewPrivs"), "1");
}

#[test]
fn the_gateway_listens_on_its_udp_port_and_on_loopback_and_nowhere_else() {
    if !can_run(&[&site::PROGRAMS[..], &["ss"]].concat()) {
        return;
    }
    let site = Site::start(Family::V4).unwrap();
    let sockets = capture(site.topology.gateway.command("ss").args(["-H", "-l", "-n", "-t", "-u"])).unwrap();
    let mut listening: Vec<_> = sockets
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some(format!("{} {}", columns.next()?, columns.nth(3)?))
        })
        .collect();
    listening.sort();
    // One socket per worker.
    listening.dedup();
    assert_eq!(listening, [format!("tcp {}", site::ADMIN), "udp *:51820".to_owned()]);
}
