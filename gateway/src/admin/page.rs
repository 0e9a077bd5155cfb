//! The page that `/metrics` serves. No label names a client: how many time series there are grows with what the
//! configuration names, up to a bound, and never with who connects.
//!
//! A counter with labels is there from the start with every value that they can have, at zero: what first appears at one
//! is no increase to Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use vmsgate_tunnel::counters::Counters;
use vmsgate_tunnel::event::Rejection;
use vmsgate_tunnel::flow::CloseReason;
use vmsgate_tunnel::policy::DenyReason;

use super::exposition::Exposition;
use super::status::{QueueStatus, Status, Totals};
use crate::ship::ShipState;

/// Each metric is described in `docs/metrics.md`, with these words.
pub fn page(status: &Status) -> String {
    let mut page = Exposition::default();
    gateway(&mut page, status);
    sessions(&mut page, status);
    traffic(&mut page, status);
    flows(&mut page, status);
    limits(&mut page, &status.totals);
    load(&mut page, status);
    audit(&mut page, status);
    keys(&mut page, status);
    process(&mut page, status);
    page.into_text()
}

fn gateway(page: &mut Exposition, status: &Status) {
    let labels = [("version", status.version.as_str()), ("egress", status.egress.as_str())];
    page.gauge("vmsgate_build_info", "Always 1; the labels say what runs.").sample(&labels, 1);
    let mut conditions = page.gauge("vmsgate_condition", "Whether a condition of `/readyz` holds.");
    for condition in &status.conditions {
        conditions.sample(&[("condition", condition.code.as_str())], u8::from(condition.ok));
    }
}

fn sessions(page: &mut Exposition, status: &Status) {
    let post_quantum = status.sessions.iter().filter(|session| session.post_quantum).count();
    page.gauge("vmsgate_clients", "Clients that the gateway knows, invitations included.")
        .sample(&[], status.clients);
    page.gauge(
        "vmsgate_sessions",
        "Open sessions, by whether they are under a pre-shared key agreed with ML-KEM-768.",
    )
    .sample(&[("post_quantum", "false")], status.sessions.len() - post_quantum)
    .sample(&[("post_quantum", "true")], post_quantum);
    let mut handshakes =
        page.counter("vmsgate_handshakes_total", "Handshakes that clients began, by what became of them.");
    handshakes.sample(&[("result", "accepted")], status.totals.handshakes_accepted);
    for (reason, count) in counted(&status.totals.handshakes_rejected, Rejection::ALL.map(Rejection::as_str))
    {
        handshakes.sample(&[("result", reason)], count);
    }
}

fn traffic(page: &mut Exposition, status: &Status) {
    let all = &status.totals.traffic;
    page.counter("vmsgate_bytes_total", "Bytes inside the tunnel, received from clients or sent to them.")
        .sample(&[("direction", "received")], all.rx_bytes)
        .sample(&[("direction", "sent")], all.tx_bytes);
    page.counter(
        "vmsgate_packets_total",
        "Packets inside the tunnel, received from clients or sent to them.",
    )
    .sample(&[("direction", "received")], all.rx_packets)
    .sample(&[("direction", "sent")], all.tx_packets);
    let servers = &status.totals.servers;
    let mut bytes =
        page.counter("vmsgate_server_bytes_total", "Bytes of flows to a server, seen from the clients.");
    for (server, moved) in servers {
        bytes.sample(&[("server", server), ("direction", "received")], moved.rx_bytes);
        bytes.sample(&[("server", server), ("direction", "sent")], moved.tx_bytes);
    }
    let mut packets =
        page.counter("vmsgate_server_packets_total", "Packets of flows to a server, seen from the clients.");
    for (server, moved) in servers {
        packets.sample(&[("server", server), ("direction", "received")], moved.rx_packets);
        packets.sample(&[("server", server), ("direction", "sent")], moved.tx_packets);
    }
    let mut drops = page
        .counter("vmsgate_dropped_packets_total", "Datagrams and packets that went no further, by reason.");
    for (reason, count) in
        counted(&status.totals.drops, Counters::default().drops().map(|(reason, _)| reason))
    {
        drops.sample(&[("reason", reason)], count);
    }
}

