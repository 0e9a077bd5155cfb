//! From the state machine's events to the audit log's records, and what waits for them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vmsgate_audit::event::{
    Event, FlowClosed, FlowDenied, FlowOpened, GatewayConfig, HandshakeRejected, SessionClosed,
    SessionLimited, SessionOpened, SessionRoamed,
};
use vmsgate_audit::{
    AuditHandle, Destination, Durable, Fingerprint, FlowSubject, Hash, HostPort, Label, Ports, Progress,
    Protocol, Reason, Record, SessionSubject, Tls, Traffic, UtcTime, Volume,
};
use vmsgate_config::{Durability, OnFailure};
use vmsgate_tunnel::event::{
    Denial, FlowInfo, GatewayEvent, LimitedSession, RejectedHandshakes, SessionInfo, UnixMillis,
};
use vmsgate_tunnel::flow::{self, FlowId};
use vmsgate_tunnel::gateway::GatewayState;
use vmsgate_tunnel::policy;
use x25519_dalek::PublicKey;

use super::{policy_label, unix_now};

/// How long a flow waits for its record when failures are not to stop it and there was none yet.
const PATIENCE_TO_CONTINUE: Duration = Duration::from_secs(1);

/// Where records go, and what must wait for them.
#[derive(Debug, Clone)]
pub struct Recording {
    pub audit: AuditHandle,
    pub durability: Durability,
    pub on_failure: OnFailure,
    /// How long live flows go on while records cannot be kept.
    pub failure_grace: Duration,
}

impl Recording {
    /// Whether new flows may be opened: their records can be kept, or need not be.
    pub fn accepting(&self) -> bool {
        self.on_failure == OnFailure::Continue || self.audit.accepting()
    }
}

pub struct Evidence {
    recording: Recording,
    policy: Label,
    /// Where the gateway's side of a live flow is on the recording network.
    lan_sources: HashMap<FlowId, SocketAddr>,
    /// Set while records cannot be kept: when live flows are to be cut.
    cut_at: Option<Instant>,
    cut: bool,
}

/// When the first packet of a flow may go.
#[derive(Debug)]
pub enum Clearance {
    Now,
    /// Once its record is on disk.
    Recorded(Durable),
}

impl Evidence {
    pub fn new(recording: Recording, policy: &str) -> Self {
        let policy = policy_label(policy);
        Evidence { recording, policy, lan_sources: HashMap::new(), cut_at: None, cut: false }
    }

    /// Whether new flows may be opened.
    pub fn accepting(&self) -> bool {
        self.recording.accepting()
    }

    /// True once per failure: when live flows have gone on for long enough without it.
    pub fn grace_is_over(&mut self, now: Instant) -> bool {
        if self.accepting() {
            (self.cut_at, self.cut) = (None, false);
            return false;
        }
        let cut_at = *self.cut_at.get_or_insert(now + self.recording.failure_grace);
        let over = now >= cut_at && !self.cut;
        self.cut |= over;
        over
    }

    /// Records that a flow begins, and says when its first packet may go.
    pub fn flow_opened(
        &mut self,
        flow: &FlowInfo,
        at: UnixMillis,
        lan_source: Option<SocketAddr>,
    ) -> Clearance {
        if let Some(lan_source) = lan_source {
            self.lan_sources.insert(flow.id, lan_source);
        }
        let opened = FlowOpened { session: subject(&flow.session), flow: flow_subject(flow, lan_source) };
        let record = self.record_of(at, Event::FlowOpened(opened));
        let Recording { audit, durability, on_failure, .. } = &self.recording;
        let in_vain = *on_failure == OnFailure::Continue && !audit.accepting();
        if *durability == Durability::Soon || in_vain {
            audit.append(record);
            return Clearance::Now;
        }
        Clearance::Recorded(audit.append_durably(record))
    }

    /// Waits for a flow's record. False when the flow must not go on without.
    pub fn wait(&self, record: Durable) -> impl Future<Output = bool> + use<> {
        let on_failure = self.recording.on_failure;
        async move {
            match on_failure {
                OnFailure::Refuse => record.wait().await,
                OnFailure::Continue => {
                    // Kept or not: a gap record will tell what is missing.
                    let _ = tokio::time::timeout(PATIENCE_TO_CONTINUE, record.wait()).await;
                    true
                }
            }
        }
    }

