//! What one worker owns, and the only place where its parts meet: datagrams, state, egress, evidence.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use vmsgate_keys::PublicKey;
use vmsgate_netio::{TunQueue, UdpSocket};
use vmsgate_pump::Stack;
use vmsgate_tunnel::event::{ClientInfo, FlowInfo, GatewayEvent, UnixMillis};
use vmsgate_tunnel::flow::{CloseReason, FlowId};
use vmsgate_tunnel::gateway::GatewayState;
use vmsgate_tunnel::gateway::present::Present;
use vmsgate_tunnel::gateway::shard::Shard;
use vmsgate_tunnel::netstack::NetStack;
use vmsgate_tunnel::noise::Identity;
use vmsgate_tunnel::packet::Packet;
use vmsgate_tunnel::policy::Policy;
use vmsgate_tunnel::sink::{DatagramQueue, InnerSink};
use x25519_dalek::StaticSecret;

use super::asks::{AskLimits, Call};
use super::evidence::{Clearance, Evidence, Recording};
use super::handover::Couriers;
use super::outlets::Outlets;
use super::tally::{Load, Tally};
use super::{Command, CoreSetup, Ended, Report, SharedCore, unix_now};
use crate::admin::changes::Foreseen;
use crate::forward::proxy::Proxy;
use crate::forward::tun::Lan;
use crate::forward::{Held, Waiting};
use crate::health::{ConditionCode, Health};
use crate::stack::wiped;

/// How often counters of open sessions and flows are noted for the case of a crash, and the wall clock is read again.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);

pub struct Core {
    pub(super) state: GatewayState,
    pub(super) outlets: Outlets,
    /// Flows that end here: with egress `tun` only those of the control services.
    pub(super) proxy: Proxy,
    /// Egress `tun`.
    pub(super) lan: Option<Lan>,
    pub(super) waiting: Waiting,
    pub(super) couriers: Couriers,
    /// To the main task.
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) ask_limits: AskLimits,
    evidence: Option<Evidence>,
    tally: Tally,
    pub(super) health: Health,
    worker: u8,
    pub(super) mtu: usize,
    /// One inner packet with room for padding.
    pub(super) staging: Vec<u8>,
    /// When the turner wakes, and how to wake it earlier.
    pub(super) armed: Instant,
    pub(super) rearm: Rc<Notify>,
    next_note: Instant,
    /// For tasks that come back to it.
    shared: Weak<RefCell<Core>>,
}

impl Core {
    pub fn new(
        setup: CoreSetup,
        sockets: Vec<Rc<UdpSocket>>,
        lan: Option<Lan>,
        rearm: Rc<Notify>,
    ) -> SharedCore {
        let now = Instant::now();
        let mut rng = fastrand::Rng::new();
        let super::Configuration { settings, proxy, control, .. } = setup.configuration;
        let shard = Shard::new(setup.worker, setup.workers);
        let mut state = GatewayState::new(settings, shard, now, unix_now(), rng.u64(..));
        wiped(|| {
            state.set_identities(identities(&setup.identities), now, &mut DatagramQueue::default());
        });
        let stack = Stack::new(NetStack::new(setup.stack, rng.u64(..), now));
        Rc::new_cyclic(|shared| {
            RefCell::new(Core {
                state,
                outlets: Outlets::new(sockets),
                proxy: Proxy::new(proxy, control, stack, shared.clone()),
                lan,
                waiting: Waiting::default(),
                couriers: setup.couriers,
                calls: setup.calls,
                ask_limits: AskLimits::default(),
                evidence: None,
                tally: Tally::default(),
                health: setup.health,
                worker: setup.worker,
                mtu: usize::from(setup.stack.mtu),
                staging: vec![0; usize::from(u16::MAX)],
                armed: now,
                rearm,
                next_note: now,
                shared: shared.clone(),
            })
        })
    }

    pub fn start(&mut self, recording: Recording) {
        self.evidence = Some(Evidence::new(recording, self.state.policy().version()));
    }

    pub fn socket(&self, at: usize) -> Rc<UdpSocket> {
        self.outlets.socket(at)
    }

    pub fn blocked(&self, at: usize) -> Rc<Notify> {
        self.outlets.blocked(at)
    }

    pub fn lan_queue(&self) -> Option<Rc<TunQueue>> {
        self.lan.as_ref().map(Lan::queue)
    }

    pub fn stack(&self) -> Stack {
        self.proxy.stack().clone()
    }

    /// Runs what is due, sends what is ready.
    pub fn turn(&mut self, now: Instant) {
        self.health.beat(self.worker, now);
        if let Some(evidence) = &mut self.evidence {
            self.state.set_accepting(evidence.accepting());
            if evidence.grace_is_over(now) {
                tracing::error!("records could not be written for too long: live flows are cut");
                self.state.cut_unrecorded(now, &mut self.outlets);
            }
        }
        if self.state.poll_timeout() <= now {
            self.state.handle_timeout(now, &mut self.outlets);
        }
        if self.next_note <= now {
            self.next_note = now + NOTE_INTERVAL;
            self.state.set_clock(now, unix_now());
            if let Some(evidence) = &self.evidence {
                evidence.note_progress(&self.state);
            }
        }
        self.transmit(now);
        self.drain_events();
        self.flush();
    }

