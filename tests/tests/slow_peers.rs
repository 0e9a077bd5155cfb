//! Slow-loris: a client that opens connections to the control services and trickles takes nothing from another client.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    process::{PATIENCE, capture},
    require::can_run,
    site::{self, Site},
    stock,
    topology::Family,
};

/// As many as one client tries to hold at each service.
const HELD: usize = 150;
/// Between a byte on one connection and a byte on the next.
const PACE: Duration = Duration::from_millis(10);

#[test]
fn connections_that_trickle_at_the_control_services_are_cut_and_take_nothing_from_another_client() {
    if !can_run(&[&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat()) {
        return;
    }
    let site = Site::start(Family::V4).unwrap();
    let slow = site.stock_client("slow", "smart-client").unwrap();
    let other = site.stock_client("other", "smart-client").unwrap();
    let starts: [(&str, &[u8]); 3] = [
        ("10.99.0.1:80", b"GET /v1/profile HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        (
            "10.99.0.1:80",
            b"POST /v1/keys HTTP/1.1\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{",
        ),
        ("10.99.0.1:53", &[0]),
    ];
    let open = || {
        let mut held = Vec::new();
        for (address, start) in starts {
            for _ in 0..HELD {
                // What is above the client's share may be refused: that is a bound too.
                let timeout = Duration::from_secs(2);
                let Ok(mut stream) = TcpStream::connect_timeout(&address.parse().unwrap(), timeout) else {
                    break;
                };
                if stream.write_all(start).is_ok() {
                    held.push(stream);
                }
            }
        }
        held
    };
    let mut held = slow.host.namespace.run(open).unwrap();
    assert!(held.len() >= 3, "only {} connections were held", held.len());

    let mut curl = other.command("curl");
    let curl = curl.args(["-sS", "--fail", "--noproxy", "*", "http://10.99.0.1/v1/profile"]);
    let profile: serde_json::Value = serde_json::from_str(&capture(curl).unwrap()).unwrap();
    assert_eq!(profile["client"], "other");

    // Every one is ended by the gateway, however it trickles.
    let deadline = Instant::now() + PATIENCE;
    while !held.is_empty() {
        assert!(Instant::now() < deadline, "{} connections still trickle", held.len());
        held.retain_mut(trickles);
    }
}

/// Says one more byte. Whether the gateway still listens.
fn trickles(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PACE)).unwrap();
    let said = stream.write_all(b"x");
    match stream.read(&mut [0; 512]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => said.is_ok() && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}