    /// Records everything but the beginning of a flow: see [`Evidence::flow_opened`].
    pub fn record(&mut self, event: GatewayEvent) {
        match event {
            GatewayEvent::SessionOpened { session, at } => {
                let (session, continues) = (subject(&session), session.continues);
                self.put(at, Event::SessionOpened(SessionOpened { session, continues }));
            }
            GatewayEvent::SessionRoamed { session, from, at } => {
                let (session, continues) = (subject(&session), session.continues);
                let event = SessionRoamed { session, previous_source: from, continues };
                self.put(at, Event::SessionRoamed(event));
            }
            GatewayEvent::SessionClosed { session, reason, traffic: moved, opened, at, .. } => {
                let closed = SessionClosed {
                    session: subject(&session),
                    reason: Reason::new(reason.as_str()),
                    opened: time(opened),
                    duration_ms: at.saturating_sub(opened),
                    traffic: traffic(moved),
                    continues: session.continues,
                };
                self.put(at, Event::SessionClosed(closed));
            }
            GatewayEvent::FlowOpened { .. } | GatewayEvent::KeyConfirmed { .. } => {}
            // Control services are the gateway's own business, not access to the VMS.
            GatewayEvent::FlowClosed { flow, .. } if flow.allowed.control => {}
            GatewayEvent::FlowClosed { flow, reason, traffic: moved, first_bytes, opened, at, .. } => {
                let lan_source = self.lan_sources.remove(&flow.id);
                let closed = FlowClosed {
                    session: subject(&flow.session),
                    flow: flow_subject(&flow, lan_source),
                    reason: Reason::new(reason.as_str()),
                    opened: time(opened),
                    duration_ms: at.saturating_sub(opened),
                    traffic: traffic(moved),
                    tls: first_bytes.map(tls),
                };
                self.put(at, Event::FlowClosed(closed));
            }
            GatewayEvent::FlowDenied(denial) => self.put(denial.last, Event::FlowDenied(denied(&denial))),
            GatewayEvent::HandshakeRejected(rejected) => {
                self.put(rejected.last, Event::HandshakeRejected(handshakes(&rejected)));
            }
            GatewayEvent::SessionLimited(limited) => {
                self.put(limited.last, Event::SessionLimited(held_up(&limited)));
            }
        }
    }

    pub fn configuration_changed(&mut self, policy: &str, flows_cut: u64, config_hash: Hash) {
        let previous_policy = std::mem::replace(&mut self.policy, policy_label(policy));
        let config_hash = Some(config_hash);
        self.put(unix_now(), Event::GatewayConfig(GatewayConfig { previous_policy, flows_cut, config_hash }));
    }

    /// Keeps the counters of what is open beside the log, so that they are known after a crash.
    pub fn note_progress(&self, state: &GatewayState) {
        let seen = time(unix_now());
        for session in state.sessions() {
            let id = session.info.id;
            self.recording.audit.note(Progress {
                session: id,
                flow: None,
                seen,
                traffic: traffic(session.traffic),
            });
        }
        for flow in state.flows().iter().filter(|flow| !flow.allowed.control) {
            if let Some(session) = state.session_of(flow.client) {
                let (flow, moved) = (Some(flow.id.as_u64()), traffic(flow.traffic));
                self.recording.audit.note(Progress { session, flow, seen, traffic: moved });
            }
        }
    }

    fn put(&self, at: UnixMillis, event: Event) {
        self.recording.audit.append(self.record_of(at, event));
    }

    fn record_of(&self, at: UnixMillis, event: Event) -> Record {
        Record::new(time(at), event).under_policy(self.policy.clone())
    }
}

fn subject(session: &SessionInfo) -> Arc<SessionSubject> {
    Arc::new(SessionSubject {
        id: session.id,
        client: Label::new(&session.client.name),
        operator: Label::new(&session.client.operator),
        role: Label::new(&session.client.role),
        key: fingerprint(&session.key),
        source: session.endpoint,
        tunnel: session.client.addresses.clone(),
    })
}

