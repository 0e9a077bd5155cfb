//! Addresses, routes, MTU.

use vmsgate_netsetup::apply;

use crate::namespace::{Namespace, make_tun, plan, sh};

#[test]
fn the_interface_is_up_with_its_mtu_addresses_and_routes() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        let _kernel = apply(&plan(false)).unwrap();
        let link = sh("ip link show dev vmsgate0");
        assert!(link.contains("mtu 1420") && link.contains(",UP"), "{link}");
        let addresses = sh("ip -o address show dev vmsgate0");
        assert!(addresses.contains("inet 10.99.0.1/32 scope global"), "{addresses}");
        assert!(addresses.contains("inet6 fd00:99::1/128 scope global"), "{addresses}");
        assert!(sh("ip -4 route show dev vmsgate0").contains("10.99.0.0/16"));
        assert!(sh("ip -6 route show dev vmsgate0").contains("fd00:99::/64"));
    });
}

#[test]
fn ipv6_addresses_work_at_once_and_the_kernel_adds_none() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        let _kernel = apply(&plan(false)).unwrap();
        let addresses = sh("ip -6 -o address show dev vmsgate0");
        assert_eq!(addresses.lines().count(), 1, "{addresses}");
        assert!(addresses.contains("nodad") && !addresses.contains("tentative"), "{addresses}");
    });
}

#[test]
fn without_masquerade_there_is_no_table() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        let _kernel = apply(&plan(false)).unwrap();
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn a_host_without_ipv6_gets_ipv4_ranges_alone() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        crate::namespace::sysctl("ipv6/conf/default/disable_ipv6", "1");
        make_tun();
        let mut plan = plan(true);
        plan.addresses.truncate(1);
        plan.routes.truncate(1);
        let _kernel = apply(&plan).unwrap();
        assert!(sh("ip -4 route show dev vmsgate0").contains("10.99.0.0/16"));
    });
}
