//! From an authenticated client's packet to the egress: source, policy, flow.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::GatewayState;
use crate::bucket::{Bucket, Rate};
use crate::counters::Drop;
use crate::event::{FlowInfo, GatewayEvent};
use crate::flow::{CloseReason, Direction, Flow, FlowId, FlowTable, Full, Progress, Volume};
use crate::mss;
use crate::packet::{FiveTuple, Packet, TcpFlags, Transport};
use crate::peer::{ClientKind, Peer};
use crate::policy::{Allowed, DenyReason, INVITATION_RULE, Policy, Protocol, Refusal, RoleId, Verdict};
use crate::reply::{self, Unreachable};
use crate::sink::{DatagramSink, InnerSink};

/// Seconds' worth of new flows that a client may open at once: a program that comes back after an outage opens one for
/// each camera, all together.
const NEW_FLOWS_BURST_SECONDS: u32 = 5;

impl GatewayState {
    pub(super) fn handle_inner(
        &mut self,
        at: u32,
        bytes: &mut [u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
        inner: &mut impl InnerSink,
    ) {
        let mut packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(why) => return self.counters.count(why.into()),
        };
        if matches!(packet.transport, Transport::Tcp { flags: TcpFlags { syn: true, .. }, .. }) {
            mss::clamp(bytes, self.mtu);
            packet = match Packet::parse_trusted(bytes) {
                Ok(packet) => packet,
                Err(why) => return self.counters.count(why.into()),
            };
        }
        // Cryptokey routing: every client address is a /32 or /128, so the longest prefix is the address itself.
        if !self.peer_of_address(at, packet.source) {
            return self.counters.count(Drop::SpoofedSource);
        }
        if let Transport::IcmpError { about } = packet.transport {
            return self.handle_icmp_error(at, about, &packet, now, inner);
        }
        let Some(tuple) = packet.five_tuple() else {
            return self.refuse_protocol(at, &packet, now, datagrams);
        };
        let id = match self.flows.find(at, tuple) {
            Some(id) => id,
            None => match self.open_flow(at, tuple, &packet, now, datagrams) {
                Some(id) => {
                    if self.flows.get(id).is_some_and(|flow| !flow.allowed.control) {
                        inner.opened(id);
                    }
                    id
                }
                None => return,
            },
        };
        if !self.is_within_limit(id, Direction::Up, packet.bytes().len(), 1, now) {
            return;
        }
        let volume = Volume::packet(packet.bytes().len());
        let progress = self.flows.follow(id, Direction::Up, packet.transport, packet.payload(), volume, now);
        match progress {
            Progress::Held => return self.counters.count(Drop::TlsNotToldYet),
            Progress::ClearText => return self.refuse_clear_text(id, now, datagrams),
            Progress::Continues | Progress::Over(_) => {}
        }
        if let Some(flow) = self.flows.get(id)
            && flow.allowed.control
            && matches!(packet.transport, Transport::EchoRequest { .. })
        {
            return self.answer_with(at, now, datagrams, |out| reply::echo(&packet, out));
        }
        inner.packet(id, at, &packet, now);
        if let Progress::Over(reason) = progress {
            self.close_flow(id, reason, now);
        }
    }

    /// Judges the first packet of a flow.
    fn open_flow(
        &mut self,
        at: u32,
        tuple: FiveTuple,
        packet: &Packet<'_>,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> Option<FlowId> {
        let port = if tuple.protocol == Protocol::Icmp { 0 } else { tuple.destination.port() };
        match self.judge(at, tuple.protocol, packet.destination, port) {
            Verdict::Deny(refusal) => {
                self.deny(at, (packet.destination, tuple.protocol, port), refusal, now);
                self.answer_refused(at, packet, now, datagrams);
                None
            }
            Verdict::Allow(_) if !FlowTable::may_open(packet.transport) => {
                self.counters.count(Drop::NoFlow);
                // A connection from before a restart: the client learns at once that it is gone.
                self.answer_with(at, now, datagrams, |out| reply::reset(packet, out));
                None
            }
            Verdict::Allow(allowed) => self.insert_flow(at, tuple, allowed, packet, now, datagrams),
        }
    }