fn flows(page: &mut Exposition, status: &Status) {
    let totals = &status.totals;
    page.gauge("vmsgate_flows", "Open flows, with those to the control services.")
        .sample(&[], totals.flows_open);
    page.counter("vmsgate_flows_opened_total", "Flows that were opened, with those to the control services.")
        .sample(&[], totals.flows_opened);
    let mut closed = page.counter(
        "vmsgate_flows_closed_total",
        "Flows to the recording network that ended, by the reason in their record.",
    );
    for (reason, count) in counted(&totals.flows_closed, CloseReason::ALL.map(CloseReason::as_str)) {
        closed.sample(&[("reason", reason)], count);
    }
    let mut refused = page.counter(
        "vmsgate_flows_refused_total",
        "Attempts to open a flow that were refused, by the reason in the denial's record.",
    );
    for (reason, count) in counted(&totals.flows_refused, DenyReason::ALL.map(DenyReason::as_str)) {
        refused.sample(&[("reason", reason)], count);
    }
    let mut denials = page.counter(
        "vmsgate_denials_total",
        "The same attempts by the client's role and the service that was asked for.",
    );
    for (role, services) in &totals.denials {
        for (service, count) in services {
            denials.sample(&[("role", role), ("service", service)], count);
        }
    }
}

/// What came up against a limit.
fn limits(page: &mut Exposition, totals: &Totals) {
    let count =
        |counts: &BTreeMap<String, u64>, reason: &str| counts.get(reason).copied().unwrap_or_default();
    page.counter(
        "vmsgate_limited_total",
        "Times that a limit held a client back: flows refused, packets dropped or waits of connections for bandwidth, \
         handshakes not answered.",
    )
    .sample(&[("limit", "flows")], count(&totals.flows_refused, "flow-limit"))
    .sample(&[("limit", "new-flows")], count(&totals.flows_refused, "new-flow-limit"))
    .sample(&[("limit", "bandwidth-drop")], count(&totals.drops, "bandwidth"))
    .sample(&[("limit", "bandwidth-wait")], totals.bandwidth_waits)
    .sample(&[("limit", "handshakes")], count(&totals.handshakes_rejected, "rate-limited"));
}

fn load(page: &mut Exposition, status: &Status) {
    page.gauge("vmsgate_workers", "Threads that move packets.").sample(&[], status.workers);
    let mut busy = page.counter(
        "vmsgate_worker_busy_seconds_total",
        "Time that a worker's event loop did not wait; a rate near 1 is a worker that can do no more.",
    );
    for (at, load) in status.loads.iter().enumerate() {
        busy.sample(&[("worker", &at.to_string())], load.busy_seconds);
    }
    let handover = status.loads.iter().map(|load| load.handover);
    // The fullest one: it drops first.
    let handover = handover.max_by_key(|queue| queue.queued).unwrap_or_default();
    let audit = QueueStatus { queued: status.audit.queued, limit: status.audit.queue_limit };
    let queues = [("audit", audit), ("handover", handover), ("key-changes", status.key_changes)];
    let mut lengths =
        page.gauge("vmsgate_queue_length", "What waits in a queue; of the workers' queues, in the fullest.");
    for (queue, is) in queues {
        lengths.sample(&[("queue", queue)], is.queued);
    }
    let mut limits = page.gauge("vmsgate_queue_limit", "How much may wait in that queue.");
    for (queue, is) in queues {
        limits.sample(&[("queue", queue)], is.limit);
    }
    page.gauge("vmsgate_unrecorded_flows", "New flows whose packets wait for their record to be on disk.")
        .sample(&[], status.loads.iter().map(|load| load.unrecorded_flows).sum::<u64>());
    page.gauge("vmsgate_send_queue_bytes", "Bytes that the UDP sockets did not take at once.")
        .sample(&[], status.loads.iter().map(|load| load.send_bytes).sum::<u64>());
}

