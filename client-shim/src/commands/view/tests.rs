//! The page as text, in windows of several sizes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::{Value, json};
use vmsgate_shim::Report;

use super::draw::page;
use super::messages::{Kind, Messages};
use super::model::Model;

fn now() -> Timestamp {
    "2026-11-24T12:14:00Z".parse().unwrap()
}

fn listener(ip: &str, port: u16, service: &str) -> Value {
    json!({"listen": format!("{ip}:{port}"), "service": service, "error": null, "last_failure": null})
}

fn document() -> Value {
    let mut servers = json!([
        {"name": "mgmt", "hostnames": ["mgmt"], "addresses": ["192.168.10.10"], "loopback": "127.91.7.12",
         "listeners": [listener("127.91.7.12", 80, "management-server"),
                       listener("127.91.7.12", 443, "management-server"),
                       listener("127.91.7.12", 22331, "event-server")], "omitted": []},
        {"name": "rec01", "hostnames": ["rec01"], "addresses": ["192.168.10.21"], "loopback": "127.125.208.243",
         "listeners": [listener("127.125.208.243", 7563, "recording-server")], "omitted": []},
        {"name": "rec02", "hostnames": ["rec02"], "addresses": ["192.168.10.22"], "loopback": "127.125.208.244",
         "listeners": [listener("127.125.208.244", 7563, "recording-server")], "omitted": []},
    ]);
    servers[0]["listeners"][0]["error"] =
        json!({"message": "the port is taken", "hint": "end the program that has it"});
    servers[2]["listeners"][0]["last_failure"] = json!({
        "time": "2026-11-24T12:11:00Z", "to": "192.168.10.22:7563", "reason": "the server does not answer"});
    json!({
        "profile": "alice", "state": "connected", "since": "2026-11-24T10:00:00Z",
        "started": "2026-11-24T10:00:00Z", "trouble": null, "endpoint": "198.51.100.10:51820",
        "tunnel_addresses": ["10.99.0.2"], "handshake_age_ms": 60000, "round_trip_ms": 12,
        "bytes_received": 1_234_000_000, "bytes_sent": 30_000_000, "open_connections": 7, "last_failure": null,
        "keys": {"fingerprint": "0011", "created": "2026-11-01T00:00:00Z", "ends": "2027-02-01T00:00:00Z",
                 "gateway_fingerprint": "aabb", "post_quantum": true, "agreed": "2026-11-24T12:00:00Z",
                 "post_quantum_required": false, "error": null},
        "site": {"gateway": "gw-1", "client": "alice-laptop", "operator": "Alice Example", "role": "smart-client",
                 "expires": "2026-12-01T00:00:00Z", "clock_offset_ms": 0, "warnings": []},
        "servers": servers, "forwards": [],
    })
}

fn report(document: &Value) -> Report {
    serde_json::from_value(document.clone()).unwrap()
}

fn model() -> Model {
    let messages = Messages::default();
    messages.say("2026-11-24T10:00:01Z".parse().unwrap(), Kind::Good, "connected to the gateway");
    messages.say(
        "2026-11-24T12:10:59Z".parse().unwrap(),
        Kind::Problem,
        "no answer from the gateway, trying on",
    );
    let mut model = Model::new(messages, false);
    model.zone = TimeZone::UTC;
    let (start, mut received, mut sent) = (Instant::now(), 0, 0);
    for second in 0..=60 {
        received += second * 100_000;
        sent += 10_000;
        model.rates.note(received, sent, start + Duration::from_secs(second));
    }
    model
}

fn drawn(document: &Value, model: &mut Model, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| page(frame, model, &report(document), now())).unwrap();
    terminal
}

/// The page's rows without the blanks at their ends.
fn text(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width);
    let symbols: Vec<&str> = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
    symbols.chunks(width).map(|row| row.concat().trim_end().to_owned() + "\n").collect()
}

fn screen(document: &Value, width: u16, height: u16) -> String {
    text(&drawn(document, &mut model(), width, height))
}

#[test]
fn a_usual_window_shows_everything() {
    assert_eq!(screen(&document(), 80, 24), USUAL);
}

const USUAL: &str = "\
alice  vmsgate-shim                                       ● connected for 2h 14m
gateway  gw-1 at 198.51.100.10:51820, 12 ms away
traffic  ↓ 48.0 Mbit/s  ↑ 80.0 kbit/s  7 connections, 1.2 GB down, 30.0 MB up
person   Alice Example, role smart-client, device alice-laptop
access   for another 6d 11h, key replaced by itself within 68d 11h, post-quantum
! access ends in 6d 11h
received, 39 s, at most 48.0 Mbit/s      sent, 39 s, at most 80.0 kbit/s
                     ▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇█  ███████████████████████████████████████
 ▁▁▂▂▂▃▃▄▄▄▅▅▆▆▆▇▇█████████████████████  ███████████████████████████████████████
███████████████████████████████████████  ███████████████████████████████████████
SERVER    HERE             SERVICES  2 with problems
mgmt      127.91.7.12      × management-server 80: the port is taken; end the p…
                           ● event-server 22331
                           ● management-server 443
rec01     127.125.208.243  ● recording-server 7563
rec02     127.125.208.244  ! recording-server 7563: 3m ago the server does not …




MESSAGES
10:00:01 connected to the gateway
12:10:59 ! no answer from the gateway, trying on
q or Ctrl-C ends it   ↑ ↓ move the list
";

#[test]
fn a_small_window_keeps_the_state_and_the_servers() {
    assert_eq!(screen(&document(), 40, 10), SMALL);
}

