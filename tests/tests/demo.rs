//! `vmsgate demo` shows the whole job without network, root or configuration.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use vmsgate_tests::{
    binaries,
    netns::Netns,
    process::{Process, User, command},
    require::can_run,
};

/// The demonstration's promise. It is about patience, not about speed: most of it is a stream that plays.
const PROMISE: Duration = Duration::from_secs(30);

#[test]
fn demo_succeeds_in_under_thirty_seconds() {
    let program = binaries::built().unwrap().join("vmsgate");
    let home = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output = Command::new(program)
        .arg("demo")
        .stdin(Stdio::null())
        .current_dir(home.path())
        .env("HOME", home.path())
        .env_remove("VMSGATE_CONFIG")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(started.elapsed() < PROMISE, "took {:?}", started.elapsed());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "it left files behind");
}

#[test]
fn demo_needs_no_network_and_no_privilege() {
    if !can_run(&["setpriv", "nsenter"]) {
        return;
    }
    let nowhere = Netns::create("nowhere").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    binaries::install(folder.path()).unwrap();
    let mut demo = command(&nowhere, User::Client, folder.path().join("vmsgate"));
    demo.arg("demo").current_dir("/");
    let (status, output) = Process::start("vmsgate demo", demo).unwrap().wait().unwrap();
    assert!(status.success(), "{status}\n{output}");
}
