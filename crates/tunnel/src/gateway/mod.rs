//! The gateway's state machine: datagrams in, allowed inner packets out, and back.
//!
//! Call `handle_*` with what arrived and the present; datagrams and inner packets come out through the sinks at
//! once, events through [`GatewayState::poll_event`]. Call [`GatewayState::handle_timeout`] when
//! [`GatewayState::poll_timeout`] is due.

mod bandwidth;
mod clients;
mod egress;
pub mod foresee;
mod handshake;
mod inner;
mod keys;
mod lan;
mod last_notice;
pub mod present;
mod sessions;
pub mod shard;
#[cfg(any(test, feature = "verdicts"))]
pub mod tests;
mod transport;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::FixedState;
use slab::Slab;
use uuid::Uuid;
use x25519_dalek::PublicKey;

use crate::bandwidth::Bandwidths;
use crate::counters::{Counters, Drop};
use crate::denials::{RefusalTotals, Refusals};
use crate::event::{ClientInfo, GatewayEvent, UnixMillis};
use crate::flow::{FlowLimits, FlowTable};
use crate::guard::{Guard, HandshakeLimits};
use crate::noise::{HANDSHAKE_INITIATION, Identity, Kind, Preshared, Tick, Tunnel, classify, index_of};
use crate::peer::{Access, Peer, Route, SessionStatus};
use crate::policy::Policy;
use crate::sink::{DatagramSink, InnerSink};

pub use self::last_notice::LastNotices;
use self::shard::{Directory, Handover, Shard};

/// How often sessions are looked through for silence and ended validity.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Room for any message and packet of the gateway's own making.
const SCRATCH: usize = 2048;

/// What the state machine is told at its start and when the configuration changes.
#[derive(Debug, Clone)]
pub struct Settings {
    pub policy: Arc<Policy>,
    pub flows: FlowLimits,
    pub handshakes: HandshakeLimits,
    pub bandwidths: Bandwidths,
    /// Refused flows get a RST or an ICMP error; otherwise silence.
    pub answer_refused: bool,
    /// Largest inner packet.
    pub mtu: u16,
    pub last_notices: LastNotices,
}

/// Every client, session and flow of one worker.
pub struct GatewayState {
    shard: Shard,
    policy: Arc<Policy>,
    answer_refused: bool,
    mtu: u16,
    last_notices: LastNotices,
    /// New flows are refused while the audit log cannot be written.
    accepting: bool,
    identities: Vec<Identity>,
    guard: Guard,
    peers: Slab<Peer>,
    by_client: HashMap<Uuid, u32, FixedState>,
    by_key: HashMap<[u8; 32], u32, FixedState>,
    by_address: HashMap<IpAddr, u32, FixedState>,
    /// The tunnel of whoever was heard last from an address outside: who renews a key pair is usually known by it.
    by_endpoint: HashMap<SocketAddr, u32, FixedState>,
    tunnels: Slab<TunnelSlot>,
    /// When each tunnel's timers run next.
    ticks: BTreeSet<(Instant, u32)>,
    flows: FlowTable,
    bandwidths: Bandwidths,
    /// Clients with a limit of bandwidth: without any, packets are not measured.
    limited: usize,
    refusals: Refusals,
    events: VecDeque<GatewayEvent>,
    counters: Counters,
    rng: fastrand::Rng,
    /// A handshake message or cookie on its way out.
    message: Vec<u8>,
    /// A packet of our own on its way to a client.
    answer: Vec<u8>,
    clock: (Instant, UnixMillis),
    next_housekeeping: Instant,
}

impl std::fmt::Debug for GatewayState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayState").field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

struct TunnelSlot {
    tunnel: Tunnel,
    peer: u32,
    key: PublicKey,
    preshared: Option<Preshared>,
    identity: PublicKey,
    /// Has carried something authentic.
    heard: bool,
    /// The receiver index of the key pair that its last answer offered, until something comes under it.
    awaited: Option<u32>,
    /// Its newest receiver index when another tunnel took over. Only a newer key pair takes over again: what comes late
    /// under the others says nothing about where the client is.
    superseded: Option<u32>,
    /// When it ends, if it is no longer used.
    ends: Option<Instant>,
    /// Where a handshake that this side began goes, while there is no session yet.
    expected_at: Option<SocketAddr>,
    scheduled: Instant,
}