const SMALL: &str = "\
alice  vmsgate-…  ● connected for 2h 14m
gateway  gw-1 at 198.51.100.10:51820, 1…
traffic  ↓ 48.0 Mbit/s  ↑ 80.0 kbit/s  …
! access ends in 6d 11h
SERVER    SERVICES  2 with problems  ↓ 1
mgmt      × management-server 80: the p…
          ● event-server 22331
          ● management-server 443
rec01     ● recording-server 7563
q or Ctrl-C ends it   ↑ ↓ move the list
";

#[test]
fn a_proxy_is_named_with_what_it_leads_to() {
    let mut proxied = document();
    proxied["proxy"] = json!({"listen": "127.0.0.1:1080", "username": "vmsgate"});
    for server in proxied["servers"].as_array_mut().unwrap() {
        server["loopback"] = json!(null);
        server["listeners"] = json!([]);
        server["services"] =
            json!([{"service": "recording-server", "protocol": "tcp", "first": 7563, "last": 7564}]);
    }
    let screen = screen(&proxied, 80, 24);
    for line in [
        "\nproxy    SOCKS5 and HTTP at 127.0.0.1:1080, user vmsgate\n",
        "\nrec01     proxy            ● 7563-7564\n",
    ] {
        assert!(screen.contains(line), "{screen}");
    }
}

#[test]
fn no_window_is_too_small_and_none_too_large() {
    for (width, height) in [(1, 1), (3, 2), (10, 4), (39, 8), (1, 60), (300, 1), (300, 90)] {
        screen(&document(), width, height);
    }
}

#[test]
fn before_the_gateway_has_answered_the_reason_is_what_is_shown() {
    let mut waiting = document();
    for (field, value) in [
        ("state", json!("no-answer")),
        ("since", json!("2026-11-24T12:13:00Z")),
        ("trouble", json!("vpn.example.org does not resolve")),
        ("endpoint", json!(null)),
        ("site", json!(null)),
        ("servers", json!([])),
    ] {
        waiting[field] = value;
    }
    let screen = screen(&waiting, 80, 24);
    for line in
        ["× no answer for 1m", "looking for its address", "! vpn.example.org does not resolve", "none yet"]
    {
        assert!(screen.contains(line), "{line}\n{screen}");
    }
    assert!(!screen.contains("ms away"), "{screen}");
}

#[test]
fn long_and_hostile_names_move_nothing_and_control_nothing() {
    let mut hostile = document();
    let long = "レコーダー".repeat(40);
    hostile["profile"] = json!(format!("{long}\u{1b}[2J\u{202e}"));
    hostile["site"]["operator"] = json!("\u{1b}]0;x\u{7}\u{202e}evil\u{202c}");
    hostile["servers"][0]["name"] = json!("a".repeat(253));
    hostile["servers"][0]["listeners"][0]["error"]["message"] = json!(format!("\u{1b}[31m{long}"));
    for (width, height) in [(80, 24), (40, 10), (61, 30)] {
        let screen = screen(&hostile, width, height);
        assert!(!screen.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{screen}");
        let title = screen.lines().next().unwrap();
        assert!(title.ends_with("● connected for 2h 14m"), "{screen}");
        let name = screen.lines().find(|line| line.starts_with("aaa")).unwrap();
        assert!(name.chars().skip_while(|c| *c == 'a').collect::<String>().starts_with("…  "), "{screen}");
        assert!(screen.contains("rec01 "), "{screen}");
    }
}

#[test]
fn a_list_that_does_not_fit_can_be_moved_as_far_as_its_end() {
    let mut many = document();
    let server = many["servers"][1].clone();
    many["servers"] = (0..30)
        .map(|n| {
            let mut server = server.clone();
            server["name"] = json!(format!("rec{n:02}"));
            server
        })
        .collect();
    let mut model = model();
    let top = text(&drawn(&many, &mut model, 80, 24));
    assert!(top.contains("rec00 ") && top.contains("SERVICES  ↓ "), "{top}");
    model.scroll(1);
    let next = text(&drawn(&many, &mut model, 80, 24));
    assert!(!next.contains("rec00 ") && next.contains("rec01 "), "{next}");
    model.scroll(isize::MAX);
    let end = text(&drawn(&many, &mut model, 80, 24));
    assert!(end.contains("rec29 ") && end.contains("SERVICES  ↑ "), "{end}");
    model.scroll(isize::MIN);
    assert_eq!(text(&drawn(&many, &mut model, 80, 24)), top);
}

#[test]
fn colour_says_the_same_as_the_signs_and_is_left_out_where_it_is_not_wanted() {
    let signs = |colour: bool| {
        let mut model = model();
        model.styles = Model::new(Messages::default(), colour).styles;
        let terminal = drawn(&document(), &mut model, 80, 24);
        let buffer = terminal.backend().buffer();
        let signs = buffer.content.iter().filter(|cell| ["●", "×", "!"].contains(&cell.symbol()));
        signs.map(|cell| (cell.symbol().to_owned(), cell.fg)).collect::<Vec<_>>()
    };
    let coloured = signs(true);
    for (sign, colour) in [("●", Color::Green), ("×", Color::Red), ("!", Color::Yellow)] {
        let mut found = coloured.iter().filter(|(symbol, _)| symbol == sign).peekable();
        assert!(found.peek().is_some() && found.all(|(_, fg)| *fg == colour), "{sign}: {coloured:?}");
    }
    assert!(signs(false).iter().all(|(_, fg)| *fg == Color::Reset));
}
