//! `vmsgate-shim doctor` at a real site: what is well is found well, and each fault of the network, the servers and the
//! machine is found as what it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;
use vmsgate_tests::{
    netns::Netns,
    process::{InTime, Process, User, capture, command},
    product::Flow,
    require::can_run,
    shim::ShimMachine,
    site::{self, Site},
    topology::{Family, PORT},
};

/// A server of the site beside the usual ones: it serves TLS, where the role's mobile server is.
const WEB: &str = "192.168.10.30:8082";
/// The name in its certificate.
const WEB_NAME: &str = "web.vms.local";

#[test]
fn a_site_that_is_well_is_found_well_and_its_log_knows_of_its_servers_alone() {
    let Some(site) = site() else { return };
    let _web = serve_tls(&site, &[WEB_NAME, "web"], 2999);
    let client = Client::new(&site, "anna-laptop");
    let first = client.examine();
    assert_eq!(first.code, 0, "{:#?}", first.findings);
    assert!(
        first.of("names.resolve").all(|finding| finding["verdict"] == "warning"),
        "there is no hosts file yet"
    );

    // What a person does with the lines of `hosts`, and a machine that trusts the site.
    client.write_hosts(&first);
    let page = client.examine_with(&[("SSL_CERT_FILE", site.folder().join("tls.pem").as_path())]);

    for id in [
        "profile.permissions",
        "profile.access",
        "profile.key-age",
        "gateway.identity",
        "endpoint.resolves",
        "gateway.answers",
        "gateway.profile",
        "clock.offset",
        "path.round-trip",
        "path.loss",
        "path.mtu",
        "path.goodput-up",
        "ports.free",
        "names.resolve",
        "service.answers",
        "certificate.name",
        "certificate.validity",
        "certificate.issuer",
    ] {
        let verdicts: Vec<_> = page.of(id).map(|finding| &finding["verdict"]).collect();
        assert!(
            !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict == "ok"),
            "{id}: {:#?}",
            page.findings
        );
    }
    page.expect("service.encryption", &format!("web:{}", address(WEB).port()), "ok");
    page.expect("service.encryption", "rec01:7563", "note");
    let rate = page.of("path.goodput-down").next().unwrap()["measured"]["down_bits_per_second"].as_f64();
    assert!(rate.is_some_and(|rate| rate > 0.0), "{:#?}", page.findings);

    let flows: Vec<Flow> = site.records("flows", &["--client", "anna-laptop"]).unwrap();
    assert!(!flows.is_empty());
    assert!(flows.iter().all(|flow| flow.destination.server.is_some()), "{flows:#?}");
}

#[test]
fn a_running_shim_looks_for_itself_and_keeps_its_tunnel() {
    let Some(site) = site() else { return };
    let profile = site.add_client("anna-laptop", "everything").unwrap();
    let machine = ShimMachine::new(&site, "anna-laptop").unwrap();
    let path = machine.take(&profile, "anna-laptop").unwrap();
    let up = machine.up(path, &[]).unwrap();
    let before = up.status().unwrap()["since"].clone();

    let page = Page::printed_by(up.shim(&["doctor", "--json"]));

    page.expect("gateway.answers", &endpoint(), "ok");
    let listening = |finding: &Value| finding["message"].as_str().unwrap().starts_with("listens, for ");
    assert!(page.of("ports.free").all(listening), "{:#?}", page.findings);
    assert_eq!(up.status().unwrap()["since"], before, "the connection was not interrupted");
    assert_eq!(site.status().unwrap().sessions.len(), 1);
}

