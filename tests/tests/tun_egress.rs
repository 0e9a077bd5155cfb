//! Egress `tun`: what the kernel is told, what the servers see, and that nothing stays behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::Instant,
};

use vmsgate_tests::{
    curl::{self, Download},
    process::{InTime, PATIENCE, capture},
    product::Flow,
    profile::Profile,
    require::can_run,
    site::{self, Egress, FORWARDING, Site},
    stock::{self, StockClient},
    topology::{Family, Server},
    web::FILE_BYTES,
};

const EVENT_SERVER: u16 = 22_331;
const MASQUERADED: Egress = Egress::Tun { masquerade: true };
const ROUTED: Egress = Egress::Tun { masquerade: false };

#[test]
fn with_masquerade_the_servers_see_the_gateways_address() {
    let Some(mut site) = site(MASQUERADED) else { return };
    site.run().unwrap();
    let client = site.stock_client("anna", "smart-client").unwrap();
    for (family, gateway) in [(Family::V4, "192.168.10.1"), (Family::V6, "fd10:10::1")] {
        assert_eq!(seen_from(&site, &client, family), gateway.parse::<IpAddr>().unwrap());
    }
}

#[test]
fn without_masquerade_the_servers_and_the_records_see_the_clients_own_address() {
    let Some(mut site) = site(ROUTED) else { return };
    site.run().unwrap();
    let client = site.stock_client("anna", "smart-client").unwrap();
    let own = addresses(&site, "anna");
    for family in Family::BOTH {
        let seen = seen_from(&site, &client, family);
        assert!(own.contains(&seen), "{seen} is none of {own:?}");
    }
    site.stop().unwrap();
    let flows: Vec<Flow> = site.records("flows", &["--client", "anna"]).unwrap();
    assert_eq!(flows.len(), 2, "{flows:?}");
    for flow in flows {
        let source = flow.lan_source.as_ref().unwrap();
        assert!(own.contains(&source.address) && source.port.is_some(), "{flow:?}");
    }
}

#[test]
fn a_host_that_does_not_forward_is_refused_with_the_command_that_changes_it() {
    let Some(site) = site(MASQUERADED) else { return };
    for key in FORWARDING {
        site.topology.gateway.sysctl(key, "0").unwrap();
    }
    let refused = site.run_command().output_in_time().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = String::from_utf8(refused.stderr).unwrap();
    for wanted in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        assert!(text.contains(wanted), "{text}");
    }
    assert_eq!(left_behind(&site), "");
}

#[test]
fn without_net_admin_the_start_is_refused_with_what_to_give() {
    let Some(site) = site(MASQUERADED) else { return };
    let refused = site.vmsgate(&["run"]).output_in_time().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("NET_ADMIN"), "{text}");
}

#[test]
fn nothing_stays_behind_after_an_orderly_end_and_after_a_kill_and_the_next_start_works() {
    let Some(mut site) = site(MASQUERADED) else { return };
    for orderly in [true, false] {
        site.run().unwrap();
        let made = left_behind(&site);
        for wanted in ["vmsgate0", "10.99.0.0/16", "fd00:99::/64", "masquerade"] {
            assert!(made.contains(wanted), "{wanted} is missing in:\n{made}");
        }
        if orderly {
            site.stop().unwrap();
        } else {
            site.kill().unwrap();
        }
        until("nothing is left", || left_behind(&site).is_empty());
    }
    site.run().unwrap();
    let client = site.stock_client("anna", "smart-client").unwrap();
    let fetched = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
}

#[test]
fn a_smaller_mtu_on_the_recording_network_is_told_to_the_client() {
    let Some(mut site) = site(MASQUERADED) else { return };
    // The gateway's host then answers large packets with an ICMP error of its own, which has to find the client.
    site.topology.gateway.ip("link set lan mtu 1280").unwrap();
    site.run().unwrap();
    let client = site.stock_client("anna", "smart-client").unwrap();
    for family in Family::BOTH {
        let web = SocketAddr::new(Server::Mgmt.address(family), 80);
        let name = format!("{family}");
        curl::upload(client.command("curl"), &site.web.file(), &format!("http://{web}/upload/{name}"))
            .unwrap();
        assert_eq!(site.web.uploaded(&name).unwrap(), site.web.checksum);
    }
}

#[test]
fn a_revoked_clients_connections_end_at_the_server_too() {
    let Some(mut site) = site(MASQUERADED) else { return };
    site.run().unwrap();
    let client = site.stock_client("thief", "smart-client").unwrap();
    let stolen = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    stolen.wait_for(1_000_000).unwrap();
    assert_eq!(connections(&site), 1);
    capture(&mut site.keys(&["client", "revoke", "thief", "--yes"])).unwrap();
    until("the server has no connection", || connections(&site) == 0);
}

#[test]
fn clients_of_different_workers_download_at_once_and_every_byte_is_right() {
    let Some(mut site) = site(MASQUERADED) else { return };
    site.run().unwrap();
    let clients: Vec<_> =
        (0..4).map(|n| site.stock_client(&format!("client-{n}"), "smart-client").unwrap()).collect();
    let web = [SocketAddr::new(Server::Mgmt.v4().into(), 80), SocketAddr::new(Server::Mgmt.v6().into(), 80)];
    thread::scope(|scope| {
        for client in &clients {
            for web in web {
                let (command, site) = (client.command("curl"), &site);
                scope.spawn(move || {
                    let fetched = curl::fetch(command, &format!("http://{web}/file")).unwrap();
                    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
                });
            }
        }
    });
    let drops: BTreeMap<String, u64> = site.status().unwrap().totals.drops;
    for never in ["handover-full", "egress-full"] {
        assert_eq!(drops.get(never), None, "{drops:?}");
    }
}

fn site(egress: Egress) -> Option<Site> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl", "nft", "ss"]].concat();
    can_run(&programs).then(|| Site::prepare_with(Family::V4, egress).unwrap())
}

/// Connects to the event server and asks it who came.
fn seen_from(site: &Site, client: &StockClient, family: Family) -> IpAddr {
    let server = SocketAddr::new(Server::Mgmt.address(family), EVENT_SERVER);
    let mut stream = client.host.namespace.run(|| TcpStream::connect(server)).unwrap().unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    site.recording.arrivals().iter().rfind(|arrival| arrival.to == server).unwrap().from.ip()
}

/// The tunnel addresses in a client's profile.
fn addresses(site: &Site, client: &str) -> Vec<IpAddr> {
    let profile = fs::read_to_string(site.data().join(format!("{client}.conf"))).unwrap();
    let lines: Vec<String> =
        Profile::new(profile).values("Address").iter().map(|line| (*line).to_string()).collect();
    let addresses = lines.iter().flat_map(|line| line.split(','));
    addresses.map(|address| address.trim().split('/').next().unwrap().parse().unwrap()).collect()
}

/// What the gateway made in its host's kernel.
fn left_behind(site: &Site) -> String {
    let host = &site.topology.gateway;
    let shows: [&[&str]; 4] = [
        &["ip", "-o", "link", "show", "type", "tun"],
        &["ip", "route", "show", "10.99.0.0/16"],
        &["ip", "-6", "route", "show", "fd00:99::/64"],
        &["nft", "list", "ruleset"],
    ];
    shows.iter().map(|show| capture(host.command(show[0]).args(&show[1..])).unwrap()).collect()
}

/// Established connections to the web server.
fn connections(site: &Site) -> usize {
    let mut ss = site.topology.recording.command("ss");
    capture(ss.args(["-Htn", "state", "established", "sport", "=", ":80"])).unwrap().lines().count()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::yield_now();
    }
}
