//! `vmsgate-shim up --mode tun`: stock programs reach the servers by their own addresses, the rest of the machine's
//! network is as before, and nothing stays behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Instant,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use vmsgate_tests::{
    carries,
    curl::{self, Download},
    netns::{self, Netns},
    process::{InTime, PATIENCE, Process, User, capture},
    recording::RECORDER,
    require::can_run,
    resolved::{self, NameServer, Resolved},
    shim::{ShimClient, ShimMachine},
    site::{self, Site},
    topology::{Family, Server},
    web::FILE_BYTES,
};

const NAME: &str = "anna-laptop";
const INTERFACE: &str = "vmsgate0";
/// The gateway inside the tunnel.
const GATEWAY: [&str; 2] = ["10.99.0.1", "fd00:99::1"];

#[test]
fn over_ipv4_outside_stock_programs_reach_the_servers_by_their_own_addresses() {
    works_with(Family::V4);
}

#[test]
fn over_ipv6_outside_stock_programs_reach_the_servers_by_their_own_addresses() {
    works_with(Family::V6);
}

fn works_with(outside: Family) {
    let Some(site) = site(outside) else { return };
    let client = up(&site, NAME, "smart-client");
    let mut urls = Vec::new();
    for family in Family::BOTH {
        let web = SocketAddr::new(Server::Mgmt.address(family), 80);
        carries::files(&site.web, || client.command("curl"), &format!("http://{web}")).unwrap();
        let recorders = [Server::Rec01, Server::Rec02];
        urls.extend(recorders.map(|s| format!("tcp://{}", SocketAddr::new(s.address(family), RECORDER))));
    }
    carries::streams(&site.clip, || client.command("ffmpeg"), &urls).unwrap();
}

#[test]
fn exactly_the_servers_of_the_role_are_routed_and_follow_the_gateways_configuration() {
    let Some(mut site) = site(Family::V4) else { return };
    let machine = ShimMachine::new(&site, NAME).unwrap();
    let before = other_routes(&machine.host.namespace);
    let client = up_on(&site, machine, "smart-client");
    let host = &client.machine.host.namespace;
    assert_eq!(routes(host), addresses(&Server::ALL));
    assert_eq!(other_routes(host), before);
    assert_eq!(client.report().unwrap().interface.unwrap().routes, addresses(&Server::ALL));

    let allowed = "\n[role.smart-client]\nallow = [\"rec01:recording-server\"]\n";
    let all = fs::read_to_string(site.config()).unwrap();
    for (text, servers) in
        [(format!("{all}{allowed}"), &[Server::Rec01][..]), (all.clone(), &Server::ALL[..])]
    {
        fs::write(site.config(), text).unwrap();
        site.gateway().unwrap().signal(Signal::SIGHUP).unwrap();
        // The gateway is asked for its servers again with each new key.
        capture(&mut client.shim(&["rotate"])).unwrap();
        let names: Vec<_> = servers.iter().map(|server| server.name()).collect();
        client.wait_until_servers_are(&names).unwrap();
        until("the routes are those of the role", || routes(host) == addresses(servers));
        assert_eq!(other_routes(host), before);
    }
    let fetched = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
}

#[test]
fn a_home_network_with_the_same_numbers_stays_reachable_beside_the_servers() {
    let Some(site) = site(Family::V4) else { return };
    let machine = ShimMachine::new(&site, NAME).unwrap();
    let home = home(&machine, "192.168.10.50");
    // At home there is a machine with the address of the management server, and one of its own.
    let [twin, neighbour] =
        ["192.168.10.10:80", "192.168.10.77:80"].map(|address| greets(&home, address, b"home"));
    assert_eq!(greeting(&machine, twin), *b"home");
    let client = up_on(&site, machine, "smart-client");

    let web = SocketAddr::new(Server::Mgmt.v4().into(), 80);
    carries::files(&site.web, || client.command("curl"), &format!("http://{web}")).unwrap();
    let recorder = SocketAddr::new(Server::Rec01.v4().into(), RECORDER);
    carries::streams(&site.clip, || client.command("ffmpeg"), &[format!("tcp://{recorder}")]).unwrap();
    assert_eq!(greeting(&client.machine, neighbour), *b"home");
}

