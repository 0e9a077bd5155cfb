use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::admin::ProcessStatus;
use crate::admin::status::{
    AuditStatus, Expiring, IdentityStatus, SessionStatus, Traffic, WorkerLoad, example,
};
use crate::health::{Condition, ConditionCode};
use crate::ship::ShipStatus;

/// [`example`] a busy day later.
fn busy() -> Status {
    let mut status = example();
    status.version = "9.9.9".to_owned();
    status.started = "2026-01-02T03:04:06.000Z".to_owned();
    (status.workers, status.clients) = (3, 13);
    let accepting = ConditionCode::AuditAccepting;
    status.conditions = vec![Condition { code: accepting, ok: false, text: "the disk is full".to_owned() }];
    status.audit = AuditStatus {
        accepting: false,
        text: "the disk is full".to_owned(),
        queued: 7,
        queue_limit: 1000,
        behind_ms: 1500,
        written: 300,
        lost: 2,
    };
    status.shipping = vec![ShipStatus {
        name: "siem".to_owned(),
        to: "tls://siem.example.org:6514".to_owned(),
        state: ShipState::Failing,
        behind: 40,
        rejected: 1,
        last_error: None,
    }];
    let totals = &mut status.totals;
    (totals.flows_open, totals.flows_opened, totals.handshakes_accepted) = (3, 11, 5);
    totals.flows_refused.insert("never-exposed".to_owned(), 6);
    totals.flows_closed.insert("finished".to_owned(), 8);
    totals.handshakes_rejected.insert("revoked".to_owned(), 9);
    totals.drops.insert("forged".to_owned(), 10);
    totals.denials.entry("guard".to_owned()).or_default().insert("event-server".to_owned(), 12);
    totals.traffic = Traffic { rx_bytes: 21, tx_bytes: 22, rx_packets: 23, tx_packets: 24 };
    totals.bandwidth_waits = 9;
    totals.drops.insert("bandwidth".to_owned(), 8);
    totals.flows_refused.extend([("flow-limit".to_owned(), 7), ("new-flow-limit".to_owned(), 6)]);
    totals.handshakes_rejected.insert("rate-limited".to_owned(), 5);
    let moved = Traffic { rx_bytes: 25, tx_bytes: 26, rx_packets: 27, tx_packets: 28 };
    totals.servers.insert("rec01".to_owned(), moved);
    let load = WorkerLoad {
        busy_seconds: 1.5,
        handover: QueueStatus { queued: 3, limit: 256 },
        unrecorded_flows: 4,
        send_bytes: 500,
    };
    let fuller = QueueStatus { queued: 5, limit: 256 };
    status.loads = vec![load, WorkerLoad { busy_seconds: 0.25, handover: fuller, ..load }];
    status.key_changes.queued = 2;
    status.process = ProcessStatus {
        resident_bytes: Some(4096),
        open_descriptors: Some(31),
        descriptor_limit: Some(1024),
        cpu_seconds: Some(12.5),
    };
    status.expiring = vec![Expiring { client: "anna-laptop".to_owned(), expires: String::new() }];
    let stock = SessionStatus { post_quantum: false, ..status.sessions[0].clone() };
    status.sessions.extend([stock.clone(), stock]);
    status.expired = 4;
    status.next_end = Some("2026-01-02T03:04:05.678Z".parse().unwrap());
    let identity = |state: &str| IdentityStatus {
        fingerprint: "0123456789abcdef".to_owned(),
        state: state.to_owned(),
        sessions: 1,
    };
    status.identities = vec![identity("retiring"), identity("active")];
    let counts = |counts: &[(&str, u64)]| counts.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect();
    status.key_requests = [("psk".to_owned(), counts(&[("ok", 12), ("too-often", 1)]))].into_iter().collect();
    status
}

/// What a metric is, as the page or the documentation says.
#[derive(Debug, PartialEq, Eq)]
struct Description {
    kind: String,
    labels: BTreeSet<String>,
    meaning: String,
}

fn served(page: &str) -> BTreeMap<String, Description> {
    let mut metrics: BTreeMap<String, Description> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let meaning = meaning.to_owned();
            let description = Description { kind: String::new(), labels: BTreeSet::new(), meaning };
            assert!(metrics.insert(name.to_owned(), description).is_none(), "{name} is there twice");
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            metrics.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.split('"').step_by(2).filter_map(|part| part.strip_suffix('='));
            let labels = labels.map(|label| label.trim_start_matches(',').to_owned());
            metrics.get_mut(name).unwrap().labels.extend(labels);
        }
    }
    metrics
}