    fn flush(&mut self) {
        if let Some(lan) = &mut self.lan {
            lan.write();
        }
        self.outlets.flush();
    }

    /// Notes when the turner will wake, and says when that has to be.
    pub fn arm(&mut self) -> Instant {
        self.armed = self.next_due();
        self.armed
    }

    pub fn flush_outlet(&mut self, at: usize) -> bool {
        self.outlets.flush_one(at)
    }

    pub fn report_socket_failure(&self, error: &io::Error) {
        tracing::error!(%error, "the UDP socket failed");
        self.health.report(ConditionCode::UdpBound, false, format!("the UDP socket failed: {error}"));
    }

    pub fn handle_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Clients { clients, done } => {
                self.drain_events();
                for client in clients {
                    self.state.upsert_client(client, now, &mut self.outlets);
                }
                let ended = self.drain_events().ended;
                self.turn(now);
                // Whoever asked may be gone.
                let _ = done.send(ended);
                return;
            }
            Command::Identities { secrets, control, done } => {
                wiped(|| {
                    self.state.set_identities(identities(&secrets), now, &mut self.outlets);
                    // Before anybody is told that a retired one is gone.
                    drop(secrets);
                });
                self.proxy.set_control(control);
                self.turn(now);
                let _ = done.send(());
                return;
            }
            Command::Foresee(policy, reply) => drop(reply.send(self.foresee(&policy, now))),
            Command::Configuration { configuration, done } => {
                let super::Configuration { settings, proxy, control, hash } = *configuration;
                self.drain_events();
                let members = self.state.members(now).collect();
                let cuts = self.state.set_settings(settings, now, &mut self.outlets);
                self.proxy.configure(proxy, control);
                let cut = self.drain_events().cut;
                if let Some(evidence) = &mut self.evidence {
                    evidence.configuration_changed(self.state.policy().version(), cut, hash);
                }
                // Whoever asked may be gone.
                let _ = done.send(Foreseen { members, cuts });
            }
            Command::Directory(directory) => self.state.set_directory(directory),
            Command::Reconnect(sessions) => {
                for session in sessions {
                    self.state.reconnect(session, now, &mut self.outlets);
                }
            }
            // Nobody waits for a report any more: nothing to do.
            Command::Report(reply) => drop(reply.send(self.report(now))),
            // Handled where commands arrive.
            Command::Start(_) | Command::Stop(_) => {}
        }
        self.turn(now);
    }

    pub fn stop(&mut self, now: Instant) {
        self.state.shut_down(now, &mut self.outlets);
        self.drain_events();
        self.flush();
    }

    // What the flows' tasks call.

    /// Sends an inner packet of a flow to its client; `build` writes it and says how long it is.
    pub fn send_inner(&mut self, flow: FlowId, now: Instant, build: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let mtu = self.mtu;
        if let Some(len) = build(&mut self.staging)
            && len <= mtu
        {
            self.state.handle_egress(flow, &mut self.staging, len, now, &mut self.outlets);
        }
        self.turn(now);
    }

    /// The server did not; `first` is the client's first packet.
    pub fn refuse_flow(&mut self, flow: FlowId, first: &Packet<'_>, reason: CloseReason, now: Instant) {
        self.state.refuse_flow(flow, first, reason, now, &mut self.outlets);
        self.turn(now);
    }

    pub fn close_flow(&mut self, flow: FlowId, reason: CloseReason, now: Instant) {
        self.transmit(now);
        self.state.close_flow(flow, reason, now);
        self.turn(now);
    }

    pub fn proxy(&mut self) -> &mut Proxy {
        &mut self.proxy
    }

    pub fn owner(&self, flow: FlowId) -> Option<&ClientInfo> {
        let client = self.state.flows().get(flow)?.client;
        self.state.client(client).map(|(info, _)| &**info)
    }

    /// A flow's owner, while it has a session.
    pub fn present(&self, flow: FlowId) -> Option<Present<'_>> {
        self.state.present(self.state.flows().get(flow)?.client)
    }

    fn foresee(&self, policy: &Policy, now: Instant) -> Foreseen {
        Foreseen { members: self.state.members(now).collect(), cuts: self.state.foresee(policy) }
    }

    fn report(&self, now: Instant) -> Report {
        Report {
            policy: self.state.policy().version().clone(),
            clients: self.state.client_count(),
            flows: self.state.flows().len(),
            counters: self.state.counters().clone(),
            refusals: self.state.refusals().clone(),
            tally: self.tally.with_live(self.state.flows().iter()),
            loads: vec![self.load()],
            sessions: self.state.sessions().collect(),
            at: now,
        }
    }

    fn load(&self) -> Load {
        let (handover, handover_limit) = self.couriers.waiting_for(self.worker);
        Load {
            busy: tokio::runtime::Handle::current().metrics().worker_total_busy_duration(0),
            handover,
            handover_limit,
            unrecorded_flows: self.waiting.len(),
            send_bytes: self.outlets.queued_bytes(),
        }
    }

    /// Turns events into evidence and ends what the egress still carries.
    fn drain_events(&mut self) -> Drained {
        let Drained { mut cut, mut ended } = Drained::default();
        while let Some(event) = self.state.poll_event() {
            match &event {
                GatewayEvent::FlowOpened { flow, at } if !flow.allowed.control => {
                    self.tally.opened(&flow.allowed.server);
                    self.flow_opened(flow, *at);
                }
                GatewayEvent::FlowClosed { flow, reason, reset_at, traffic, .. } => {
                    if !flow.allowed.control {
                        self.tally.closed(&flow.allowed.server, *reason, *traffic);
                    }
                    self.waiting.end(flow.id);
                    self.proxy.flow_closed(flow.id, *reason);
                    cut += u64::from(matches!(reason, CloseReason::Policy | CloseReason::TlsRequired));
                    if let (Some(lan), Some(sequence)) = (&mut self.lan, reset_at)
                        && !flow.allowed.control
                    {
                        lan.reset(flow.id, flow.tuple.source, flow.tuple.destination, *sequence);
                    }
                }
                GatewayEvent::SessionClosed { session, last_forwarded, flows_cut, .. } => ended.push(Ended {
                    client: session.client.id,
                    last_forwarded: *last_forwarded,
                    flows_cut: *flows_cut,
                }),
                GatewayEvent::KeyConfirmed { client, key, identity, post_quantum, at } => {
                    self.call(Call::Heard {
                        client: *client,
                        key: PublicKey::from_bytes(key.to_bytes()),
                        identity: PublicKey::from_bytes(identity.to_bytes()),
                        post_quantum: *post_quantum,
                        at: *at,
                    });
                }
                _ => {}
            }
            if let Some(evidence) = &mut self.evidence {
                evidence.record(event);
            }
        }
        Drained { cut, ended }
    }

    /// Records a new flow and lets its first packets go, at once or when the record is on disk.
    fn flow_opened(&mut self, flow: &FlowInfo, at: UnixMillis) {
        let lan_source = self.lan_source(flow);
        let Some(evidence) = &mut self.evidence else { return };
        let id = flow.id;
        match evidence.flow_opened(flow, at, lan_source) {
            Clearance::Now => self.release(id, Instant::now()),
            Clearance::Recorded(record) => {
                let (kept, shared) = (evidence.wait(record), self.shared.clone());
                tokio::task::spawn_local(async move {
                    let kept = kept.await;
                    if let Some(core) = shared.upgrade() {
                        core.borrow_mut().clear(id, kept, Instant::now());
                    }
                });
            }
        }
    }

    /// The record of a flow is on disk, or never will be.
    fn clear(&mut self, flow: FlowId, kept: bool, now: Instant) {
        if kept {
            self.release(flow, now);
        } else {
            self.state.close_flow(flow, CloseReason::AuditUnavailable, now);
        }
        self.turn(now);
    }

    /// Forwards what a flow's client has sent so far.
    fn release(&mut self, flow: FlowId, now: Instant) {
        let Some(Held { client, packets }) = self.waiting.end(flow) else { return };
        for bytes in packets {
            match &mut self.lan {
                Some(lan) => {
                    if let Some(room) = lan.room(bytes.len()) {
                        room.copy_from_slice(&bytes);
                        lan.push(flow, bytes.len());
                    }
                }
                None => {
                    if let Ok(packet) = Packet::parse_trusted(&bytes) {
                        self.proxy.packet(flow, client, &packet, now);
                    }
                }
            }
        }
    }

    /// Where a flow leaves from, on the recording network; none if the kernel masquerades and does not tell.
    fn lan_source(&self, flow: &FlowInfo) -> Option<SocketAddr> {
        match &self.lan {
            Some(lan) => (!lan.masquerades()).then_some(flow.tuple.source),
            None => self.proxy.lan_source(flow.id),
        }
    }

    pub(super) fn next_due(&self) -> Instant {
        let streams = self.proxy.stack().poll_timeout();
        let state = self.state.poll_timeout().min(self.next_note);
        streams.map_or(state, |streams| streams.min(state))
    }
}

/// What a run of events came to.
#[derive(Debug, Default)]
struct Drained {
    /// Flows that policy cut.
    cut: u64,
    ended: Vec<Ended>,
}

/// Copies: moving would leave the secrets in memory that nobody wipes.
fn identities(secrets: &[StaticSecret]) -> Vec<Identity> {
    let mut identities = Vec::with_capacity(secrets.len());
    identities.extend(secrets.iter().map(|secret| Identity::new(secret.clone())));
    identities
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("state", &self.state).finish_non_exhaustive()
    }
}
