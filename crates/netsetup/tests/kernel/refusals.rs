//! What stops the gateway before anything is changed, and what its operator reads then.

use std::thread;

use vmsgate_netsetup::{SetupError, apply, drop_capabilities, has_net_admin};

use crate::namespace::{Namespace, make_tun, plan, sh, sysctl};

#[test]
fn without_forwarding_the_command_to_run_is_named() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        sysctl("ipv6/conf/all/forwarding", "0");
        let error = apply(&plan(true)).unwrap_err();
        assert!(error.to_string().ends_with("net.ipv6.conf.all.forwarding is 0"), "{error}");
        sysctl("ipv4/ip_forward", "0");
        let error = apply(&plan(true)).unwrap_err();
        assert!(error.hint().contains("sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"));
        assert!(error.hint().contains("--sysctl net.ipv4.ip_forward=1"));
        assert_untouched();
    });
}

#[test]
fn without_the_capability_it_is_asked_for() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        assert!(has_net_admin());
        let error = thread::spawn(|| {
            drop_capabilities().unwrap();
            assert!(!has_net_admin());
            apply(&plan(true)).unwrap_err()
        });
        let error = error.join().unwrap();
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
        assert!(error.hint().contains("--cap-add NET_ADMIN --device /dev/net/tun"));
        assert_untouched();
    });
}

#[test]
fn a_part_of_the_range_that_leads_elsewhere_is_named() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        sh("ip link add lan0 type veth peer name lan1");
        sh("ip link set lan0 up");
        for existing in ["10.99.5.0/24", "fd00:99::/64"] {
            sh(&format!("ip route add {existing} dev lan0"));
            let error = apply(&plan(true)).unwrap_err();
            assert!(error.to_string().contains(&format!("`{existing}` already leads to `lan0`")), "{error}");
            assert!(error.hint().contains(&format!("ip route del {existing}")));
            sh(&format!("ip route del {existing} dev lan0"));
        }
        sh("ip route add blackhole 10.99.0.0/16");
        let error = apply(&plan(true)).unwrap_err();
        assert!(matches!(error, SetupError::RouteConflict { .. }), "{error:?}");
        assert_untouched();
    });
}

#[test]
fn routes_around_the_range_are_no_conflict() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        sh("ip link add lan0 type veth peer name lan1");
        sh("ip link set lan0 up");
        sh("ip route add 10.0.0.0/8 dev lan0");
        sh("ip route add default dev lan0");
        sh("ip route add 10.99.5.0/24 dev lan0 table 77");
        let _kernel = apply(&plan(true)).unwrap();
    });
}

#[test]
fn a_missing_interface_is_named() {
    let Some(host) = Namespace::create() else { return };
    let error = host.run(|| apply(&plan(true)).unwrap_err());
    assert_eq!(error.to_string(), "there is no network interface `vmsgate0`");
}

#[test]
fn ipv6_ranges_where_ipv6_is_off_are_refused() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        sysctl("ipv6/conf/vmsgate0/disable_ipv6", "1");
        let error = apply(&plan(true)).unwrap_err();
        assert!(error.to_string().contains("IPv6 is off on `vmsgate0`"), "{error}");
        assert_untouched();
    });
}

fn assert_untouched() {
    assert_eq!(sh("nft list ruleset"), "");
    assert_eq!(sh("ip -o address show dev vmsgate0"), "");
    assert!(!sh("ip link show dev vmsgate0").contains(",UP"));
}