impl GatewayState {
    /// `unix` is the wall clock at `now`; `seed` makes everything but boringtun's own randomness repeatable.
    pub fn new(settings: Settings, shard: Shard, now: Instant, unix: UnixMillis, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        GatewayState {
            shard,
            policy: settings.policy,
            answer_refused: settings.answer_refused,
            mtu: settings.mtu,
            last_notices: settings.last_notices,
            accepting: true,
            identities: Vec::new(),
            guard: Guard::new(settings.handshakes, rng.u64(..), now),
            peers: Slab::new(),
            by_client: HashMap::with_hasher(FixedState::with_seed(rng.u64(..))),
            by_key: HashMap::with_hasher(FixedState::with_seed(rng.u64(..))),
            by_address: HashMap::with_hasher(FixedState::with_seed(rng.u64(..))),
            by_endpoint: HashMap::with_hasher(FixedState::with_seed(rng.u64(..))),
            tunnels: Slab::new(),
            ticks: BTreeSet::new(),
            flows: FlowTable::new(settings.flows, rng.u64(..)),
            bandwidths: settings.bandwidths,
            limited: 0,
            refusals: Refusals::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
            rng,
            message: vec![0; SCRATCH],
            answer: vec![0; SCRATCH],
            clock: (now, unix),
            next_housekeeping: now + HOUSEKEEPING,
        }
    }

