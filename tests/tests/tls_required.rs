//! TLS or clear text: on record for every connection, and with `require-tls` nothing but TLS reaches the server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread::JoinHandle,
};

use nix::sys::signal::Signal;
use vmsgate_tests::{
    curl::{self, Download},
    process::{PATIENCE, Process, User, capture, command},
    product::{Denial, Flow},
    require::can_run,
    site::{self, Site},
    stock::{self, StockClient},
    topology::{Family, Server},
};

/// Where the management server speaks TLS, here.
const TLS: u16 = 8443;
/// Where it notes what it gets.
const NOTED: u16 = 8000;
/// Where it greets whoever comes, before they said a word.
const GREETING: u16 = 443;

const PORTS: &str = "\n[service.management-server]\ntcp = [80, 443, 8000, 8443]\n";

#[test]
fn every_connections_record_says_whether_it_was_tls_clear_text_or_empty() {
    let Some((mut site, client)) = site("") else { return };
    let _tls = serve_tls(&site);
    curl::fetch(insecure(&client), "https://192.168.10.10:8443/").unwrap();
    curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    let noted = note(&site, Family::V4);
    drop(connect(&client, Family::V4, NOTED));
    assert_eq!(noted.join().unwrap(), b"");
    let mut greeted = connect(&client, Family::V4, GREETING);
    greeted.read_exact(&mut [0]).unwrap();
    drop(greeted);

    site.stop().unwrap();
    let mut seen: Vec<(u16, String)> = flows(&site)
        .into_iter()
        .map(|flow| (flow.destination.port.unwrap(), flow.tls.unwrap_or_default()))
        .collect();
    seen.sort();
    let expected = [(80, "plain"), (GREETING, "plain"), (NOTED, "none"), (TLS, "tls")]
        .map(|(port, tls)| (port, tls.to_owned()));
    assert_eq!(seen, expected);
}

#[test]
fn where_tls_is_required_no_byte_of_clear_text_reaches_the_server_and_tls_works() {
    let Some((mut site, client)) = site("require-tls = true\n") else { return };
    let _tls = serve_tls(&site);
    for family in Family::BOTH {
        let noted = note(&site, family);
        let mut plain = connect(&client, family, NOTED);
        plain.write_all(b"GET / HTTP/1.1\r\nAuthorization: Basic c2VjcmV0\r\n\r\n").unwrap();
        let error = plain.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{family}: {error}");
        assert_eq!(noted.join().unwrap(), b"", "{family}");
    }
    let error = curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap_err();
    assert!(error.to_string().contains("after 0 bytes"), "{error}");
    curl::fetch(insecure(&client), "https://192.168.10.10:8443/").unwrap();
    let mut hello = client.command("openssl");
    hello.args(["s_client", "-brief", "-connect", "192.168.10.10:8443"]).stdin(std::process::Stdio::null());
    capture(&mut hello).unwrap();

    site.stop().unwrap();
    let flows = flows(&site);
    let ended = |port: u16| {
        let of_port = flows.iter().filter(move |flow| flow.destination.port == Some(port));
        of_port.map(|flow| (flow.tls.as_deref(), flow.reason.as_deref())).collect::<Vec<_>>()
    };
    let cut = (Some("plain"), Some("tls-required"));
    assert_eq!((ended(NOTED), ended(80)), (vec![cut; 2], vec![cut]));
    assert!(ended(TLS).iter().all(|(tls, _)| *tls == Some("tls")) && ended(TLS).len() == 2, "{flows:?}");
    let denials: Vec<Denial> = site.records("denials", &[]).unwrap();
    assert_eq!(denials.iter().map(|denial| denial.count).sum::<u64>(), 3, "{denials:?}");
    for denial in denials {
        assert_eq!(denial.reason, "tls-required");
        assert_eq!(denial.rule.as_deref(), Some("service management-server: require-tls"));
    }
}

#[test]
fn where_tls_is_required_a_server_that_speaks_first_is_not_heard() {
    let Some((mut site, client)) = site("require-tls = true\n") else { return };
    // The reset may be there before this side has looked at its connection for the first time.
    let silenced = try_connect(&client, Family::V4, GREETING);
    let error = silenced.and_then(|mut stream| stream.read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");

    site.stop().unwrap();
    let flows = flows(&site);
    let [flow] = &flows[..] else { panic!("{flows:?}") };
    assert_eq!((flow.tls.as_deref(), flow.reason.as_deref()), (Some("plain"), Some("tls-required")));
}

#[test]
fn a_role_that_requires_tls_from_now_on_has_its_clear_text_cut_in_mid_flow() {
    let Some((mut site, client)) = site("") else { return };
    let download = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    download.wait_for(1_000_000).unwrap();
    site.configure("\n[role.smart-client]\nallow = [\"*:*\"]\nrequire-tls = true\n").unwrap();
    site.gateway().unwrap().signal(Signal::SIGHUP).unwrap();
    download.finish().unwrap_err();

    site.stop().unwrap();
    assert_eq!(flows(&site)[0].reason.as_deref(), Some("tls-required"));
    let denials: Vec<Denial> = site.records("denials", &[]).unwrap();
    assert_eq!(denials[0].rule.as_deref(), Some("role smart-client: require-tls"));
}

fn flows(site: &Site) -> Vec<Flow> {
    site.records("flows", &[]).unwrap()
}

/// A TCP connection to the management server.
fn connect(client: &StockClient, family: Family, port: u16) -> TcpStream {
    try_connect(client, family, port).unwrap()
}

fn try_connect(client: &StockClient, family: Family, port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::new(Server::Mgmt.address(family), port);
    let stream = client.host.namespace.run(|| TcpStream::connect_timeout(&address, PATIENCE)).unwrap()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Takes one connection and answers with everything that it brought.
fn note(site: &Site, family: Family) -> JoinHandle<Vec<u8>> {
    let address = SocketAddr::new(Server::Mgmt.address(family), NOTED);
    let listener = site.topology.recording.run(|| TcpListener::bind(address)).unwrap().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut received = Vec::new();
        if let Err(error) = stream.read_to_end(&mut received) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        received
    })
}

/// The management server's TLS port, with a certificate that nobody signed.
fn serve_tls(site: &Site) -> Process {
    let folder: &Path = site.folder();
    let (key, certificate) = (folder.join("tls.key"), folder.join("tls.pem"));
    let mut request = command(&site.topology.recording, User::Root, "openssl");
    request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    request.args(["-subj", "/CN=mgmt", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    capture(&mut request).unwrap();
    assert!(fs::exists(&certificate).unwrap());
    let mut server = command(&site.topology.recording, User::Root, "openssl");
    server.args(["s_server", "-www", "-accept", &format!("{}:{TLS}", Server::Mgmt.v4()), "-key"]);
    let server = Process::start("openssl s_server", {
        server.arg(key).arg("-cert").arg(certificate);
        server
    });
    let server = server.unwrap();
    server.wait_for_line("openssl to listen", |line| line.contains("ACCEPT")).unwrap();
    server
}

fn insecure(client: &StockClient) -> std::process::Command {
    let mut curl = client.command("curl");
    curl.arg("--insecure");
    curl
}

fn site(more: &str) -> Option<(Site, StockClient)> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl", "openssl"]].concat();
    can_run(&programs).then(|| {
        let mut site = Site::prepare(Family::V4).unwrap();
        site.configure(&format!("{PORTS}{more}")).unwrap();
        site.run().unwrap();
        let client = site.stock_client("anna-laptop", "smart-client").unwrap();
        (site, client)
    })
}