    fn insert_flow(
        &mut self,
        at: u32,
        tuple: FiveTuple,
        allowed: Allowed,
        packet: &Packet<'_>,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> Option<FlowId> {
        let (reason, rule): (_, Arc<str>) = if !self.accepting && !allowed.control {
            let rule = "records cannot be kept, and nothing goes on without";
            (DenyReason::AuditUnavailable, rule.into())
        } else if !self.may_open_another(at, now) {
            let rule = format!("limits: new-flows-per-second = {}", self.flows.limits().new_per_second);
            (DenyReason::NewFlowLimit, rule.into())
        } else {
            match self.flows.open(at, tuple, allowed.clone(), now) {
                Ok((id, evicted)) => {
                    if let Some(flow) = evicted {
                        self.tell_client(&flow, now, datagrams);
                        self.report_closed(flow, CloseReason::Evicted, now);
                    }
                    self.report_opened(id, now);
                    return Some(id);
                }
                Err(full) => (DenyReason::FlowLimit, self.flow_limit(&full)),
            }
        };
        // Policy had nothing against it.
        let refusal = Refusal { reason, server: Some(allowed.server), rule, nearest: Some(allowed.rule) };
        self.deny(at, (packet.destination, tuple.protocol, tuple.destination.port()), refusal, now);
        // TCP asks again after a second, and by then there may be room: a crowd is spread, not turned away.
        if reason != DenyReason::NewFlowLimit {
            self.answer_refused(at, packet, now, datagrams);
        }
        None
    }

    /// Whether a client stays within what it may open per second.
    fn may_open_another(&mut self, at: u32, now: Instant) -> bool {
        let rate = new_flow_rate(self.flows.limits().new_per_second);
        self.peers.get_mut(at as usize).is_some_and(|peer| {
            peer.new_flows.get_or_insert_with(|| Bucket::full(rate, now)).take(1, rate, now)
        })
    }

    /// The limit that a new flow came up against, in the words of the configuration.
    fn flow_limit(&self, full: &Full) -> Arc<str> {
        let limits = self.flows.limits();
        match full {
            Full::Client => format!("limits: flows-per-client = {}", limits.per_client).into(),
            Full::Total => "limits: flows-total".into(),
        }
    }

    /// The verdict on a flow of this client as its session is.
    pub(super) fn judge(&self, at: u32, protocol: Protocol, destination: IpAddr, port: u16) -> Verdict {
        let peer = self.peers.get(at as usize);
        judge(&self.policy, peer, peer.and_then(|peer| peer.role), (protocol, destination, port))
    }

    fn refuse_protocol(
        &mut self,
        at: u32,
        packet: &Packet<'_>,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let invited = self.peers.get(at as usize).is_some_and(|peer| peer.kind == ClientKind::Invitation);
        let (reason, rule) = if invited {
            (DenyReason::Invitation, INVITATION_RULE)
        } else {
            (DenyReason::Protocol, "only TCP, UDP and ICMP echo are forwarded")
        };
        let server = self.policy.server_name(packet.destination).cloned();
        let refusal = Refusal { reason, server, rule: rule.into(), nearest: None };
        let number = match packet.transport {
            Transport::Other(number) => number.into(),
            _ => 1,
        };
        self.deny(at, (packet.destination, Protocol::Icmp, number), refusal, now);
        self.answer_refused(at, packet, now, datagrams);
    }

    fn handle_icmp_error(
        &mut self,
        at: u32,
        about: FiveTuple,
        packet: &Packet<'_>,
        now: Instant,
        inner: &mut impl InnerSink,
    ) {
        // The error quotes what the server sent, so the flow seen from the client is the reverse.
        match self.flows.find(at, about.reversed()) {
            Some(id) => {
                let volume = Volume::packet(packet.bytes().len());
                self.flows.follow(id, Direction::Up, packet.transport, packet.payload(), volume, now);
                inner.packet(id, at, packet, now);
            }
            None => self.counters.count(Drop::NoFlow),
        }
    }

    fn deny(
        &mut self,
        at: u32,
        (destination, protocol, port): (IpAddr, Protocol, u16),
        refusal: Refusal,
        now: Instant,
    ) {
        self.counters.count(Drop::Denied);
        let unix = self.unix(now);
        if let Some(session) = self.peers.get(at as usize).and_then(|peer| peer.session.as_ref()) {
            self.refusals
                .count(&session.info.client.role, self.policy.service_at(destination, protocol, port));
            self.refusals.deny(&session.info, (destination, protocol, port), refusal, (now, unix));
        }
    }

