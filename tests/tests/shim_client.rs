//! `vmsgate-shim up`, run by an ordinary user, does an operator's work through the gateway.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use vmsgate_tests::{
    carries,
    process::{User, capture},
    recording::RECORDER,
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    topology::{Family, Server},
};

#[test]
fn over_ipv4_outside_files_and_video_arrive_whole_over_both_families_inside() {
    works_with(Family::V4);
}

#[test]
fn over_ipv6_outside_files_and_video_arrive_whole_over_both_families_inside() {
    works_with(Family::V6);
}

#[test]
fn sixteen_streams_at_once_play_without_a_lost_frame() {
    let Some(site) = site(Family::V4) else { return };
    let client = ShimClient::up(&site, "anna-laptop", "smart-client").unwrap();
    let recorders = ["rec01", "rec02"].map(|server| client.listens_for(server, RECORDER).unwrap());
    let urls: Vec<_> =
        recorders.iter().cycle().take(16).map(|recorder| format!("tcp://{recorder}")).collect();
    carries::streams(&site.clip, || client.command("ffmpeg"), &urls).unwrap();
}

#[test]
fn the_shim_runs_without_capabilities_and_names_the_servers_for_the_hosts_file() {
    let Some(site) = site(Family::V4) else { return };
    let client = ShimClient::up(&site, "anna-laptop", "smart-client").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", client.process().id())).unwrap();
    let id = User::Client.uid();
    assert!(status.contains(&format!("Uid:\t{id}\t{id}\t{id}\t{id}\n")), "{status}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
    }
    let hosts = capture(&mut client.shim(&["hosts"])).unwrap();
    for server in ["mgmt", "rec01", "rec02"] {
        let address = client.report().unwrap().servers.into_iter().find(|offered| offered.name == server);
        let address = address.unwrap().loopback.unwrap().to_string();
        let line = hosts.lines().find(|line| line.starts_with(&address)).unwrap();
        assert!(line.split_whitespace().any(|name| name == server), "{hosts}");
        assert!(line.split_whitespace().any(|name| name == format!("{server}.vms.local")), "{hosts}");
    }
}

fn works_with(outside: Family) {
    let Some(site) = site(outside) else { return };
    let (web, recorder) =
        ("[::1]:8080".parse::<SocketAddr>().unwrap(), "[::1]:7563".parse::<SocketAddr>().unwrap());
    let forwards = [
        format!("{web}={}", SocketAddr::new(Server::Mgmt.v6().into(), 80)),
        format!("{recorder}={}", SocketAddr::new(Server::Rec01.v6().into(), RECORDER)),
    ];
    let profile = site.add_client("anna-laptop", "smart-client").unwrap();
    let arguments = ["--forward", &forwards[0], "--forward", &forwards[1]];
    let client = ShimClient::up_with(&site, &profile, "anna-laptop", &arguments).unwrap();

    for web in [client.listens_for("mgmt", 80).unwrap(), web] {
        carries::files(&site.web, || client.command("curl"), &format!("http://{web}")).unwrap();
    }
    let urls = [client.listens_for("rec01", RECORDER).unwrap(), recorder].map(|at| format!("tcp://{at}"));
    carries::streams(&site.clip, || client.command("ffmpeg"), &urls).unwrap();
}

fn site(outside: Family) -> Option<Site> {
    can_run(&[&site::PROGRAMS[..], &["curl"]].concat()).then(|| Site::start(outside).unwrap())
}
