//! What the gateway says about itself, for `vmsgate status`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use vmsgate_cli::CliError;
use vmsgate_keys::{Identity, PublicKey};
use vmsgate_tunnel::flow;
use vmsgate_tunnel::peer;

use super::{Gateway, worker_error};
use crate::admin::ProcessStatus;
use crate::admin::status::{
    AuditStatus, Expiring, IdentityStatus, QueueStatus, SessionStatus, Status, Totals, Traffic, WorkerLoad,
};
use crate::control::warnings::expires_soon;
use crate::worker::{Load, Report};

impl Gateway {
    pub(super) async fn status(&self) -> Result<Status, CliError> {
        let report = self.workers.report().await.map_err(worker_error)?;
        let now = Timestamp::now();
        let health = self.recording.audit.health();
        let mut sessions: Vec<SessionStatus> =
            report.sessions.iter().map(|s| session(s, report.at, now)).collect();
        sessions.sort_by(|a, b| a.session.cmp(&b.session));
        Ok(Status {
            gateway: self.config.gateway.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: rfc3339(self.started),
            uptime_seconds: u64::try_from(now.duration_since(self.started).as_secs()).unwrap_or(0),
            policy_version: report.policy.to_string(),
            egress: self.config.gateway.egress.as_str().to_owned(),
            workers: self.workers.count(),
            listen: self.listening.clone(),
            tunnel_addresses: self.config.gateway.tunnel_addresses(),
            clients: report.clients as u64,
            conditions: self.health.conditions(Instant::now()),
            audit: AuditStatus {
                accepting: self.recording.accepting(),
                text: health.reason().to_owned(),
                queued: health.queued as u64,
                queue_limit: health.capacity as u64,
                behind_ms: health.behind_ms,
                written: health.written,
                lost: health.lost,
            },
            shipping: self.shipping.status(),
            totals: totals(&report),
            loads: report.loads.iter().map(load).collect(),
            key_changes: QueueStatus {
                queued: self.calls.len() as u64,
                limit: self.calls.max_capacity() as u64,
            },
            process: ProcessStatus::now(),
            identities: self.identities.iter().map(|identity| using(identity, &sessions)).collect(),
            expiring: self.expiring(now),
            expired: self.clients.ends(now).filter(|(_, end)| *end <= now).count() as u64,
            next_end: self.clients.ends(now).map(|(_, end)| end).filter(|end| *end > now).min(),
            key_requests: self.key_requests.totals(),
            sessions,
        })
    }
}

impl Gateway {
    /// Clients whose access ends within the time of the warning, the next first.
    fn expiring(&self, now: Timestamp) -> Vec<Expiring> {
        let soon = self.clients.ends(now).filter(|(_, end)| expires_soon(Some(*end), now));
        let soon = soon.map(|(client, end)| Expiring { client: client.to_owned(), expires: rfc3339(end) });
        let mut soon: Vec<Expiring> = soon.collect();
        soon.sort_by(|a, b| (&a.expires, &a.client).cmp(&(&b.expires, &b.client)));
        soon
    }
}

fn using(identity: &Identity, sessions: &[SessionStatus]) -> IdentityStatus {
    let fingerprint = identity.public_key.fingerprint().to_string();
    let users = sessions.iter().filter(|session| session.identity == fingerprint).count();
    IdentityStatus { state: identity.state.as_str().to_owned(), sessions: users as u64, fingerprint }
}

fn totals(report: &Report) -> Totals {
    let owned = |counts: &BTreeMap<&'static str, u64>| {
        counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    };
    let mut denials: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for ((role, service), count) in &report.refusals.by_role {
        denials.entry(role.to_string()).or_default().insert(service.to_string(), *count);
    }
    let servers = report.tally.servers.iter();
    let drops = report.counters.drops().filter(|(_, count)| *count > 0);
    Totals {
        flows_open: report.flows as u64,
        flows_opened: report.counters.flows_opened,
        bandwidth_waits: report.counters.turns_waited,
        flows_refused: owned(&report.refusals.denials),
        flows_closed: owned(&report.tally.closed),
        denials,
        servers: servers.map(|(server, moved)| (server.to_string(), traffic(*moved))).collect(),
        handshakes_accepted: report.counters.handshakes,
        handshakes_rejected: owned(&report.refusals.rejections),
        traffic: traffic(report.counters.traffic),
        drops: drops.map(|(reason, count)| (reason.to_owned(), count)).collect(),
    }
}

fn load(load: &Load) -> WorkerLoad {
    WorkerLoad {
        busy_seconds: load.busy.as_secs_f64(),
        handover: QueueStatus { queued: load.handover as u64, limit: load.handover_limit as u64 },
        unrecorded_flows: load.unrecorded_flows as u64,
        send_bytes: load.send_bytes as u64,
    }
}

fn session(session: &peer::SessionStatus, at: Instant, now: Timestamp) -> SessionStatus {
    let ago = |then: Instant| rfc3339_ago(now, at.saturating_duration_since(then));
    SessionStatus {
        session: session.info.id.to_string(),
        client: session.info.client.name.to_string(),
        operator: session.info.client.operator.to_string(),
        role: session.info.client.role.to_string(),
        tunnel_addresses: session.info.client.addresses.clone(),
        endpoint: Some(session.info.endpoint),
        since: ago(session.opened),
        last_handshake: session.handshake_age.map(|age| rfc3339_ago(now, age)),
        last_seen: Some(ago(session.last_seen)),
        flows: session.flows as u64,
        traffic: traffic(session.traffic),
        identity: PublicKey::from_bytes(session.info.identity.to_bytes()).fingerprint().to_string(),
        post_quantum: session.info.post_quantum,
    }
}

fn traffic(moved: flow::Traffic) -> Traffic {
    Traffic {
        rx_bytes: moved.bytes_up,
        tx_bytes: moved.bytes_down,
        rx_packets: moved.packets_up,
        tx_packets: moved.packets_down,
    }
}

fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

fn rfc3339_ago(now: Timestamp, age: Duration) -> String {
    rfc3339(now.checked_sub(age).unwrap_or(Timestamp::MIN))
}