fn documented(text: &str) -> BTreeMap<String, Description> {
    let rows = text.lines().filter(|line| line.starts_with("| `vmsgate_") || line.starts_with("| `process_"));
    let description = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, _unit, labels, meaning] = cells[..] else { panic!("{row}") };
        let labels = labels.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
        let described = Description { kind: kind.to_owned(), labels, meaning: meaning.to_owned() };
        (name.trim_matches('`').to_owned(), described)
    };
    rows.map(description).collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    assert_eq!(documented(&std::fs::read_to_string(path).unwrap()), served(&page(&busy())));
}

#[test]
fn names_are_what_prometheus_expects() {
    for (name, metric) in served(&page(&busy())) {
        assert!(name.starts_with("vmsgate_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == "counter", "{name}");
    }
}

#[test]
fn the_numbers_are_those_of_the_status() {
    let page = page(&busy());
    for line in [
        "vmsgate_sessions{post_quantum=\"true\"} 1",
        "vmsgate_sessions{post_quantum=\"false\"} 2",
        "vmsgate_clients_expiring 1",
        "vmsgate_clients_expired 4",
        "vmsgate_clients_next_end_timestamp_seconds 1767323045",
        "vmsgate_identities{state=\"active\"} 1",
        "vmsgate_identities{state=\"retiring\"} 1",
        "vmsgate_key_requests_total{request=\"psk\",result=\"ok\"} 12",
        "vmsgate_key_requests_total{request=\"psk\",result=\"too-often\"} 1",
        "vmsgate_build_info{version=\"9.9.9\",egress=\"proxy\"} 1",
        "vmsgate_condition{condition=\"audit-accepting\"} 0",
        "vmsgate_handshakes_total{result=\"accepted\"} 5",
        "vmsgate_handshakes_total{result=\"revoked\"} 9",
        "vmsgate_handshakes_total{result=\"unknown-key\"} 0",
        "vmsgate_bytes_total{direction=\"sent\"} 22",
        "vmsgate_server_packets_total{server=\"rec01\",direction=\"received\"} 27",
        "vmsgate_dropped_packets_total{reason=\"forged\"} 10",
        "vmsgate_dropped_packets_total{reason=\"no-flow\"} 0",
        "vmsgate_flows_closed_total{reason=\"evicted\"} 0",
        "vmsgate_flows_refused_total{reason=\"never-exposed\"} 6",
        "vmsgate_limited_total{limit=\"flows\"} 7",
        "vmsgate_limited_total{limit=\"new-flows\"} 6",
        "vmsgate_limited_total{limit=\"bandwidth-drop\"} 8",
        "vmsgate_limited_total{limit=\"bandwidth-wait\"} 9",
        "vmsgate_limited_total{limit=\"handshakes\"} 5",
        "vmsgate_denials_total{role=\"guard\",service=\"event-server\"} 12",
        "vmsgate_worker_busy_seconds_total{worker=\"1\"} 0.25",
        "vmsgate_queue_length{queue=\"handover\"} 5",
        "vmsgate_queue_limit{queue=\"audit\"} 1000",
        "vmsgate_unrecorded_flows 8",
        "vmsgate_audit_lag_seconds 1.5",
        "vmsgate_shipping_failing{receiver=\"siem\"} 1",
        "process_start_time_seconds 1767323046",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing:\n{page}");
    }
}

#[test]
fn every_metric_follows_the_status() {
    let samples = |page: &str| {
        let mut samples: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            samples.entry(name.to_owned()).or_default().insert(line.to_owned());
        }
        samples
    };
    let (before, after) = (page(&example()), page(&busy()));
    let (before, after) = (samples(&before), samples(&after));
    for name in served(&page(&busy())).keys() {
        assert!(after.contains_key(name), "{name} has no sample");
        assert_ne!(before.get(name), after.get(name), "{name} does not move");
    }
}

#[test]
fn how_many_series_there_are_does_not_depend_on_the_clients() {
    let mut crowd = busy();
    let one = crowd.sessions[0].clone();
    crowd.sessions.extend(std::iter::repeat_n(one, 5000));
    crowd.clients = 5000;
    assert_eq!(page(&crowd).lines().count(), page(&busy()).lines().count());
}

#[test]
fn no_client_is_named_and_without_an_end_there_is_no_time_of_it() {
    let page = page(&example());
    for personal in ["anna", "Anna", "smart-client", "203.0.113.7", "10.99.0.2"] {
        assert!(!page.contains(personal), "{page}");
    }
    assert!(!page.contains("\nvmsgate_clients_next_end_timestamp_seconds "), "{page}");
}
