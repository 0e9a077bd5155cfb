//! Who accessed the system, from where, when, what, and what was refused: read afterwards, and while the gateway runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream},
};

use vmsgate_tests::{
    curl::{self, Download},
    process::{InTime, PATIENCE, capture},
    product::{Denial, Flow, Session},
    require::can_run,
    site::{self, Egress, Site},
    stock,
    topology::{Family, Server},
    web::FILE_BYTES,
};

#[test]
fn a_session_its_flows_and_its_denials_can_be_read_while_they_happen_and_afterwards() {
    let Some(mut site) = site() else { return };
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let from: IpAddr = client.host.v4.into();
    curl::fetch(client.command("curl"), "http://192.168.10.10/file").unwrap();
    let running = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    running.wait_for(1_000_000).unwrap();
    let mut refused = client.command("curl");
    refused.args(["--connect-timeout", "5"]);
    curl::fetch(refused, "http://192.168.10.10:1433/").unwrap_err();

    // While it runs: one open session, one flow that ended and one that is open.
    let sessions = until(&site, "sessions", |sessions: &[Session]| sessions.len() == 1);
    let session = &sessions[0];
    assert_eq!((session.client.as_str(), session.role.as_str()), ("anna-laptop", "smart-client"));
    assert_eq!(session.operator, "Operator of anna-laptop");
    assert_eq!(session.source.ip(), from);
    assert!(session.ended.is_none(), "{session:?}");
    let flows =
        until(&site, "flows", |flows: &[Flow]| flows.iter().filter(|flow| flow.ended.is_some()).count() == 1);
    assert!(flows.iter().any(|flow| flow.ended.is_none()), "{flows:?}");

    drop(running);
    site.stop().unwrap();
    let session = &site.records::<Session>("sessions", &["--client", "anna-laptop"]).unwrap()[0];
    assert!(session.ended.is_some() && session.reason.is_some(), "{session:?}");
    assert!(session.traffic.to_client.bytes > FILE_BYTES as u64, "{session:?}");
    let flows: Vec<Flow> = site.records("flows", &["--server", "mgmt"]).unwrap();
    assert_eq!(flows.len(), 2, "{flows:?}");
    for flow in &flows {
        assert_eq!(flow.protocol, "tcp");
        assert_eq!((flow.destination.address, flow.destination.port), (Server::Mgmt.v4().into(), Some(80)));
        assert_eq!(flow.destination.service.as_deref(), Some("management-server"));
        match Egress::asked_for().unwrap() {
            Egress::Proxy => {
                let source = flow.lan_source.as_ref().unwrap();
                assert_eq!(source.address, IpAddr::from([192, 168, 10, 1]));
                assert!(source.port.is_some(), "{flow:?}");
            }
            // The kernel chooses the port, and does not tell.
            Egress::Tun { .. } => assert!(flow.lan_source.is_none(), "{flow:?}"),
        }
        assert!(flow.ended.is_some(), "{flow:?}");
        assert_eq!(flow.session, session.session);
    }
    assert!(flows.iter().any(|flow| flow.traffic.to_client.bytes >= FILE_BYTES as u64), "{flows:?}");
    let denials: Vec<Denial> = site.records("denials", &["--operator", "Operator of anna-laptop"]).unwrap();
    let denial = denials.iter().find(|denial| denial.ports().contains(&1433)).unwrap();
    assert_eq!(
        (denial.destination.address, denial.destination.server.as_deref()),
        (Server::Mgmt.v4().into(), Some("mgmt"))
    );
    assert_eq!(
        (denial.protocol.as_str(), denial.source.ip(), denial.client.as_str()),
        ("tcp", from, "anna-laptop")
    );
    assert!(!denial.reason.is_empty() && denial.count > 0);
}

#[test]
fn what_a_killed_gateway_left_open_is_closed_as_a_crash_by_the_next() {
    let Some(mut site) = site() else { return };
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    let running = Download::start(client.command("curl"), "http://192.168.10.10/steady").unwrap();
    running.wait_for(1_000_000).unwrap();
    until(&site, "flows", |flows: &[Flow]| flows.len() == 1);
    site.kill().unwrap();
    drop(running);
    let sessions: Vec<Session> = site.records("sessions", &[]).unwrap();
    assert!(sessions[0].ended.is_none(), "{sessions:?}");

    site.run().unwrap();
    let sessions: Vec<Session> = site.records("sessions", &[]).unwrap();
    let crashed = sessions.iter().find(|session| session.reason.as_deref() == Some("gateway-crash"));
    assert!(crashed.is_some_and(|session| session.ended.is_some()), "{sessions:?}");
    let flows: Vec<Flow> = site.records("flows", &[]).unwrap();
    assert!(flows.iter().all(|flow| flow.ended.is_some()), "{flows:?}");
}

#[test]
fn explain_agrees_with_what_the_gateway_does() {
    let Some(site) = site() else { return };
    let client = site.stock_client("anna-laptop", "smart-client").unwrap();
    for (to, allowed) in
        [("192.168.10.10:80", true), ("192.168.10.21:7563", true), ("192.168.10.10:1433", false)]
    {
        let explained =
            site.vmsgate(&["explain", "--client", "anna-laptop", "--to", to]).output_in_time().unwrap();
        assert_eq!(explained.status.code(), Some(i32::from(!allowed)), "{to}: {explained:?}");
        let address: SocketAddr = to.parse().unwrap();
        let connected = client.host.namespace.run(|| TcpStream::connect_timeout(&address, PATIENCE)).unwrap();
        match connected {
            Ok(_) => assert!(allowed, "{to} was reached"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{to}");
                assert!(!allowed, "{to} was refused");
            }
        }
    }
    capture(&mut site.vmsgate(&["check"])).unwrap();
}

/// Reads records until they are as wanted; they are written in groups, a little behind.
fn until<T: serde::de::DeserializeOwned + std::fmt::Debug>(
    site: &Site,
    command: &str,
    wanted: impl Fn(&[T]) -> bool,
) -> Vec<T> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let rows: Vec<T> = site.records(command, &[]).unwrap();
        if wanted(&rows) {
            return rows;
        }
        assert!(std::time::Instant::now() < deadline, "{command}: {rows:?}");
    }
}

fn site() -> Option<Site> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    can_run(&programs).then(|| Site::start(Family::V4).unwrap())
}
