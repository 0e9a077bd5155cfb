//! `vmsgate-shim up --mode tun` on Windows, which Wine plays; Wintun's library is played too, and a bridge has the
//! interface on this system, so that stock programs use it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, path::Path};

use nix::sys::signal::Signal;
use vmsgate_tests::{
    carries,
    process::{InTime, Process, User, capture, command},
    recording::RECORDER,
    require::can_run_windows,
    shim::ShimMachine,
    site::{self, Site},
    topology::{Family, Server},
    wine::WINTUN_PORTS,
};

const RULES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig";

#[test]
fn on_windows_stock_programs_reach_the_servers_by_their_own_addresses_through_wintun() {
    if !can_run_windows(&[&site::PROGRAMS[..], &["curl", "ffmpeg", "socat"]].concat()) {
        return;
    }
    let site = Site::start(Family::V4).unwrap();
    let profile = site.add_client("anna", "smart-client").unwrap();
    let machine = ShimMachine::windows(&site, "anna").unwrap();
    let file = machine.take(&profile, "anna").unwrap();

    let refused = machine.shim(&["up", "anna.conf", "--mode", "tun"]).output_in_time().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("wintun.dll") && text.contains("hint: take wintun.dll"), "{text}");

    machine.wine().unwrap().add_wintun().unwrap();
    let client = machine.up(file, &["--mode", "tun"]).unwrap().wait_until_routed().unwrap();
    let interface = client.report().unwrap().interface.unwrap();
    assert_eq!(interface.name, "vmsgate-anna");
    let servers = Server::ALL.iter().flat_map(|server| Family::BOTH.map(|family| server.address(family)));
    assert!(servers.clone().all(|server| interface.routes.contains(&server)), "{interface:?}");

    // What Windows would do with those routes, this system does.
    let host = &client.machine.host.namespace;
    let [near, far] = WINTUN_PORTS;
    let mut bridge = command(host, User::Root, "socat");
    bridge.args(["-d", "-d"]).arg("TUN,tun-name=wintun,tun-type=tun,iff-no-pi,iff-up");
    bridge.arg(format!("UDP4:127.0.0.1:{near},bind=127.0.0.1:{far}"));
    let bridge = Process::start("socat", bridge).unwrap();
    bridge.wait_for_line("the bridge", |line| line.contains("starting data transfer loop")).unwrap();
    let mut commands = "link set wintun mtu 1280\n".to_owned();
    for address in profile.values("Address") {
        let sure = if address.contains(':') { " nodad" } else { "" };
        commands += &format!("addr add {address} dev wintun{sure}\n");
    }
    commands += "route add 192.168.10.0/24 dev wintun\nroute add fd10:10::/64 dev wintun\n";
    host.ip(&commands).unwrap();
    let mut urls = Vec::new();
    for family in Family::BOTH {
        let web = SocketAddr::new(Server::Mgmt.address(family), 80);
        carries::files(&site.web, || client.command("curl"), &format!("http://{web}")).unwrap();
        urls.push(format!("tcp://{}", SocketAddr::new(Server::Rec01.address(family), RECORDER)));
    }
    carries::streams(&site.clip, || client.command("ffmpeg"), &urls).unwrap();

    // The site's names are the gateway's business, and nobody's any more at the end.
    let rules =
        |machine: &ShimMachine| capture(&mut machine.run(Path::new("reg"), &["query", RULES, "/s"])).unwrap();
    let rule = rules(&client.machine);
    for wanted in ["GenericDNSServers", "10.99.0.1", "ConfigOptions"] {
        assert!(rule.contains(wanted), "{wanted} is missing:\n{rule}");
    }
    client.process().signal(Signal::SIGINT).unwrap();
    let (machine, status, output) = client.wait().unwrap();
    assert!(status.success(), "{status}: {output}");
    let rule = rules(&machine);
    assert!(!rule.contains("GenericDNSServers"), "{rule}");
}
