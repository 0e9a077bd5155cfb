//! What the unit in `deploy/systemd` forbids, the gateway does not need.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use vmsgate_tests::{
    carries,
    process::{InTime, capture},
    require::{can_run_confined, has},
    site::{self, Egress, Site},
    stock,
    topology::Family,
    unit,
};

#[test]
fn under_the_unit_files_and_video_arrive_whole() {
    works_under(Egress::Proxy, &["vmsgate.service"]);
}

#[test]
fn with_egress_tun_the_unit_needs_no_more_than_it_adds() {
    works_under(Egress::Tun { masquerade: true }, &["vmsgate.service", "tun.conf"]);
}

fn works_under(egress: Egress, units: &[&str]) {
    if !can_run_confined(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let mut site = Site::prepare_with(Family::V4, egress).unwrap();
    let program = site.folder().join("vmsgate");
    let run = unit::confine(&site.run_command(), &program, units, &site.data()).unwrap();
    site.run_with(run).unwrap();
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    carries::an_operators_work(&site, &client).unwrap();

    let id = site.gateway().unwrap().id();
    for thread in fs::read_dir(format!("/proc/{id}/task")).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.contains(&format!("\nSeccomp_filters:\t{}\n", unit::FILTERS)), "{status}");
    }
    // It can sign its log and put it away.
    site.stop().unwrap();
}

/// Or the tests above would pass whatever the unit says.
#[test]
fn what_the_unit_forbids_fails_there() {
    if !can_run_confined(&["setpriv", "chown", "renice", "touch"]) {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let mut shell = Command::new("setpriv");
        shell.args(["--no-new-privs", "--", "/bin/sh", "-c", line]).current_dir(state.path());
        let units = ["vmsgate.service"];
        let mut confined = unit::confine(&shell, Path::new("/bin/sh"), &units, state.path()).unwrap();
        confined.env("LC_ALL", "C").output_in_time().unwrap()
    };
    for (forbidden, why) in [
        ("touch ../not-here", "Read-only file system"),
        ("cat /proc/meminfo", "No such file"),
        ("chown 1 .", "Operation not permitted"),
        ("renice -n 5 -p $$", "Operation not permitted"),
        ("unshare --user true", "Operation not permitted"),
        ("/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_PACKET)'", "not supported"),
        (
            "/usr/bin/python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)'",
            "Operation not permitted",
        ),
    ] {
        let output = run(forbidden);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(why), "{forbidden}: {text}");
    }
    let output = run(&format!("touch {}/here", state.path().display()));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn of_what_systemd_counts_as_exposed_the_unit_leaves_at_most_1_5_of_10() {
    if !has(&["systemd-analyze"]) {
        return;
    }
    let mut analyse = Command::new("systemd-analyze");
    analyse.args(["security", "--no-pager", "--offline=true", "--threshold=15"]);
    capture(analyse.arg(unit::file("vmsgate.service"))).unwrap();
}
