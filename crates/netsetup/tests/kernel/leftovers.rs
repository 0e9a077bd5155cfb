//! What is there before and after: stale tables, other owners, killed processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::{env, io};

use vmsgate_netsetup::{SetupError, apply};

use crate::namespace::{Namespace, make_tun, plan, release, sh, start};

#[test]
fn dropping_it_removes_the_table() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        let kernel = apply(&plan(true)).unwrap();
        assert!(sh("nft list ruleset").contains("table inet vmsgate-vmsgate0"));
        release(kernel);
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn a_killed_process_leaves_no_table() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        let mut gateway = another_gateway();
        assert!(sh("nft list ruleset").contains("masquerade"));
        gateway.kill().unwrap();
        gateway.wait().unwrap();
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn a_table_of_a_running_gateway_is_left_alone_and_named() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        let mut gateway = another_gateway();
        let error = apply(&plan(true)).unwrap_err();
        assert!(matches!(&error, SetupError::TableInUse { port, .. } if *port == gateway.id()), "{error:?}");
        assert!(error.to_string().contains("`vmsgate-vmsgate0` belongs to another running process"));
        assert!(error.hint().contains("stop the other gateway"));
        assert!(sh("nft list ruleset").contains("masquerade"));
        gateway.kill().unwrap();
        gateway.wait().unwrap();
    });
}

#[test]
fn a_stale_table_is_replaced_and_others_stay() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        sh("nft add table inet vmsgate-vmsgate0");
        sh("nft add chain inet vmsgate-vmsgate0 stale");
        sh("nft add table inet somebody");
        let _kernel = apply(&plan(true)).unwrap();
        let rules = sh("nft list ruleset");
        assert!(rules.contains("masquerade") && !rules.contains("stale"), "{rules}");
        assert!(rules.contains("table inet somebody"), "{rules}");
    });
}

#[test]
fn an_interface_that_was_set_up_before_is_set_up_again() {
    let Some(host) = Namespace::create() else { return };
    host.run(|| {
        make_tun();
        release(apply(&plan(true)).unwrap());
        let _kernel = apply(&plan(true)).unwrap();
        assert_eq!(sh("ip -4 route show dev vmsgate0").lines().count(), 1);
    });
}

/// Runs [`hold`] in a process of its own and waits until the kernel is set up.
fn another_gateway() -> Child {
    let mut program = Command::new(env::current_exe().unwrap());
    program
        .args(["leftovers::hold", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = start(&mut program);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holding"), "the other process failed");
    child
}

#[test]
#[ignore = "the other process of these tests: needs an interface, and a parent that kills it"]
fn hold() {
    let _kernel = apply(&plan(true)).unwrap();
    writeln!(io::stdout(), "\nholding").unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
