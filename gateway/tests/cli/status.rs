use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    thread,
};

use serde_json::json;

use crate::site::{CONFIG, Site, json};

/// A gateway's answer as the socket carries it.
fn report(ready: bool) -> serde_json::Value {
    json!({
        "schema_version": 1,
        "gateway": "gw-1",
        "version": "0.1.0",
        "started": "2026-03-01T09:30:00.000Z",
        "uptime_seconds": 3723,
        "policy_version": "0123456789abcdef",
        "egress": "proxy",
        "workers": 2,
        "listen": ["0.0.0.0:51820"],
        "tunnel_addresses": ["10.99.0.1"],
        "clients": 12,
        "conditions": [
            {"code": "event-loop", "ok": true, "text": "the event loop turns"},
            {"code": "audit-accepting", "ok": ready, "text": "the disk is full"},
        ],
        "audit": {"accepting": ready, "text": "the disk is full", "queued": 0, "queue_limit": 65536},
        "totals": {
            "flows_open": 2,
            "flows_opened": 10,
            "flows_refused": {"never-exposed": 3},
            "handshakes_accepted": 4,
            "handshakes_rejected": {},
            "traffic": {"rx_bytes": 1000, "tx_bytes": 2_000_000, "rx_packets": 10, "tx_packets": 2000},
            "drops": {"spoofed-source": 1},
        },
        "identities": [{"fingerprint": "0123456789abcdef", "state": "active", "sessions": 1}],
        "expiring": [{"client": "bert-laptop", "expires": "2026-03-05T12:00:00.000Z"}],
        "sessions": [{
            "session": "01890000-0000-7000-8000-000000000000",
            "client": "anna-laptop",
            "operator": "Anna Berg",
            "role": "smart-client",
            "tunnel_addresses": ["10.99.0.2"],
            "endpoint": "203.0.113.7:40000",
            "since": "2026-03-01T09:31:00.000Z",
            "last_handshake": null,
            "last_seen": "2026-03-01T10:31:00.000Z",
            "flows": 2,
            "identity": "0123456789abcdef",
            "post_quantum": true,
            "traffic": {"rx_bytes": 1000, "tx_bytes": 2_000_000, "rx_packets": 10, "tx_packets": 2000},
        }],
        "added_later": true,
    })
}

/// A site whose control socket gives one answer.
fn site_that_answers(status: &str, body: String) -> Site {
    let site = Site::new(CONFIG);
    let listener = UnixListener::bind(site.data().control_socket()).unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        assert!(request[..length].starts_with(b"GET /v1/status HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).unwrap();
    });
    site
}

#[test]
fn a_ready_gateway_is_shown() {
    let outcome = site_that_answers("200 OK", report(true).to_string()).vmsgate(&["status"]);
    let session = "anna-laptop  Anna Berg  smart-client  203.0.113.7:40000  10.99.0.2  2026-03-01 09:31:00 UTC  \
                   2026-03-01 10:31:00 UTC  0123456789abcdef  yes           2      1.0 kB    2.0 MB\n-- err\n";
    assert!(
        outcome.starts_with(
            "exit 0\n-- out\n\
             gateway gw-1, vmsgate 0.1.0, up 1h 2m\n\
             policy 0123456789abcdef, egress proxy, 2 workers, listening on udp 0.0.0.0:51820\n\
             ok: the event loop turns\n\
             ok: the disk is full\n\
             12 clients, 1 session, 2 open flows, 10 since start, 4 handshakes\n\
             received 1.0 kB in 10 packets, sent 2.0 MB in 2000 packets\n\
             flows refused: never-exposed 3\n\
             packets dropped: spoofed-source 1\n\
             identity 0123456789abcdef: active, 1 session\n\
             expires soon: client bert-laptop on 2026-03-05 12:00:00 UTC\n\n\
             CLIENT"
        ),
        "{outcome}"
    );
    assert!(outcome.ends_with(session), "{outcome}");
}

#[test]
fn a_gateway_that_is_not_ready_is_the_answer_no() {
    let outcome = site_that_answers("200 OK", report(false).to_string()).vmsgate(&["status"]);
    assert!(outcome.starts_with("exit 1\n") && outcome.contains("\nNOT OK: the disk is full\n"), "{outcome}");
    let outcome = site_that_answers("200 OK", report(false).to_string()).vmsgate(&["status", "--json"]);
    let document = json(&outcome);
    assert!(outcome.starts_with("exit 1\n"));
    assert_eq!((&document["schema_version"], &document["sessions"][0]["flows"]), (&json!(1), &json!(2)));
}

#[test]
fn no_gateway_is_said() {
    let site = Site::new(CONFIG);
    let outcome = site.vmsgate(&["status"]);
    assert_eq!(
        outcome,
        "exit 1\n-- out\n-- err\nerror: no gateway is running with the data directory `data`\n\n\
         hint: start it with `vmsgate run`, or name the directory of the running one with `--data DIR`\n"
    );
    drop(UnixListener::bind(site.data().control_socket()).unwrap());
    assert_eq!(site.vmsgate(&["status"]), outcome, "a socket left behind is no gateway");
}

#[test]
fn an_answer_that_is_none_is_said() {
    let refused = r#"{"error":{"code":"stopping","message":"the gateway is shutting down"}}"#.to_owned();
    let outcome = site_that_answers("503 Service Unavailable", refused).vmsgate(&["status"]);
    assert_eq!(
        outcome,
        "exit 2\n-- out\n-- err\nerror: the gateway gave no answer\n  caused by: the gateway is shutting down\n"
    );
    let outcome = site_that_answers("200 OK", "{}".to_owned()).vmsgate(&["status"]);
    assert!(outcome.contains("use the `vmsgate` of the same version as the running gateway"), "{outcome}");
    let mut newer = report(true);
    newer["schema_version"] = json!(2);
    let outcome = site_that_answers("200 OK", newer.to_string()).vmsgate(&["status"]);
    assert!(
        outcome.starts_with("exit 1\n-- out\n-- err\nerror: the gateway answers in form 2, newer"),
        "{outcome}"
    );
}
