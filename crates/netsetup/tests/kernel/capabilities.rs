//! Nothing is left after the drop, as the kernel itself reports it.

use std::{fs, thread};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use vmsgate_netsetup::{drop_capabilities, has_net_admin};

use crate::namespace::Namespace;

#[test]
fn every_set_is_empty_and_nothing_can_be_regained() {
    // Root is needed here too.
    let Some(_host) = Namespace::create() else { return };
    let status = thread::spawn(|| {
        drop_capabilities().unwrap();
        fs::read_to_string("/proc/thread-self/status").unwrap()
    });
    let status = status.join().unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), "1");
}

#[test]
fn a_thread_started_afterwards_has_none_either() {
    let Some(_host) = Namespace::create() else { return };
    let status = thread::spawn(|| {
        drop_capabilities().unwrap();
        thread::spawn(|| fs::read_to_string("/proc/thread-self/status").unwrap()).join().unwrap()
    });
    assert_eq!(field(&status.join().unwrap(), "CapEff"), "0000000000000000");
}

/// As in a container with `--cap-drop ALL --cap-add NET_ADMIN`: the bounding set cannot be emptied there.
#[test]
fn net_admin_alone_is_enough_to_drop_it() {
    let Some(_host) = Namespace::create() else { return };
    let status = thread::spawn(|| {
        let alone = CapabilitySet::NET_ADMIN;
        let sets = CapabilitySets { effective: alone, permitted: alone, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).unwrap();
        assert!(has_net_admin());
        drop_capabilities().unwrap();
        fs::read_to_string("/proc/thread-self/status").unwrap()
    });
    let status = status.join().unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), "1");
}

#[test]
fn dropping_twice_is_no_error() {
    thread::spawn(|| {
        drop_capabilities().unwrap();
        drop_capabilities().unwrap();
    })
    .join()
    .unwrap();
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim()
}