#[test]
fn faults_of_servers_machine_and_path_are_found_as_what_they_are() {
    let Some(site) = site() else { return };
    let _expired = serve_tls(&site, &["other.vms.local"], 2026);
    let client = Client::new(&site, "anna-laptop");
    let listen = client.examine().loopback("rec01", 7563);
    let _taken = client.machine.host.namespace.run(|| TcpListener::bind(listen)).unwrap().unwrap();
    // As behind PPPoE in a tunnel: the datagrams around packets of the usual MTU do not fit, and nobody is told.
    site.topology.internet.ip("link set c1 mtu 1400").unwrap();
    fs::set_permissions(&client.profile, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();

    let page = client.examine();

    assert_eq!(page.code, 1);
    page.expect("ports.free", &listen.to_string(), "problem");
    page.expect("certificate.name", "web:8082", "problem");
    page.expect("certificate.validity", "web:8082", "problem");
    page.expect("certificate.issuer", "web:8082", "note");
    assert_eq!(page.of("profile.permissions").next().unwrap()["verdict"], "problem");
    let mtu = page.of("path.mtu").next().unwrap();
    assert_eq!(
        (&mtu["verdict"], &mtu["measured"]["path_mtu_bytes"]),
        (&"problem".into(), &1328.0.into()),
        "{mtu}"
    );

    // With what it says, everything gets through.
    let text = fs::read_to_string(&client.profile).unwrap();
    assert!(mtu["advice"].as_str().unwrap().contains("`MTU = 1328`"), "{mtu}");
    let lines = text.lines().filter(|line| !line.starts_with("MTU"));
    let lines =
        lines.flat_map(|line| [line].into_iter().chain((line == "[Interface]").then_some("MTU = 1328")));
    fs::write(&client.profile, lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert_eq!(client.examine().of("path.mtu").next().unwrap()["verdict"], "ok");
}

#[test]
fn loss_on_the_way_and_a_way_that_is_blocked_are_told_apart() {
    let Some(site) = site() else { return };
    let client = Client::new(&site, "anna-laptop");
    let filter = |rule: &str| {
        nft(&site.topology.internet, "flush ruleset");
        nft(&site.topology.internet, "add table inet path");
        nft(&site.topology.internet, "add chain inet path forward { type filter hook forward priority 0; }");
        nft(&site.topology.internet, &format!("add rule inet path forward {rule}"));
    };
    filter("meta l4proto udp numgen random mod 100 < 20 drop");
    let page = client.examine();
    assert_eq!((page.code, &page.of("path.loss").next().unwrap()["verdict"]), (1, &"problem".into()));
    page.expect("gateway.answers", &endpoint(), "ok");

    filter(&format!("udp dport {PORT} drop"));
    let page = client.examine();
    page.expect("gateway.answers", &endpoint(), "problem");
    let silent = page.of("gateway.answers").next().unwrap();
    assert!(silent["advice"].as_str().unwrap().contains("UDP is blocked here"), "{silent}");
    assert!(page.of("service.answers").all(|finding| finding["verdict"] == "skipped"));

    nft(&site.topology.internet, "flush ruleset");
    capture(&mut site.keys(&["client", "revoke", "anna-laptop", "--yes"])).unwrap();
    client.examine().expect("gateway.answers", &endpoint(), "problem");
}

/// What one examination found.
struct Page {
    code: i32,
    findings: Vec<Value>,
}

impl Page {
    fn printed_by(mut command: Command) -> Self {
        let output = command.output_in_time().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
        let findings = document["findings"].as_array().unwrap().clone();
        Self { code: output.status.code().unwrap(), findings }
    }

    /// The findings of one kind; every page has some.
    fn of<'p>(&'p self, id: &'p str) -> impl Iterator<Item = &'p Value> {
        self.findings.iter().filter(move |finding| finding["id"] == id)
    }

    #[track_caller]
    fn expect(&self, id: &str, subject: &str, verdict: &str) {
        let found: Vec<_> = self.of(id).filter(|finding| finding["subject"] == subject).collect();
        assert!(
            found.iter().any(|finding| finding["verdict"] == verdict),
            "{id} of {subject}: {:#?}",
            self.findings
        );
    }

    /// Where a server's port is on the client's machine.
    fn loopback(&self, server: &str, port: u16) -> SocketAddr {
        let of_server =
            |finding: &&Value| finding["message"].as_str().unwrap().ends_with(&format!(" of {server}"));
        let subjects = self.of("ports.free").filter(of_server).map(|finding| &finding["subject"]);
        let mut listens = subjects.map(|subject| subject.as_str().unwrap().parse::<SocketAddr>().unwrap());
        listens.find(|listen| listen.port() == port).unwrap()
    }
}

/// A machine with a profile and no running shim.
struct Client {
    machine: ShimMachine,
    profile: PathBuf,
    hosts: PathBuf,
}

impl Client {
    fn new(site: &Site, name: &str) -> Self {
        let profile = site.add_client(name, "everything").unwrap();
        let machine = ShimMachine::new(site, name).unwrap();
        let profile = machine.take(&profile, name).unwrap();
        let hosts = site.folder().join(format!("hosts-{name}"));
        fs::copy("/etc/hosts", &hosts).unwrap();
        Self { machine, profile, hosts }
    }

    fn examine(&self) -> Page {
        self.examine_with(&[])
    }

    /// Runs the doctor with the machine's own hosts file.
    fn examine_with(&self, environment: &[(&str, &Path)]) -> Page {
        let mut doctor = self.machine.shim(&["doctor", self.profile.to_str().unwrap(), "--json"]);
        doctor.envs(environment.iter().copied());
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#])
            .arg(&self.hosts);
        command.arg(doctor.get_program()).args(doctor.get_args());
        command.current_dir(doctor.get_current_dir().unwrap());
        command.envs(doctor.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Page::printed_by(command)
    }

    /// The block that `vmsgate-shim hosts` prints, into the machine's own hosts file.
    fn write_hosts(&self, page: &Page) {
        let mut text = fs::read_to_string(&self.hosts).unwrap();
        for (server, port) in [("mgmt", 443), ("rec01", 7563), ("rec02", 7563), ("web", 8082)] {
            text += &format!("{} {server} {server}.vms.local\n", page.loopback(server, port).ip());
        }
        fs::write(&self.hosts, text).unwrap();
    }
}

fn endpoint() -> String {
    format!("198.51.100.10:{PORT}")
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn nft(namespace: &Netns, commands: &str) {
    capture(namespace.command("nft").arg(commands)).unwrap();
}

/// A web server with a certificate for these names, good from the first day of 2026 to the second of a year.
fn serve_tls(site: &Site, names: &[&str], until: i32) -> Process {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(until, 1, 2));
    let key = KeyPair::generate().unwrap();
    let (key_file, certificate_file) = (site.folder().join("tls.key"), site.folder().join("tls.pem"));
    fs::write(&certificate_file, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let mut server = command(&site.topology.recording, User::Root, "openssl");
    server
        .args(["s_server", "-www", "-accept", WEB, "-key"])
        .arg(key_file)
        .arg("-cert")
        .arg(certificate_file);
    let server = Process::start("openssl s_server", server).unwrap();
    server.wait_for_line("openssl to listen", |line| line.contains("ACCEPT")).unwrap();
    server
}

/// A site with a web server beside the usual ones, and a role that reaches all of them.
fn site() -> Option<Site> {
    can_run(&[&site::PROGRAMS[..], &["openssl", "nft", "unshare"]].concat()).then(|| {
        let mut site = Site::prepare(Family::V4).unwrap();
        let more = format!(
            "
[[server]]
name = \"web\"
address = \"{}\"
hostnames = [\"{WEB_NAME}\", \"web\"]
services = [\"mobile-server\"]

[role.everything]
allow = [\"*:*\"]
",
            address(WEB).ip()
        );
        site.configure(&more).unwrap();
        site.topology.recording.ip(&format!("addr add {}/24 dev eth0", address(WEB).ip())).unwrap();
        site.run().unwrap();
        site
    })
}
