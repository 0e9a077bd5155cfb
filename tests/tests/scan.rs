//! What a scanner finds from inside a client's tunnel: exactly the ports of its role, and every refusal is on record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, TcpListener, UdpSocket},
};

use vmsgate_tests::{
    process::capture,
    product::Denial,
    recording::RECORDER,
    require::can_run,
    site::{self, Site},
    sniffer::Sniffer,
    stock::{self, StockClient},
    topology::{Family, Server},
};

/// Ports of services that Windows servers, recorders and cameras speak over UDP.
const COMMON_UDP: &str =
    "53,67,69,88,111,123,137,138,161,162,389,443,500,514,554,1434,1900,3389,3702,4500,5353,7563,8844";

#[test]
fn a_scan_of_all_tcp_ports_finds_exactly_the_roles_ports_and_every_refusal_is_on_record() {
    let Some(mut site) = site() else { return };
    let client = site.stock_client("scanner", "smart-client").unwrap();
    let sniffer = Sniffer::start(&site.topology.recording).unwrap();
    let found = nmap(&client, &["-sS", "-p1-65535"], &[Server::Mgmt.v4().into(), Server::Rec01.v4().into()]);
    let allowed = BTreeMap::from([
        (Server::Mgmt.v4().into(), BTreeSet::from([80, 443, 22_331])),
        (Server::Rec01.v4().into(), BTreeSet::from([RECORDER])),
    ]);
    assert_eq!(found, allowed);

    let reached: BTreeSet<_> = sniffer
        .seen()
        .unwrap()
        .iter()
        .filter(|seen| seen.opens)
        .map(|seen| (seen.destination, seen.port))
        .collect();
    let expected: BTreeSet<_> =
        allowed.iter().flat_map(|(server, ports)| ports.iter().map(|port| (*server, *port))).collect();
    assert_eq!(reached, expected, "connections that the recording network saw");

    site.stop().unwrap();
    let denials: Vec<Denial> =
        site.records("denials", &["--client", "scanner", "--limit", "1000000"]).unwrap();
    for (server, ports) in &allowed {
        let denied = denied(&denials, "tcp", *server);
        let wrong: Vec<_> =
            (1..=65_535).filter(|port| ports.contains(port) == denied.contains(port)).collect();
        assert!(wrong.is_empty(), "{server}: wrong in the denials: {wrong:?}");
    }
}

#[test]
fn over_ipv6_a_scan_finds_exactly_the_roles_ports() {
    let Some(site) = site() else { return };
    let client = site.stock_client("scanner", "smart-client").unwrap();
    let ports = "1-10000,22331,22333,49152-49400";
    let found =
        nmap(&client, &["-6", "-sS", "-p", ports], &[Server::Mgmt.v6().into(), Server::Rec02.v6().into()]);
    let allowed = BTreeMap::from([
        (Server::Mgmt.v6().into(), BTreeSet::from([80, 443, 22_331])),
        (Server::Rec02.v6().into(), BTreeSet::from([RECORDER])),
    ]);
    assert_eq!(found, allowed);
}

#[test]
fn no_udp_port_of_a_server_answers_and_every_refusal_is_on_record() {
    let Some(mut site) = site() else { return };
    let client = site.stock_client("scanner", "smart-client").unwrap();
    let servers = [Server::Mgmt.v4().into(), Server::Rec01.v4().into()];
    let found = nmap(&client, &["-sU", "-p", COMMON_UDP], &servers);
    assert!(found.values().all(BTreeSet::is_empty), "{found:?}");
    assert!(site.recording.arrivals().iter().all(|arrival| !arrival.udp), "{:?}", site.recording.arrivals());

    site.stop().unwrap();
    let denials: Vec<Denial> =
        site.records("denials", &["--client", "scanner", "--limit", "1000000"]).unwrap();
    let tried: BTreeSet<u16> = COMMON_UDP.split(',').map(|port| port.parse().unwrap()).collect();
    for server in servers {
        assert_eq!(denied(&denials, "udp", server), tried, "{server}");
    }
}