fn flow_subject(flow: &FlowInfo, lan_source: Option<SocketAddr>) -> FlowSubject {
    let with_ports = flow.tuple.protocol != policy::Protocol::Icmp;
    let end =
        |address: SocketAddr| HostPort { address: address.ip(), port: with_ports.then_some(address.port()) };
    FlowSubject {
        id: flow.id.as_u64(),
        protocol: protocol(flow.tuple.protocol),
        source: end(flow.tuple.source),
        destination: Destination {
            server: Some(Label::new(&flow.allowed.server)),
            service: Some(Label::new(&flow.allowed.service)),
            address: flow.tuple.destination.ip(),
            port: with_ports.then_some(flow.tuple.destination.port()),
        },
        lan_source: lan_source.map(end),
    }
}

fn denied(denial: &Denial) -> FlowDenied {
    let source =
        denial.session.client.addresses.iter().find(|own| own.is_ipv4() == denial.destination.is_ipv4());
    let single = match &denial.ports[..] {
        [range] if range.start() == range.end() && *range.start() != 0 => Some(*range.start()),
        _ => None,
    };
    FlowDenied {
        session: subject(&denial.session),
        protocol: protocol(denial.protocol),
        source: source.copied().unwrap_or(denial.session.endpoint.ip()),
        destination: Destination {
            server: denial.server.as_deref().map(Label::new),
            service: None,
            address: denial.destination,
            port: single,
        },
        ports: Ports::new(denial.ports.iter().filter(|_| denial.protocol != policy::Protocol::Icmp).cloned()),
        count: denial.count,
        first: time(denial.first),
        last: time(denial.last),
        reason: Reason::new(denial.reason.as_str()),
        rule: Some(Label::new(&denial.rule)),
        nearest: denial.nearest.as_deref().map(Label::new),
    }
}

fn handshakes(rejected: &RejectedHandshakes) -> HandshakeRejected {
    HandshakeRejected {
        source: rejected.source.ip(),
        count: rejected.count,
        first: time(rejected.first),
        last: time(rejected.last),
        reason: Reason::new(rejected.reason.as_str()),
        client: rejected.client.as_ref().map(|client| Label::new(&client.name)),
    }
}

fn held_up(limited: &LimitedSession) -> SessionLimited {
    SessionLimited {
        session: subject(&limited.session),
        reason: Reason::new(limited.reason()),
        rule: Label::new(&limited.rule),
        count: limited.count,
        first: time(limited.first),
        last: time(limited.last),
    }
}

fn protocol(protocol: policy::Protocol) -> Protocol {
    match protocol {
        policy::Protocol::Tcp => Protocol::Tcp,
        policy::Protocol::Udp => Protocol::Udp,
        policy::Protocol::Icmp => Protocol::Icmp,
    }
}

fn tls(seen: flow::FirstBytes) -> Tls {
    match seen {
        flow::FirstBytes::Tls => Tls::Tls,
        flow::FirstBytes::Plain => Tls::Plain,
        flow::FirstBytes::Nothing => Tls::None,
    }
}

fn traffic(moved: flow::Traffic) -> Traffic {
    Traffic {
        from_client: Volume { bytes: moved.bytes_up, packets: moved.packets_up },
        to_client: Volume { bytes: moved.bytes_down, packets: moved.packets_down },
    }
}

fn time(unix: UnixMillis) -> UtcTime {
    UtcTime::from_unix_ms(i64::try_from(unix).unwrap_or(i64::MAX))
}

fn fingerprint(key: &PublicKey) -> Fingerprint {
    let fingerprint = vmsgate_keys::PublicKey::from_bytes(key.to_bytes()).fingerprint().to_string();
    // A fingerprint of ours always is one; should that change, the record is worth more than its key's name.
    Fingerprint::new(&fingerprint).unwrap_or_else(|_| Fingerprint::unknown())
}

#[cfg(test)]
mod tests;
