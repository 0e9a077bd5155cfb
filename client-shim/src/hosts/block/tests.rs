use serde_json::{Value, json};

use super::*;

fn report(servers: &[Value]) -> Report {
    serde_json::from_value(json!({
        "profile": "alice", "state": "connected", "since": "2026-11-24T10:00:00Z",
        "started": "2026-11-24T10:00:00Z", "trouble": null, "endpoint": null, "tunnel_addresses": [],
        "handshake_age_ms": null, "round_trip_ms": null, "bytes_received": 0, "bytes_sent": 0,
        "open_connections": 0, "last_failure": null, "site": null, "forwards": [], "servers": servers,
        "keys": {"post_quantum": false, "post_quantum_required": false},
    }))
    .unwrap()
}

fn server(name: &str, hostnames: &[&str], loopback: Option<&str>) -> Value {
    json!({"name": name, "hostnames": hostnames, "addresses": ["192.168.10.21"], "loopback": loopback,
           "listeners": [], "omitted": []})
}

#[test]
fn every_name_of_a_server_stands_beside_its_address_once() {
    let report = report(&[
        server("mgmt", &["mgmt", "mgmt.vms.local"], Some("127.64.1.2")),
        server("rec01", &["recorder-1", "192.168.10.21", "REC01"], Some("127.127.255.254")),
    ]);
    let block = Block::of(&report).unwrap();
    assert_eq!(
        block.to_text(),
        "# >>> vmsgate-shim alice\n\
         127.64.1.2      mgmt mgmt.vms.local\n\
         127.127.255.254 recorder-1 REC01\n\
         # <<< vmsgate-shim alice\n"
    );
    assert_eq!(block.names().last(), Some(("REC01", IpAddr::from([127, 127, 255, 254]))));
    assert_eq!(Block::parse(&block.to_text()), Ok(block));
}

#[test]
fn no_line_has_more_names_than_windows_reads() {
    let hostnames: Vec<String> = (0..20).map(|n| format!("name{n}")).collect();
    let hostnames: Vec<&str> = hostnames.iter().map(String::as_str).collect();
    let block = Block::of(&report(&[server("mgmt", &hostnames, Some("127.64.1.2"))])).unwrap();
    let counts: Vec<usize> = block.entries.iter().map(|entry| entry.names.len()).collect();
    assert_eq!(counts, [8, 8, 5]);
}

#[test]
fn without_servers_or_addresses_here_there_is_no_block() {
    assert_eq!(Block::of(&report(&[])), Err(BlockError::NoServers));
    assert_eq!(Block::of(&report(&[server("mgmt", &["mgmt"], None)])), Err(BlockError::NoAddresses));
    let mut odd = report(&[server("mgmt", &["mgmt"], Some("127.64.1.2"))]);
    odd.profile = "alice\n127.0.0.1 bank.example".to_owned();
    let error = Block::of(&odd).unwrap_err().to_string();
    assert_eq!(error, "the profile's name `alice\\n127.0.0.1 bank.example` cannot stand in a hosts file");
}

#[test]
fn a_server_that_may_be_known_by_its_address_alone_is_named() {
    let report = report(&[
        server("mgmt", &["mgmt"], Some("127.64.1.2")),
        server("rec01", &["rec01", "192.168.10.21"], Some("127.64.1.3")),
        server("rec02", &[], Some("127.64.1.4")),
    ]);
    let named: Vec<&str> = literal_addresses(&report).iter().map(|server| server.name.as_str()).collect();
    assert_eq!(named, ["rec01", "rec02"]);
}

#[test]
fn nothing_but_a_whole_block_of_loopback_addresses_is_read() {
    let (begin, end) = ("# >>> vmsgate-shim alice\n", "# <<< vmsgate-shim alice\n");
    for (text, line, problem) in [
        (String::new(), 1, "it is empty"),
        ("127.64.1.2 mgmt\n".to_owned(), 1, "a block begins with its mark"),
        (format!("{begin}127.64.1.2 mgmt\n"), 3, "the end mark is missing"),
        (format!("{begin}203.0.113.9 bank.example\n{end}"), 2, "it does not begin with a loopback address"),
        (format!("{begin}127.64.1.2\n{end}"), 2, "what follows the address is no host name"),
        (format!("{begin}127.64.1.2 mgmt # x\n{end}"), 2, "what follows the address is no host name"),
        (format!("{begin}127.64.1.2 10.0.0.1\n{end}"), 2, "what follows the address is no host name"),
        (format!("{begin}{end}\n127.64.1.2 mgmt\n"), 4, "it stands behind the end mark"),
        (format!("{begin}# <<< vmsgate-shim bob\n{end}"), 2, "it does not begin with a loopback address"),
    ] {
        assert_eq!(Block::parse(&text), Err(BlockError::Foreign { line, problem }), "{text}");
    }
    let crlf = format!("{begin}127.64.1.2 mgmt\n{end}").replace('\n', "\r\n");
    assert_eq!(Block::parse(&crlf).unwrap().entries.len(), 1);
}