#[test]
fn a_server_at_an_address_that_the_machine_itself_needs_is_refused_alone_and_followed() {
    let Some(site) = site(Family::V4) else { return };
    let machine = ShimMachine::new(&site, NAME).unwrap();
    // This machine has the address of rec01, and its router that of rec02.
    let _home = home(&machine, "192.168.10.21");
    machine.host.namespace.ip("route add 203.0.113.0/24 via 192.168.10.22").unwrap();
    let client = up_on(&site, machine, "smart-client");
    let host = &client.machine.host.namespace;

    let mut expected = addresses(&Server::ALL);
    for refused in [Server::Rec01, Server::Rec02] {
        expected.remove(&refused.v4().into());
    }
    assert_eq!(routes(host), expected);
    let said = capture(&mut client.shim(&["status"])).unwrap();
    for wanted in [
        "192.168.10.21 is this machine's own address, on home",
        "192.168.10.22 is the router of the network that this machine is in, on home",
        "hint: reach that server with --mode loopback",
    ] {
        assert!(said.contains(wanted), "{wanted} is missing in:\n{said}");
    }
    let fetched = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));

    // In another network they are reached, and in a worse one fewer.
    host.ip("link del home").unwrap();
    until("the other two are routed as well", || routes(host) == addresses(&Server::ALL));
    host.ip("addr add 192.168.10.10/32 dev lo").unwrap();
    expected = addresses(&Server::ALL);
    expected.remove(&Server::Mgmt.v4().into());
    until("the machine's new address is not routed", || routes(host) == expected);
}

#[test]
fn the_gateways_address_outside_never_leads_into_the_tunnel() {
    let Some(mut site) = site(Family::V4) else { return };
    let outside = "198.51.100.10";
    site.configure(&format!(
        "\n[[server]]\nname = \"edge\"\naddress = [\"{outside}\", \"192.168.10.99\"]\nservices = [\"management-server\"]\n"
    ))
    .unwrap();
    site.stop().unwrap();
    site.run().unwrap();
    let client = up(&site, NAME, "smart-client");
    let mut expected = addresses(&Server::ALL);
    expected.insert("192.168.10.99".parse().unwrap());
    assert_eq!(routes(&client.machine.host.namespace), expected);
    let said = capture(&mut client.shim(&["status"])).unwrap();
    assert!(said.contains("198.51.100.10 is also the gateway's address outside"), "{said}");
    let fetched = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(fetched.1, site.web.checksum);
}

#[test]
fn connections_survive_a_change_of_address_and_new_ones_a_restart_of_the_gateway() {
    let Some(mut site) = site(Family::V4) else { return };
    let client = up(&site, NAME, "smart-client");
    let host = &client.machine.host;
    let download = Download::start(client.command("curl"), "http://192.168.10.10/slow").unwrap();
    download.wait_for(1_000_000).unwrap();
    let (net, old) = (host.v4.octets()[2], host.v4);
    host.namespace
        .ip(&format!(
            "addr del {old}/24 dev eth0\naddr add 198.18.{net}.77/24 dev eth0\nroute add default via 198.18.{net}.1"
        ))
        .unwrap();
    assert_eq!(download.finish().unwrap(), (FILE_BYTES as u64, site.web.checksum.clone()));

    site.stop().unwrap();
    site.run().unwrap();
    client.wait_until_connected().unwrap();
    for family in Family::BOTH {
        let web = SocketAddr::new(Server::Mgmt.address(family), 80);
        let fetched = curl::fetch(client.command("curl"), &format!("http://{web}/file")).unwrap();
        assert_eq!(fetched, (FILE_BYTES as u64, site.web.checksum.clone()));
    }
    assert_eq!(routes(&host.namespace), addresses(&Server::ALL));
}

#[test]
fn nothing_stays_behind_after_an_orderly_end_and_after_a_kill() {
    let Some(site) = site(Family::V4) else { return };
    let mut machine = ShimMachine::new(&site, NAME).unwrap();
    let profile = machine.take(&site.add_client(NAME, "smart-client").unwrap(), NAME).unwrap();
    let before = everything(&machine.host.namespace);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let client = ShimClient::up_routing(machine, profile.clone()).unwrap();
        let host = &client.machine.host.namespace;
        assert!(everything(host).contains(INTERFACE));
        assert_eq!(programs(host), 2, "the shim and the process that keeps its routes");
        client.process().signal(signal).unwrap();
        machine = client.into_machine().unwrap();
        let host = &machine.host.namespace;
        until("all is as before", || everything(host) == before && programs(host) == 0);
    }
}

