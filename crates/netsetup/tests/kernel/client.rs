//! What a client's machine is told: an interface, and routes of single addresses that come and go.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::{fs, thread};

use rustix::event::{PollFd, PollFlags, poll};
use vmsgate_netsetup::{Changes, HostRoutes, SetupError, Surroundings, bring_up, drop_all_but_net_admin};

use crate::namespace::{Namespace, make_tun, sh, sysctl};

fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn client_interface() -> HostRoutes {
    make_tun();
    let own = ["10.99.0.2/32", "fd00:99::2/128"].map(|address| address.parse().unwrap());
    bring_up("vmsgate0", 1420, own.to_vec()).unwrap();
    HostRoutes::new("vmsgate0").unwrap()
}

/// A home network with a router, as DHCP would set it up.
fn home() {
    sh("ip link add home type veth peer name peer");
    sh("ip link set home up");
    sh("ip link set peer up");
    sh("ip address add 192.168.1.50/24 dev home");
    sh("ip route add default via 192.168.1.1 dev home");
    sh("ip route add 192.168.1.9/32 via 192.168.1.2 dev home");
}

#[test]
fn a_machine_that_does_not_forward_gets_its_interface_and_no_route() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        sysctl("ipv4/ip_forward", "0");
        sysctl("ipv6/conf/all/forwarding", "0");
        let _routes = client_interface();
        let link = sh("ip link show dev vmsgate0");
        assert!(link.contains("mtu 1420") && link.contains(",UP"), "{link}");
        assert!(sh("ip -o address show dev vmsgate0").contains("inet 10.99.0.2/32 scope global"));
        assert_eq!(sh("ip -4 route show dev vmsgate0"), "");
    });
}

#[test]
fn routes_follow_what_is_wanted_and_beat_the_home_network() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        home();
        let mut routes = client_interface();
        for wanted in [&["192.168.1.20", "192.168.1.21", "fd00:10::21"][..], &["192.168.1.21"], &[]] {
            assert_eq!(routes.set(&addresses(wanted)).len(), 0);
            assert_eq!(routes.present(), &addresses(wanted));
            let shown = sh("ip -4 route show dev vmsgate0");
            for address in ["192.168.1.20", "192.168.1.21"] {
                assert_eq!(shown.contains(address), wanted.contains(&address), "{shown}");
            }
            let leads = sh("ip route get 192.168.1.21");
            let through = if wanted.is_empty() { "dev home" } else { "dev vmsgate0 src 10.99.0.2" };
            assert!(leads.contains(through), "{leads}");
        }
        assert!(!sh("ip -6 route show dev vmsgate0").contains("fd00:10::21"));
    });
}

#[test]
fn a_route_that_is_there_is_not_taken_over_and_the_others_are_made() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        home();
        sh("ip route add 192.168.1.20/32 dev home");
        let mut routes = client_interface();
        let failed = routes.set(&addresses(&["192.168.1.20", "192.168.1.21"]));
        let [(address, SetupError::RouteConflict { .. })] = &failed[..] else { panic!("{failed:?}") };
        assert_eq!(address.to_string(), "192.168.1.20");
        assert_eq!(routes.present(), &addresses(&["192.168.1.21"]));
        assert!(sh("ip route get 192.168.1.20").contains("dev home"));
    });
}

#[test]
fn the_machines_own_addresses_its_routers_and_routed_hosts_are_found() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        home();
        let mut routes = client_interface();
        assert_eq!(routes.set(&addresses(&["192.168.1.21"])).len(), 0);
        let found = Surroundings::look("vmsgate0").unwrap();
        let of = |list: &std::collections::BTreeMap<IpAddr, String>, address: &str| {
            list.get(&address.parse::<IpAddr>().unwrap()).cloned()
        };
        assert_eq!(of(&found.own, "192.168.1.50").as_deref(), Some("home"));
        assert_eq!(of(&found.own, "127.0.0.1").as_deref(), Some("lo"));
        assert_eq!(of(&found.routers, "192.168.1.1").as_deref(), Some("home"));
        assert_eq!(of(&found.routers, "192.168.1.2").as_deref(), Some("home"));
        assert_eq!(of(&found.hosts, "192.168.1.9").as_deref(), Some("home"));
        for ours in ["10.99.0.2", "192.168.1.21", "fd00:99::2"] {
            let all = [&found.own, &found.routers, &found.hosts];
            assert!(all.iter().all(|list| of(list, ours).is_none()), "{ours} in {found:?}");
        }
    });
}

#[test]
fn word_comes_when_the_machine_gets_another_address() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        home();
        let changes = Changes::listen().unwrap();
        let mut ready = [PollFd::new(&changes, PollFlags::IN)];
        assert_eq!(poll(&mut ready, Some(&rustix::event::Timespec::default())).unwrap(), 0);
        sh("ip address add 192.168.1.51/24 dev home");
        let mut ready = [PollFd::new(&changes, PollFlags::IN)];
        assert_eq!(poll(&mut ready, None).unwrap(), 1);
        changes.drain().unwrap();
        let mut ready = [PollFd::new(&changes, PollFlags::IN)];
        assert_eq!(poll(&mut ready, Some(&rustix::event::Timespec::default())).unwrap(), 0);
    });
}

#[test]
fn with_net_admin_alone_routes_can_still_be_changed() {
    let Some(host) = Namespace::create() else { return };
    let status = host.run(|| {
        let mut routes = client_interface();
        drop_all_but_net_admin().unwrap();
        assert_eq!(routes.set(&addresses(&["192.168.1.21"])).len(), 0);
        fs::read_to_string("/proc/thread-self/status").unwrap()
    });
    for (set, expected) in [
        ("CapEff", "0000000000001000"),
        ("CapPrm", "0000000000001000"),
        ("CapInh", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':'));
        assert_eq!(line.unwrap().trim(), expected, "{set}");
    }
}

#[test]
fn a_thread_without_the_right_cannot_keep_it() {
    let Some(_host) = Namespace::create() else { return };
    let refused = thread::spawn(|| {
        vmsgate_netsetup::drop_capabilities().unwrap();
        drop_all_but_net_admin().is_err()
    });
    assert!(refused.join().unwrap());
}