#[test]
fn the_gateways_host_other_clients_and_the_internet_show_nothing() {
    let Some(site) = site() else { return };
    // Open ports that a careless gateway would lead to: on its own host, on every side, and on another client.
    let host = &site.topology.gateway;
    host.ip("addr add 198.51.100.11/24 dev wan").unwrap();
    let _own = host.run(|| (TcpListener::bind("0.0.0.0:8443"), UdpSocket::bind("0.0.0.0:161"))).unwrap();
    let internet = &site.topology.internet;
    let _internet = internet.run(|| TcpListener::bind("198.51.100.1:8443")).unwrap().unwrap();
    let other = site.stock_client("other", "smart-client").unwrap();
    let _other = other.host.namespace.run(|| TcpListener::bind("0.0.0.0:8443")).unwrap().unwrap();
    let other_address = std::fs::read_to_string(site.data().join("other.conf")).unwrap();
    let other_address = vmsgate_tests::profile::Profile::new(other_address);
    let other_address: IpAddr =
        other_address.values("Address")[0].split('/').next().unwrap().parse().unwrap();

    let profile = site.add_client("scanner", "smart-client").unwrap();
    // 127.0.0.1 and the like cannot be routed into a tunnel by a kernel; the hostile client tests send them.
    let targets: [IpAddr; 4] =
        [[192, 168, 10, 1].into(), [198, 51, 100, 11].into(), [198, 51, 100, 1].into(), other_address];
    let ranges: Vec<_> = targets.iter().map(|target| format!("{target}/32")).collect();
    let profile = profile.also_sending(&ranges.join(", "));
    let client = StockClient::up(site.topology.add_client().unwrap(), &profile).unwrap();
    let watching =
        [&site.topology.recording, &other.host.namespace].map(|side| Sniffer::start(side).unwrap());
    let before = site.status().unwrap().totals.flows_refused.values().sum::<u64>();

    let found = nmap(&client, &["-sS", "-p", "1-1024,3389,5985,8443,9586,51820"], &targets);
    assert!(found.values().all(BTreeSet::is_empty), "{found:?}");
    let found = nmap(&client, &["-sU", "-p", "53,161,51820"], &targets);
    assert!(found.values().all(BTreeSet::is_empty), "{found:?}");
    // On its tunnel address the gateway offers its control services and nothing else.
    let gateway: IpAddr = [10, 99, 0, 1].into();
    let found = nmap(&client, &["-sS", "-p1-65535"], &[gateway]);
    assert_eq!(found, BTreeMap::from([(gateway, BTreeSet::from([53, 80]))]));

    let refused = site.status().unwrap().totals.flows_refused.values().sum::<u64>() - before;
    assert!(refused > 4 * 1000, "{refused} refused");
    for (side, sniffer) in ["recording network", "other client"].iter().zip(&watching) {
        let opened: Vec<_> = sniffer.seen().unwrap().into_iter().filter(|seen| seen.opens).collect();
        assert_eq!(opened, [], "the {side} saw connections");
    }
}

#[test]
fn from_the_internet_without_a_key_the_gateway_shows_nothing() {
    let Some(site) = site() else { return };
    let stranger = site.topology.add_client().unwrap();
    let nmap = |arguments: &[&str]| {
        let mut nmap = stranger.namespace.command("nmap");
        nmap.args(["-n", "-Pn", "--max-retries", "2", "-oG", "-"]).args(arguments).arg("198.51.100.10");
        capture(&mut nmap).unwrap()
    };
    let tcp = nmap(&["-sS", "-p1-65535", "--min-rate", "5000"]);
    assert!(!tcp.contains("/open/tcp"), "{tcp}");
    // No answer at all is what nmap calls `open|filtered`; any answer would make it `open`.
    let udp = nmap(&["-sU", "-p51820"]);
    assert!(udp.contains("51820/open|filtered/udp"), "{udp}");
}

/// The ports of an address that are on record as refused.
fn denied(denials: &[Denial], protocol: &str, address: IpAddr) -> BTreeSet<u16> {
    let about =
        denials.iter().filter(|denial| denial.protocol == protocol && denial.destination.address == address);
    about.flat_map(Denial::ports).collect()
}

/// The open ports that nmap finds on each address, over the tunnel.
fn nmap(client: &StockClient, arguments: &[&str], targets: &[IpAddr]) -> BTreeMap<IpAddr, BTreeSet<u16>> {
    let mut nmap = client.root_command("nmap");
    nmap.args(["-n", "-Pn", "--min-rate", "3000", "--max-retries", "3", "-oG", "-"]).args(arguments);
    let report = capture(nmap.args(targets.iter().map(ToString::to_string))).unwrap();
    let mut found: BTreeMap<_, BTreeSet<_>> =
        targets.iter().map(|target| (*target, BTreeSet::new())).collect();
    for line in report.lines().filter(|line| line.contains("Ports: ")) {
        let target: IpAddr = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let ports = line.split("Ports: ").nth(1).unwrap().split(',');
        let open = ports.map(str::trim).filter(|port| port.split('/').nth(1) == Some("open"));
        found
            .get_mut(&target)
            .unwrap()
            .extend(open.map(|port| port.split('/').next().unwrap().parse::<u16>().unwrap()));
    }
    found
}

fn site() -> Option<Site> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["nmap"]].concat();
    can_run(&programs).then(|| Site::start(Family::V4).unwrap())
}