#[test]
fn the_sites_names_are_asked_at_the_gateway_and_all_others_where_they_were_before() {
    let Some(site) = site(Family::V4) else { return };
    if !resolved::can_run() {
        return;
    }
    let machine = ShimMachine::new(&site, NAME).unwrap();
    let profile = machine.take(&site.add_client(NAME, "smart-client").unwrap(), NAME).unwrap();
    let [a, b, c, _] = machine.host.v4.octets();
    let (router, elsewhere) = (Ipv4Addr::new(a, b, c, 1), Ipv4Addr::new(203, 0, 113, 7));
    let home = NameServer::start(&site.topology.internet, router, elsewhere).unwrap();
    let resolver = Resolved::start(&machine.host.namespace).unwrap();
    capture(resolver.command("resolvectl").args(["dns", "eth0", &router.to_string()])).unwrap();
    assert_eq!(resolver.address_of("mgmt.vms.local.example.org").unwrap(), elsewhere);

    let mut up = resolver.command(machine.program().to_str().unwrap());
    up.args(["up", "--mode", "tun"]).arg(&profile);
    let shim = Process::start("vmsgate-shim up", up).unwrap();
    shim.wait_for_line("the shim to be ready", |line| line.contains("ready: gw-test")).unwrap();

    for server in Server::ALL {
        assert_eq!(resolver.address_of(&format!("{}.vms.local", server.name())).unwrap(), server.v4());
    }
    assert_eq!(resolver.address_of("www.example.org").unwrap(), elsewhere);
    let asked = home.asked();
    assert!(asked.contains("www.example.org"), "{asked:?}");
    assert!(!asked.iter().any(|name| name.ends_with("vms.local")), "{asked:?}");

    shim.signal(Signal::SIGKILL).unwrap();
    shim.wait().unwrap();
    let settings = || capture(&mut resolver.command("resolvectl")).unwrap();
    until("the resolver has forgotten the gateway", || !settings().contains(GATEWAY[0]));
    assert_eq!(resolver.address_of("www.example.net").unwrap(), elsewhere);
}

#[test]
fn rights_are_given_up_except_that_for_the_network_in_the_process_that_keeps_the_routes() {
    let Some(site) = site(Family::V4) else { return };
    let client = up(&site, NAME, "smart-client");
    let shim = client.process().id();
    let helper = helper_of(shim);
    for (process, effective) in [(shim, "0000000000000000"), (helper, "0000000000001000")] {
        for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            for (set, expected) in [
                ("CapEff", effective),
                ("CapPrm", effective),
                ("CapInh", "0000000000000000"),
                ("CapAmb", "0000000000000000"),
                ("NoNewPrivs", "1"),
            ] {
                assert_eq!(field(&status, set), expected, "{set} of {process}");
            }
        }
    }
}

#[test]
fn started_by_root_it_works_for_the_profiles_owner_and_keeps_no_other_right() {
    let Some(site) = site(Family::V4) else { return };
    let machine = ShimMachine::new(&site, NAME).unwrap();
    let profile = machine.take(&site.add_client(NAME, "smart-client").unwrap(), NAME).unwrap();
    let client = machine.up_as(User::Root, profile, &["--mode", "tun"]).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", client.process().id())).unwrap();
    let id = User::Client.uid();
    assert_eq!(field(&status, "Uid"), format!("{id}\t{id}\t{id}\t{id}"));
    assert_eq!(
        (field(&status, "CapEff"), field(&status, "CapPrm")),
        ("0000000000000000", "0000000000000000")
    );
    // The owner asks it, and the new key is written into the owner's file.
    capture(&mut client.shim(&["rotate"])).unwrap();
    client.wait_until_servers_are(&["mgmt", "rec01", "rec02"]).unwrap();
    let fetched = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    assert_eq!(fetched.1, site.web.checksum);
}

#[test]
fn without_the_right_one_line_says_what_is_missing_and_how_to_give_it() {
    let Some(site) = site(Family::V4) else { return };
    let machine = ShimMachine::new(&site, NAME).unwrap();
    machine.take(&site.add_client(NAME, "smart-client").unwrap(), NAME).unwrap();
    let before = everything(&machine.host.namespace);
    let refused = machine.shim(&["up", "anna-laptop.conf", "--mode", "tun"]).output_in_time().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = String::from_utf8(refused.stderr).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("error: --mode tun needs the right to configure the network (CAP_NET_ADMIN)"),
        "{text}"
    );
    let hint = lines.find(|line| line.starts_with("hint: ")).unwrap();
    assert!(hint.contains("sudo vmsgate-shim up anna-laptop.conf --mode tun"), "{text}");
    assert!(hint.contains("setcap cap_net_admin+ep"), "{text}");
    assert_eq!(everything(&machine.host.namespace), before);
}