fn audit(page: &mut Exposition, status: &Status) {
    let audit = &status.audit;
    page.gauge("vmsgate_audit_accepting", "1 while new flows may be opened, as far as the audit log goes.")
        .sample(&[], u8::from(audit.accepting));
    page.gauge("vmsgate_audit_lag_seconds", "How long the oldest record at the writer waits for the disk.")
        .sample(&[], Duration::from_millis(audit.behind_ms).as_secs_f64());
    page.counter("vmsgate_audit_records_written_total", "Records of the audit log that are on disk.")
        .sample(&[], audit.written);
    page.counter("vmsgate_audit_records_lost_total", "Records that were lost, each told by an `audit.gap`.")
        .sample(&[], audit.lost);
    let mut failing =
        page.gauge("vmsgate_shipping_failing", "1 while a receiver of the audit log cannot be reached.");
    for ship in &status.shipping {
        failing.sample(&[("receiver", &ship.name)], u8::from(ship.state == ShipState::Failing));
    }
    let mut behind =
        page.gauge("vmsgate_shipping_behind_records", "Records that a receiver has not received yet.");
    for ship in &status.shipping {
        behind.sample(&[("receiver", &ship.name)], ship.behind);
    }
    let mut rejected = page
        .counter("vmsgate_shipping_rejected_total", "Records that a receiver took and said it did not keep.");
    for ship in &status.shipping {
        rejected.sample(&[("receiver", &ship.name)], ship.rejected);
    }
}

fn keys(page: &mut Exposition, status: &Status) {
    page.gauge(
        "vmsgate_clients_expiring",
        "Clients whose access ends within 14 days, because their validity or the key on their device ends.",
    )
    .sample(&[], status.expiring.len());
    page.gauge(
        "vmsgate_clients_expired",
        "Clients whose validity is over, without those suspended or revoked.",
    )
    .sample(&[], status.expired);
    let mut next = page.gauge(
        "vmsgate_clients_next_end_timestamp_seconds",
        "When the next client loses its access; no sample while no end is set.",
    );
    if let Some(end) = status.next_end {
        next.sample(&[], end.as_second());
    }
    let mut identities = page.gauge("vmsgate_identities", "Key pairs of the gateway that answer.");
    for state in ["active", "retiring"] {
        let count = status.identities.iter().filter(|identity| identity.state == state).count();
        identities.sample(&[("state", state)], count);
    }
    let mut requests = page.counter(
        "vmsgate_key_requests_total",
        "Requests of clients about their keys, by what became of them.",
    );
    for (request, results) in &status.key_requests {
        for (result, count) in results {
            requests.sample(&[("request", request), ("result", result)], count);
        }
    }
}

/// The names that Prometheus' own libraries give these.
fn process(page: &mut Exposition, status: &Status) {
    let process = &status.process;
    let mut memory = page.gauge("process_resident_memory_bytes", "Memory of the process that is in use.");
    if let Some(bytes) = process.resident_bytes {
        memory.sample(&[], bytes);
    }
    let mut open = page.gauge("process_open_fds", "Open descriptors: sockets, files, pipes.");
    if let Some(count) = process.open_descriptors {
        open.sample(&[], count);
    }
    let mut limit = page.gauge("process_max_fds", "How many may be open; no sample without a limit.");
    if let Some(count) = process.descriptor_limit {
        limit.sample(&[], count);
    }
    let mut cpu = page.counter("process_cpu_seconds_total", "Processor time, of all threads.");
    if let Some(seconds) = process.cpu_seconds {
        cpu.sample(&[], seconds);
    }
    let mut start = page.gauge("process_start_time_seconds", "When the process started.");
    if let Ok(started) = status.started.parse::<Timestamp>() {
        start.sample(&[], started.as_second());
    }
}

/// Every name that is known, and whatever else was counted.
fn counted<'a>(
    counts: &'a BTreeMap<String, u64>,
    known: impl IntoIterator<Item = &'static str>,
) -> Vec<(&'a str, u64)> {
    let mut names: BTreeSet<&'a str> = counts.keys().map(String::as_str).collect();
    for name in known {
        names.insert(name);
    }
    names.into_iter().map(|name| (name, counts.get(name).copied().unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests;