    /// Takes one datagram from the internet. Replies go to `datagrams`, allowed packets to `inner`; those are in
    /// `room`, which is at least [`room_for`] the datagram. Answers whose the datagram is, if another worker's.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        room: &mut [u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
        inner: &mut impl InnerSink,
    ) -> Option<Handover> {
        match classify(datagram) {
            Some(Kind::Initiation) => self.handle_initiation(from, datagram, now, datagrams),
            Some(Kind::ForReceiver(index)) => match self.shard.place(index_of(index)) {
                Ok(slot) => {
                    self.handle_message((slot, index), from, datagram, room, now, datagrams, inner);
                    None
                }
                Err(worker) if self.shard.exists(worker) => Some(Handover { worker, initiator: None }),
                Err(_) => {
                    self.counters.count(Drop::NoSession);
                    None
                }
            },
            None => {
                self.counters.count(Drop::NotWireGuard);
                None
            }
        }
    }

    /// Runs everything that is due.
    pub fn handle_timeout(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        while let Some(&(due, slot)) = self.ticks.first()
            && due <= now
        {
            self.tick(slot, now, datagrams);
        }
        if now >= self.next_housekeeping {
            self.next_housekeeping = now + HOUSEKEEPING;
            self.end_keys(now, datagrams);
            self.end_sessions(now, datagrams);
            self.report_limited(now);
        }
        self.expire_flows(now, datagrams);
        self.refusals.collect(now, false, &mut self.events);
    }

    /// When [`GatewayState::handle_timeout`] has work next.
    pub fn poll_timeout(&self) -> Instant {
        let tick = self.ticks.first().map(|(due, _)| *due);
        let rest = [tick, self.flows.next_expiry(), self.refusals.due()];
        rest.into_iter().flatten().fold(self.next_housekeeping, Instant::min)
    }

    pub fn poll_event(&mut self) -> Option<GatewayEvent> {
        self.events.pop_front()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn refusals(&self) -> &RefusalTotals {
        self.refusals.totals()
    }

    /// The clients known, whether connected or not.
    pub fn client_count(&self) -> usize {
        self.peers.len()
    }

    /// A flow's owner, by [`crate::flow::Flow::client`].
    pub fn client(&self, at: u32) -> Option<(&Arc<ClientInfo>, Access)> {
        self.peers.get(at as usize).map(|peer| (&peer.info, peer.access))
    }

    /// The live session of a flow's owner.
    pub fn session_of(&self, client: u32) -> Option<Uuid> {
        self.peers.get(client as usize)?.session.as_ref().map(|session| session.info.id)
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    pub fn sessions(&self) -> impl Iterator<Item = SessionStatus> + '_ {
        self.peers.iter().filter_map(|(at, peer)| {
            let session = peer.session.as_ref()?;
            let ages =
                peer.tunnels.iter().filter_map(|slot| self.tunnels.get(*slot as usize)?.tunnel.session_age());
            Some(SessionStatus {
                info: session.info.clone(),
                opened: session.opened,
                last_seen: session.last_seen,
                handshake_age: ages.min(),
                traffic: session.traffic,
                flows: self.flows.of_client(at as u32).count(),
            })
        })
    }

    /// Counts what is dropped on the way to or from this state.
    pub fn count(&mut self, drop: Drop, packets: u64) {
        self.counters.count_many(drop, packets);
    }

    /// Tells the owners of all clients anew; never needed with one worker.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.shard.set_directory(directory);
    }

    /// Whether new flows are let in; false while the audit log cannot be written.
    pub fn set_accepting(&mut self, accepting: bool) {
        self.accepting = accepting;
    }

    /// Tells the wall clock again, which may have been stepped.
    pub fn set_clock(&mut self, now: Instant, unix: UnixMillis) {
        self.clock = (now, unix);
    }

    fn unix(&self, now: Instant) -> UnixMillis {
        self.clock.1 + now.saturating_duration_since(self.clock.0).as_millis() as u64
    }

    fn unix_of_past(&self, then: Instant, now: Instant) -> UnixMillis {
        self.unix(now).saturating_sub(now.saturating_duration_since(then).as_millis() as u64)
    }

    fn new_id(&mut self, now: Instant) -> Uuid {
        let mut random = [0; 10];
        self.rng.fill(&mut random);
        uuid::Builder::from_unix_timestamp_millis(self.unix(now), &random).into_uuid()
    }

    fn tick(&mut self, slot: u32, now: Instant, datagrams: &mut impl DatagramSink) {
        let Some(TunnelSlot { tunnel, peer, expected_at, scheduled, .. }) =
            self.tunnels.get_mut(slot as usize)
        else {
            return;
        };
        let owner = self.peers.get(*peer as usize);
        let session = owner.and_then(|peer| peer.session.as_ref());
        // A client that has moved on is not called back to the tunnel before.
        let quiet = session.is_some() && owner.is_some_and(|peer| peer.active != Some(slot));
        let endpoint = session.map(|session| session.info.endpoint).or(*expected_at);
        match tunnel.tick(now, &mut self.rng, &mut self.message) {
            Tick::Send(message) => match endpoint {
                Some(endpoint) if !quiet => send(endpoint, message, datagrams),
                Some(_) => {}
                None => self.counters.count(Drop::NoEndpoint),
            },
            Tick::Idle => {}
            Tick::Expired => return self.remove_tunnel(slot, now, datagrams),
        }
        self.ticks.remove(&(*scheduled, slot));
        *scheduled = tunnel.next_tick();
        self.ticks.insert((*scheduled, slot));
    }

    /// Ends a tunnel. If it was the one heard last, the client is answered through the one heard before.
    fn remove_tunnel(&mut self, slot: u32, now: Instant, datagrams: &mut impl DatagramSink) {
        if let Some((at, next)) = self.forget_tunnel(slot) {
            self.adopt(at, next, false, now, datagrams);
        }
    }

    /// The client and the tunnel that takes the place of this one, if any does.
    fn forget_tunnel(&mut self, slot: u32) -> Option<(u32, u32)> {
        let removed = self.tunnels.try_remove(slot as usize)?;
        self.ticks.remove(&(removed.scheduled, slot));
        let peer = self.peers.get_mut(removed.peer as usize)?;
        peer.tunnels.retain(|other| *other != slot);
        if peer.active != Some(slot) {
            return None;
        }
        let heard = |slot: &&u32| self.tunnels.get(**slot as usize).is_some_and(|tunnel| tunnel.heard);
        peer.active = peer.tunnels.iter().rev().find(heard).copied();
        Some((removed.peer, peer.active?))
    }

    fn route(&self, peer: u32) -> Option<Route> {
        let peer = self.peers.get(peer as usize)?;
        Some(Route { slot: peer.active?, endpoint: peer.session.as_ref()?.info.endpoint })
    }

    fn peer_of_address(&self, peer: u32, address: IpAddr) -> bool {
        self.peers.get(peer as usize).is_some_and(|peer| peer.owns(address))
    }
}

/// Room that [`GatewayState::handle_datagram`] needs.
pub fn room_for(datagram: &[u8]) -> usize {
    datagram.len().max(HANDSHAKE_INITIATION)
}

fn send(to: SocketAddr, message: &[u8], datagrams: &mut impl DatagramSink) {
    if let Some(room) = datagrams.reserve(to, message.len()).get_mut(..message.len()) {
        room.copy_from_slice(message);
        datagrams.commit(message.len());
    }
}