fn site(outside: Family) -> Option<Site> {
    can_run(&[&site::PROGRAMS[..], &["curl"]].concat()).then(|| Site::start(outside).unwrap())
}

fn up(site: &Site, name: &str, role: &str) -> ShimClient {
    up_on(site, ShimMachine::new(site, name).unwrap(), role)
}

fn up_on(site: &Site, machine: ShimMachine, role: &str) -> ShimClient {
    let profile = machine.take(&site.add_client(NAME, role).unwrap(), NAME).unwrap();
    ShimClient::up_routing(machine, profile).unwrap()
}

/// A home network on the interface `home` of the machine; 192.168.10.0/24, like the recording network.
fn home(machine: &ShimMachine, own: &str) -> Netns {
    let home = Netns::create("home").unwrap();
    netns::cable(&machine.host.namespace, "home", &home, "lan").unwrap();
    machine.host.namespace.ip(&format!("addr add {own}/24 dev home")).unwrap();
    home.ip("addr add 192.168.10.77/24 dev lan\naddr add 192.168.10.10/24 dev lan").unwrap();
    home
}

/// A server that says `word` to whoever connects.
fn greets(host: &Netns, address: &str, word: &'static [u8; 4]) -> SocketAddr {
    let address: SocketAddr = address.parse().unwrap();
    let listener = host.run(|| TcpListener::bind(address)).unwrap().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut stream, word);
        }
    });
    address
}

fn greeting(machine: &ShimMachine, from: SocketAddr) -> [u8; 4] {
    let mut stream = machine.host.namespace.run(|| TcpStream::connect(from)).unwrap().unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).unwrap();
    word
}

/// What shall lead into the tunnel: both families of these servers, and the gateway inside.
fn addresses(servers: &[Server]) -> BTreeSet<IpAddr> {
    let servers = servers.iter().flat_map(|server| Family::BOTH.map(|family| server.address(family)));
    GATEWAY.iter().map(|address| address.parse().unwrap()).chain(servers).collect()
}

/// What does lead into the tunnel, as the kernel says; single hosts, or this fails. The interface's own IPv6 address,
/// which the kernel lists like a route, is left out.
fn routes(host: &Netns) -> BTreeSet<IpAddr> {
    let mut all = BTreeSet::new();
    for family in ["-4", "-6"] {
        let text =
            capture(host.command("ip").args(["-j", family, "route", "show", "dev", INTERFACE])).unwrap();
        let routes: Value = serde_json::from_str(&text).unwrap();
        let routes = routes.as_array().unwrap().iter().filter(|route| route["protocol"] != "kernel");
        all.extend(routes.map(|route| route["dst"].as_str().unwrap().parse::<IpAddr>().unwrap()));
    }
    all
}

/// Every route and rule but those into the tunnel.
fn other_routes(host: &Netns) -> Vec<String> {
    let shows: [&[&str]; 4] = [
        &["-4", "route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
        &["-4", "rule"],
        &["-6", "rule"],
    ];
    let all: String = shows.iter().map(|show| capture(host.command("ip").args(*show)).unwrap()).collect();
    all.lines().filter(|line| !line.contains(INTERFACE)).map(ToOwned::to_owned).collect()
}

/// Links, addresses, routes and rules, without what changes by itself.
fn everything(host: &Netns) -> String {
    let shows: [&[&str]; 5] = [
        &["-o", "link", "show"],
        &["-o", "address", "show"],
        &["-4", "route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
        &["rule"],
    ];
    shows.iter().map(|show| capture(host.command("ip").args(*show)).unwrap()).collect()
}

/// How many processes run on a host.
fn programs(host: &Netns) -> usize {
    let pids = capture(std::process::Command::new("ip").args(["netns", "pids", host.name()])).unwrap();
    pids.lines().count()
}

/// The only child.
fn helper_of(process: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    children.trim().parse().unwrap_or_else(|_| panic!("children: {children:?}"))
}

fn field<'s>(status: &'s str, name: &str) -> &'s str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} is missing:\n{status}")).trim()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::yield_now();
    }
}
