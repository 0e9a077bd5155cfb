//! What is foretold of a changed configuration is what the gateway then does: `check --diff` before it, `policy replay`
//! over what was recorded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use vmsgate_tests::{
    curl::Download,
    process::{InTime, PATIENCE},
    product::{Denial, Flow},
    recording::RECORDER,
    require::can_run,
    site::{self, Site},
    stock::{self, StockClient},
    topology::{Family, Server},
};

const BEFORE: &str = "\n[role.guard]\nallow = [\"mgmt:management-server\", \"rec*:recording-server\"]\n";
const AFTER: &str = "\n[role.guard]\nallow = [\"mgmt:event-server\", \"rec*:recording-server\"]\n";
const WEB: u16 = 80;
const EVENTS: u16 = 22_331;

#[test]
fn what_check_and_replay_foretell_is_what_the_gateway_then_does() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let mut site = Site::prepare(Family::V4).unwrap();
    let base = fs::read_to_string(site.config()).unwrap();
    site.configure(BEFORE).unwrap();
    site.run().unwrap();
    let client = site.stock_client("anna-laptop", "guard").unwrap();
    let download = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    download.wait_for(1_000_000).unwrap();
    let idle = connect(&client, Server::Mgmt, WEB).unwrap();
    let video = connect(&client, Server::Rec01, RECORDER).unwrap();
    assert_eq!(connect(&client, Server::Mgmt, EVENTS).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    // Foretold, to people and to scripts; the gateway goes on as it was.
    let candidate = site.write_private("new.toml", &format!("{base}{AFTER}")).unwrap();
    let candidate = candidate.to_str().unwrap();
    nothing_changes(&site, &["check", "--diff"]);
    let told = site.vmsgate(&["-c", candidate, "check", "--diff"]).output_in_time().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("anna-laptop loses mgmt:80, 2 live flows would be cut"), "{told}");
    let foretold = json(&site, &["-c", candidate, "check", "--diff", "--json"], 1);
    let changes = foretold["roles"][0]["changes"].as_array().unwrap();
    let effects: Vec<_> = changes.iter().map(|c| (c["effect"].as_str().unwrap(), &c["ports"])).collect();
    assert!(effects.contains(&("loses", &WEB.to_string().into())), "{foretold}");
    assert!(effects.contains(&("gains", &EVENTS.to_string().into())), "{foretold}");
    assert_eq!(foretold["roles"][0]["clients"], serde_json::json!(["anna-laptop"]));
    assert_eq!(foretold["flows_cut"].as_array().unwrap().len(), 2, "{foretold}");
    let replayed = json(&site, &["-c", candidate, "policy", "replay", "--since", "1h", "--json"], 1);
    let refused = &replayed["refused"][0];
    assert_eq!(
        (refused["count"].as_u64(), text(refused, "ports")),
        (Some(2), &*WEB.to_string()),
        "{replayed}"
    );
    assert_eq!(replayed["refused"].as_array().unwrap().len(), 1, "{replayed}");
    assert!(is_open(&idle));

    // Done.
    fs::write(site.config(), format!("{base}{AFTER}")).unwrap();
    let reloaded = json(&site, &["reload", "--json"], 0);
    assert_eq!(reloaded["in_force"], true, "{reloaded}");
    download.wait_for_silence(Duration::from_secs(2)).unwrap();
    download.finish().unwrap_err();
    assert_eq!(connect(&client, Server::Mgmt, WEB).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    connect(&client, Server::Mgmt, EVENTS).unwrap();
    assert!(is_open(&video) && !is_open(&idle));
    site.stop().unwrap();

    // On record: of the flows that were open, those foretold were cut, and no other.
    let flows: Vec<Flow> = site.records("flows", &["--reason", "policy"]).unwrap();
    assert_eq!(flows.len(), 2, "{flows:?}");
    assert!(flows.iter().all(|flow| flow.destination.port == Some(WEB)), "{flows:?}");
    let denials: Vec<Denial> = site.records("denials", &[]).unwrap();
    let lost = denials.iter().find(|denial| denial.ports().contains(&WEB)).unwrap();
    assert_eq!((&*lost.reason, lost.rule.as_deref()), (text(refused, "reason"), refused["rule"].as_str()));
    for cut in foretold["flows_cut"].as_array().unwrap() {
        assert_eq!((text(cut, "reason"), cut["rule"].as_str()), (&*lost.reason, lost.rule.as_deref()));
    }
    let replayed = json(&site, &["policy", "replay", "--since", "1h", "--json"], 1);
    let allowed = replayed["allowed"].as_array().unwrap();
    assert_eq!(allowed.len(), 1, "the one attempt that was refused before and is not now: {replayed}");
    assert_eq!(text(&allowed[0], "ports"), EVENTS.to_string());
    let reached: Vec<Flow> = site.records("flows", &[]).unwrap();
    assert!(reached.iter().any(|flow| flow.destination.port == Some(EVENTS)), "{reached:?}");
}

fn connect(client: &StockClient, server: Server, port: u16) -> std::io::Result<TcpStream> {
    let to = SocketAddr::new(server.v4().into(), port);
    client.host.namespace.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap()
}

/// Whether the other end has not reset the connection.
fn is_open(connection: &TcpStream) -> bool {
    connection.set_nonblocking(true).unwrap();
    match connection.peek(&mut [0]) {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// The JSON that a command prints, which ends with this exit status.
fn json(site: &Site, arguments: &[&str], status: i32) -> Value {
    let output = site.vmsgate(arguments).output_in_time().unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema_version"], 1, "{report}");
    report
}

fn nothing_changes(site: &Site, arguments: &[&str]) {
    let output = site.vmsgate(arguments).output_in_time().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.ends_with("nothing changes for anybody\n"), "{told}");
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}