    /// Cuts a flow that must be TLS and is not. A live connection is reset whatever refused attempts get: its program
    /// would wait for hours.
    #[cold]
    pub(super) fn refuse_clear_text(&mut self, id: FlowId, now: Instant, datagrams: &mut impl DatagramSink) {
        let Some(flow) = self.flows.get(id) else { return };
        let (client, tuple) = (flow.client, flow.tuple);
        let refusal = clear_text(&flow.allowed);
        self.deny(client, (tuple.destination.ip(), tuple.protocol, tuple.destination.port()), refusal, now);
        self.cut_flow(id, CloseReason::TlsRequired, now, datagrams);
    }

    /// Tells the client that its packet was refused, so that it fails at once: a RST or an ICMP error.
    fn answer_refused(
        &mut self,
        at: u32,
        packet: &Packet<'_>,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        if !self.answer_refused {
            return;
        }
        self.answer_with(at, now, datagrams, |out| match packet.transport {
            Transport::Tcp { .. } => reply::reset(packet, out),
            Transport::EchoReply { .. } => None,
            _ => reply::unreachable(packet, Unreachable::AdministrativelyProhibited, out),
        });
    }

    /// Builds a packet and sends it to the client.
    pub(super) fn answer_with(
        &mut self,
        at: u32,
        now: Instant,
        datagrams: &mut impl DatagramSink,
        build: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        let Some(route) = self.route(at) else { return self.counters.count(Drop::NoEndpoint) };
        let mut answer = std::mem::take(&mut self.answer);
        if let Some(length) = build(&mut answer) {
            self.seal_to(route, &mut answer, length, now, datagrams);
        }
        self.answer = answer;
    }

    fn report_opened(&mut self, id: FlowId, now: Instant) {
        self.counters.flows_opened += 1;
        let at = self.unix(now);
        let Some(flow) = self.flows.get(id) else { return };
        if let Some(flow) = self.flow_info(flow) {
            self.events.push_back(GatewayEvent::FlowOpened { flow, at });
        }
    }

    pub(super) fn report_closed(&mut self, flow: Flow, reason: CloseReason, now: Instant) {
        let (at, opened, traffic) = (self.unix(now), self.unix_of_past(flow.opened, now), flow.traffic);
        let first_bytes = flow.first_bytes();
        if let Some(session) = self.peers.get_mut(flow.client as usize).and_then(|peer| peer.session.as_mut())
            && !flow.allowed.control
        {
            session.last_forwarded = session.last_forwarded.max(flow.last_packet());
        }
        let told = matches!(reason, CloseReason::Finished | CloseReason::Reset);
        let reset_at = flow.server_reset_sequence().filter(|_| !told);
        if let Some(flow) = self.flow_info(&flow) {
            self.events.push_back(GatewayEvent::FlowClosed {
                flow,
                reason,
                reset_at,
                traffic,
                first_bytes,
                opened,
                at,
            });
        }
    }

    /// A control service's flow too: who serves it needs to know that it ended.
    pub(super) fn flow_info(&self, flow: &Flow) -> Option<FlowInfo> {
        let session = self.peers.get(flow.client as usize)?.session.as_ref()?.info.clone();
        Some(FlowInfo { id: flow.id, session, tuple: flow.tuple, allowed: flow.allowed.clone() })
    }
}

fn new_flow_rate(per_second: u32) -> Rate {
    Rate { per_second, burst: per_second.saturating_mul(NEW_FLOWS_BURST_SECONDS) }
}

/// What a policy, in which the client's role is `role`, says of a flow of that client.
pub(super) fn judge(
    policy: &Policy,
    peer: Option<&Peer>,
    role: Option<RoleId>,
    (protocol, destination, port): (Protocol, IpAddr, u16),
) -> Verdict {
    if peer.is_some_and(|peer| peer.kind == ClientKind::Invitation) {
        return policy.decide_invitation(destination, protocol, port);
    }
    let Some(role) = role else {
        return Verdict::Deny(Refusal {
            reason: DenyReason::UnknownRole,
            server: None,
            rule: "the client's role is not configured".into(),
            nearest: None,
        });
    };
    let verdict = policy.decide(role, destination, protocol, port);
    let session = peer.and_then(|peer| peer.session.as_ref());
    if session.is_some_and(|session| session.info.post_quantum) {
        verdict
    } else {
        policy.without_post_quantum(role, verdict)
    }
}

/// What is said of clear text where `allowed` lets only TLS pass.
pub(super) fn clear_text(allowed: &Allowed) -> Refusal {
    Refusal {
        reason: DenyReason::TlsRequired,
        server: Some(allowed.server.clone()),
        rule: allowed.require_tls.clone().unwrap_or_default(),
        nearest: None,
    }
}
