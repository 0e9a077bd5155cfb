//! Programs find the servers by name, once an administrator has put the names into the hosts file with the command that
//! the shim offers, and `hosts --check` tells whether they do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use vmsgate_tests::{
    carries,
    process::User,
    require::can_run,
    shim::ShimClient,
    site::{self, Site},
    topology::Family,
};

const BEFORE: &str = "127.0.0.1 localhost\n192.168.10.21 rec01.vms.local\n";

/// A machine with a running shim and a hosts file of its own.
struct Machine {
    client: ShimClient,
    program: PathBuf,
    hosts: PathBuf,
}

impl Machine {
    fn new(site: &Site) -> Self {
        let client = ShimClient::up(site, "anna-laptop", "smart-client").unwrap();
        let hosts = site.folder().join("etc-hosts");
        fs::write(&hosts, BEFORE).unwrap();
        Self { client, program: site.folder().join("vmsgate-shim"), hosts }
    }

    /// A command that finds the hosts file in its place.
    fn command(&self, user: User, program: impl AsRef<Path>) -> Command {
        let mut command = self.client.machine.host.namespace.command("unshare");
        let id = user.uid();
        let person = match user {
            User::Root => String::new(),
            _ => format!(
                "setpriv --reuid={id} --regid={id} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all --"
            ),
        };
        let script = format!("mount --bind \"$HOSTS\" /etc/hosts && exec {person} \"$@\"");
        command.args(["--mount", "--", "/bin/sh", "-c", &script, "sh"]).arg(program.as_ref());
        let home = self.client.machine.path("");
        command.env("HOSTS", &self.hosts).env("XDG_RUNTIME_DIR", &home).env("HOME", &home);
        command
    }

    fn shim(&self, user: User, arguments: &[&str]) -> Output {
        let mut command = self.command(user, &self.program);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn hosts(&self) -> String {
        fs::read_to_string(&self.hosts).unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn an_administrator_gets_a_command_that_works_and_then_every_name_leads_to_its_server() {
    if !can_run(&[&site::PROGRAMS[..], &["curl", "unshare", "mount"]].concat()) {
        return;
    }
    let site = Site::start(Family::V4).unwrap();
    let machine = Machine::new(&site);

    let checked = machine.shim(User::Client, &["hosts", "--check"]);
    assert_eq!(checked.status.code(), Some(1));
    let row = |name: &str| text(&checked.stdout).lines().find(|line| line.starts_with(name)).unwrap();
    let elsewhere: Vec<_> = row("rec01.vms.local ").split_whitespace().skip(2).collect();
    assert_eq!(elsewhere, ["192.168.10.21", "elsewhere"], "{}", text(&checked.stdout));
    assert!(row("rec02.vms.local ").contains(" not known"), "{}", text(&checked.stdout));

    let denied = machine.shim(User::Client, &["hosts", "--apply"]);
    assert_eq!((denied.status.code(), machine.hosts().as_str()), (Some(1), BEFORE));
    let told = text(&denied.stderr);
    assert!(told.starts_with("error: you may not change /etc/hosts\n"), "{told}");
    let offered = told.lines().last().unwrap().strip_prefix("hint: ").unwrap();
    let (person, administrator) = offered.split_once(" | sudo ").unwrap();

    let mut print =
        machine.command(User::Client, "/bin/sh").args(["-c", person]).stdout(Stdio::piped()).spawn().unwrap();
    let mut apply = machine.command(User::Root, "/bin/sh");
    let applied = apply.args(["-c", administrator]).stdin(print.stdout.take().unwrap()).output().unwrap();
    assert!(print.wait().unwrap().success() && applied.status.success(), "{}", text(&applied.stderr));
    assert!(
        machine.hosts().starts_with(&format!("{BEFORE}# >>> vmsgate-shim anna-laptop\n")),
        "{}",
        machine.hosts()
    );

    // What stood there before still wins, and is told.
    let checked = machine.shim(User::Client, &["hosts", "--check"]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stdout));
    let wrong: Vec<_> = text(&checked.stdout).lines().filter(|line| !line.ends_with(" ok")).skip(1).collect();
    assert!(wrong.len() == 1 && wrong[0].starts_with("rec01.vms.local "), "{wrong:?}");
    let mended = machine.hosts().replace("192.168.10.21 rec01.vms.local\n", "");
    fs::write(&machine.hosts, &mended).unwrap();
    let checked = machine.shim(User::Client, &["hosts", "--check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));

    let curl = || machine.command(User::Client, "curl");
    carries::files(&site.web, curl, "http://mgmt.vms.local").unwrap();

    let inode = fs::metadata(&machine.hosts).unwrap().ino();
    let removed = machine.shim(User::Root, &["hosts", "--remove"]);
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert_eq!(machine.hosts(), "127.0.0.1 localhost\n");
    assert_eq!(fs::metadata(&machine.hosts).unwrap().ino(), inode, "a mounted file is written in place");
}

#[test]
fn up_says_before_it_connects_that_names_need_an_administrator() {
    if !can_run(&[&site::PROGRAMS[..], &["unshare", "mount"]].concat()) {
        return;
    }
    let site = Site::start(Family::V4).unwrap();
    let machine = Machine::new(&site);
    let profile = site.add_client("bo-laptop", "smart-client").unwrap();
    let profile = machine.client.machine.take(&profile, "bo-laptop").unwrap();

    let refused = machine.shim(User::Client, &["up", profile.to_str().unwrap(), "--hosts"]);

    assert_eq!((refused.status.code(), machine.hosts().as_str()), (Some(1), BEFORE));
    let told = text(&refused.stderr);
    assert!(told.starts_with("error: you may not change /etc/hosts\n"), "{told}");
    assert!(told.contains("hint: start it without --hosts"), "{told}");
}
