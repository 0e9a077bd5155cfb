//! `/readyz` goes false when the gateway cannot do its work, names the condition, and comes back by itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    curl,
    process::{PATIENCE, Process, User, command},
    require::can_run,
    site::{self, Site},
    stock,
    topology::Family,
};

#[test]
fn ready_is_false_while_the_port_the_registry_or_the_store_of_the_audit_log_is_lost() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl", "sqlite3"]].concat()) {
        return;
    }
    let mut site = Site::prepare(Family::V4).unwrap();
    let text = fs::read_to_string(site.config()).unwrap();
    let bound = text.replace("listen = \"[::]:51820\"", "listen = \"198.51.100.10:51820\"");
    assert_ne!(bound, text);
    fs::write(site.config(), bound).unwrap();
    site.run().unwrap();
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let fetch = || {
        let mut curl = client.command("curl");
        curl.args(["--connect-timeout", "3"]);
        curl::fetch(curl, "http://192.168.10.10/file")
    };
    fetch().unwrap();

    // The address is taken from the interface: the socket stays open, and hears nothing any more.
    let wan = "198.51.100.10/24 dev wan";
    site.topology.gateway.ip(&format!("addr del {wan}")).unwrap();
    breaks(&site, "udp-bound");
    site.topology.gateway.ip(&format!("addr add {wan}\nroute add default via 198.51.100.1")).unwrap();
    recovers(&site, "udp-bound");

    // The registry cannot be read.
    sql(&site, "ALTER TABLE registry_revision RENAME TO hidden");
    breaks(&site, "registry-readable");
    sql(&site, "ALTER TABLE hidden RENAME TO registry_revision");
    recovers(&site, "registry-readable");

    // The store takes no records: somebody else holds it. New flows are refused meanwhile.
    let holder = hold(&site);
    fetch().unwrap_err();
    breaks(&site, "audit-accepting");
    fetch().unwrap_err();
    release(holder);
    recovers(&site, "audit-accepting");
    fetch().unwrap();
    site.stop().unwrap();
}

#[test]
fn a_configuration_that_is_refused_at_start_ends_the_program_and_nobody_says_ready() {
    if !can_run(&site::PROGRAMS) {
        return;
    }
    let site = Site::prepare(Family::V4).unwrap();
    site.configure("\n[nonsense]\nkey = 1\n").unwrap();
    let (status, output) = Process::start("vmsgate run", site.run_command()).unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("nonsense"), "{output}");
    assert!(site.topology.gateway.run(|| TcpStream::connect(site::ADMIN)).unwrap().is_err());
}

/// Until `/readyz` is false because of this condition, and so are the metrics.
fn breaks(site: &Site, condition: &str) {
    until(site, "/readyz", |answer| {
        answer.starts_with("HTTP/1.1 503")
            && answer.contains(&format!("\"code\":\"{condition}\",\"ok\":false"))
    });
    let line = format!("vmsgate_condition{{condition=\"{condition}\"}} 0");
    until(site, "/metrics", |page| page.lines().any(|found| found == line));
}

fn recovers(site: &Site, condition: &str) {
    until(site, "/readyz", |answer| answer.starts_with("HTTP/1.1 200"));
    let line = format!("vmsgate_condition{{condition=\"{condition}\"}} 1");
    until(site, "/metrics", |page| page.lines().any(|found| found == line));
}

fn until(site: &Site, path: &str, holds: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = site.ask(path).unwrap();
        if holds(&answer) {
            return;
        }
        assert!(Instant::now() < deadline, "{path} stays: {answer}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn sql(site: &Site, statement: &str) {
    let mut sqlite = command(&site.topology.gateway, User::Gateway, "sqlite3");
    sqlite.arg(site.data().join("vmsgate.db")).arg(format!("PRAGMA legacy_alter_table = ON; {statement}"));
    assert!(sqlite.status().unwrap().success());
}

/// Somebody who writes and does not finish.
fn hold(site: &Site) -> Child {
    let mut sqlite = command(&site.topology.gateway, User::Gateway, "sqlite3");
    sqlite.arg("-cmd").arg(".timeout 10000").arg(site.data().join("vmsgate.db"));
    let mut holder = sqlite.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    holder.stdin.as_mut().unwrap().write_all(b"BEGIN IMMEDIATE; SELECT 'held';\n").unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(holder.stdout.take().unwrap());
    lines.read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "held");
    holder
}

fn release(mut holder: Child) {
    // The end of its input ends it, and its transaction is undone.
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
}
