//! The client's state machine: one gateway, one tunnel, and the will to come back.
//!
//! Inner packets go in through [`ClientState::send`] and come out of [`ClientState::handle_datagram`]. Unlike a bare
//! WireGuard peer it never gives up: when a handshake has gone unanswered for good, it begins anew. To change its keys
//! it moves to a second tunnel: see [`ClientState::move_to`].

mod line;
mod moving;
mod receive;
mod rest;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use x25519_dalek::PublicKey;

use crate::counters::Counters;
use crate::flow::{Direction, Volume};
use crate::noise::{HANDSHAKE_INITIATION, Kind, Refused, Tick, classify, sealed_len};
use crate::sink::DatagramSink;

pub use line::ClientKeys;
use line::Line;
use moving::Pending;

/// Silence of the gateway after which a client that has sent something shakes hands again. The paper's timer is 15 s
/// (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT); people watching video should not wait that long.
const SILENCE: Duration = Duration::from_secs(4);
/// REKEY_TIMEOUT of the paper: no handshake begins sooner after the one before.
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Packets that wait for a handshake; as many as boringtun keeps.
const MAX_WAITING: usize = 256;

/// Everything of a profile that the tunnel needs.
pub struct ClientSettings {
    pub keys: ClientKeys,
    pub addresses: Vec<IpAddr>,
    /// Seconds; keeps NAT mappings open. 25 in every profile.
    pub persistent_keepalive: Option<u16>,
}

impl std::fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSettings").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// How the tunnel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientStatus {
    /// Age of the key pair in use.
    pub handshake_age: Option<Duration>,
    /// Since the gateway's last authentic message.
    pub silence: Option<Duration>,
    /// Of the newest handshake.
    pub round_trip: Option<Duration>,
    /// The client key of the tunnel in use.
    pub key: PublicKey,
    /// The identity of the gateway that it talks to.
    pub gateway: PublicKey,
    /// Whether its pre-shared key is an agreed one.
    pub post_quantum: bool,
}

/// What became of a change of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEvent {
    /// The keys of the last [`ClientState::move_to`] are in use.
    Moved,
    /// Nothing authentic came under the keys of the last [`ClientState::move_to`]; those before go on.
    MoveFailed,
    /// The gateway has lost the agreed pre-shared key; the registered one is in use again. Time to agree anew.
    FellBack,
    /// The address of the last [`ClientState::call`] has answered, and is in use with a tunnel of its own.
    Answered,
}

pub struct ClientState {
    addresses: Vec<IpAddr>,
    persistent_keepalive: Option<u16>,
    current: Line,
    pending: Option<Pending>,
    /// Tunnels from before a move, which only receive, and when their keys are over.
    old: Vec<(Line, Instant)>,
    /// What the tunnel in use could not seal yet. It has a copy in its own queue, which a move leaves behind.
    waiting: VecDeque<Vec<u8>>,
    events: VecDeque<ClientEvent>,
    endpoint: SocketAddr,
    counters: Counters,
    rng: fastrand::Rng,
    opened: Vec<u8>,
    last_heard: Option<Instant>,
    /// The first packet since the gateway was last heard.
    unanswered_since: Option<Instant>,
    last_initiation: Option<Instant>,
    /// It says nothing by itself.
    resting: bool,
}

impl std::fmt::Debug for ClientState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientState").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl ClientState {
    pub fn new(settings: ClientSettings, endpoint: SocketAddr, now: Instant, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ClientSettings { keys, addresses, persistent_keepalive } = settings;
        let index = rng.u32(..) >> 8;
        ClientState {
            addresses,
            persistent_keepalive,
            current: Line::new(keys, persistent_keepalive, index, now, &mut rng),
            pending: None,
            old: Vec::new(),
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            endpoint,
            counters: Counters::default(),
            rng,
            opened: vec![0; 65_535],
            last_heard: None,
            unanswered_since: None,
            last_initiation: None,
            resting: false,
        }
    }

    /// Begins a handshake now: at the start, after a sleep, after a change of network or endpoint.
    pub fn connect(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        let room = datagrams.reserve(self.endpoint, HANDSHAKE_INITIATION);
        if let Some(message) = self.current.tunnel.initiate(room, true, now, &mut self.rng) {
            let length = message.len();
            datagrams.commit(length);
            self.last_initiation = Some(now);
        }
        self.initiate_pending(now, datagrams);
    }

    /// The gateway's address outside; takes effect with the next datagram.
    pub fn set_endpoint(&mut self, endpoint: SocketAddr) {
        self.endpoint = endpoint;
    }

    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// Sends an inner packet: the first `len` bytes of `packet`, up to fifteen more are used for padding.
    pub fn send(&mut self, packet: &mut [u8], len: usize, now: Instant, datagrams: &mut impl DatagramSink) {
        if self.resting {
            return;
        }
        let room = datagrams.reserve(self.endpoint, sealed_len(len));
        match self.current.tunnel.seal(packet, len, room) {
            Ok(Some(message)) => {
                let (length, rekey) = (message.len(), self.current.tunnel.wants_rekey(message));
                let sealed = classify(message) != Some(Kind::Initiation);
                datagrams.commit(length);
                self.counters.traffic.count(Direction::Up, Volume::packet(length));
                self.unanswered_since.get_or_insert(now);
                if !sealed {
                    self.keep_waiting(packet, len);
                }
                if rekey {
                    self.connect(now, datagrams);
                }
            }
            Ok(None) => self.keep_waiting(packet, len),
            Err(why) => {
                self.counters.count(why.into());
                if why == Refused::Exhausted {
                    self.connect(now, datagrams);
                }
            }
        }
    }

    /// Sends an inner packet to another address, to find out whether the gateway of the tunnel in use is there too: its
    /// answer comes from there, and everything else goes there from then on. Nobody else can read the packet. Does
    /// nothing without a session.
    pub fn try_at(
        &mut self,
        at: SocketAddr,
        packet: &mut [u8],
        len: usize,
        datagrams: &mut impl DatagramSink,
    ) {
        if self.current.tunnel.session_age().is_none() {
            return;
        }
        let room = datagrams.reserve(at, sealed_len(len));
        if let Ok(Some(message)) = self.current.tunnel.seal(packet, len, room)
            && classify(message) != Some(Kind::Initiation)
        {
            let length = message.len();
            datagrams.commit(length);
            self.counters.traffic.count(Direction::Up, Volume::packet(length));
        }
    }

    /// Runs what is due: keepalives, handshakes, and the way back after silence.
    pub fn handle_timeout(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        self.old.retain(|(_, until)| now < *until);
        if self.resting {
            return self.rest_on(now);
        }
        self.give_up_if_late(now);
        if self.silence_is_too_long(now) {
            self.connect(now, datagrams);
        }
        self.fall_back_if_silent(now, datagrams);
        let mut buffer = [0; 2048];
        match self.current.tick(now, &mut self.rng, &mut buffer) {
            Tick::Send(message) => transmit(self.endpoint, message, datagrams),
            Tick::Idle => {}
            Tick::Expired => {
                self.waiting.clear();
                self.current = self.new_line(self.current.keys.clone(), now);
                self.connect(now, datagrams);
            }
        }
        if let Some(pending) = &mut self.pending
            && let Tick::Send(message) = pending.line.tick(now, &mut self.rng, &mut buffer)
        {
            transmit(pending.goes_to(self.endpoint), message, datagrams);
        }
    }

    /// When [`ClientState::handle_timeout`] has work next.
    pub fn poll_timeout(&self) -> Instant {
        let lines = self.pending.iter().map(|pending| pending.line.tunnel.next_tick());
        lines.fold(self.current.tunnel.next_tick(), Instant::min)
    }

    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    pub fn status(&self, now: Instant) -> ClientStatus {
        ClientStatus {
            handshake_age: self.current.tunnel.session_age(),
            silence: self.last_heard.map(|heard| now.saturating_duration_since(heard)),
            round_trip: self.current.tunnel.handshake_rtt(),
            key: PublicKey::from(&self.current.keys.secret),
            gateway: self.current.keys.gateway,
            post_quantum: self.current.keys.agreed.is_some(),
        }
    }

    fn silence_is_too_long(&self, now: Instant) -> bool {
        let passed = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        };
        let recently = self.last_initiation.is_some() && !passed(self.last_initiation, REKEY_TIMEOUT);
        passed(self.unanswered_since, SILENCE) && !recently
    }

    /// A tunnel whose index is no other one's.
    fn new_line(&mut self, keys: ClientKeys, now: Instant) -> Line {
        let index = loop {
            let index = self.rng.u32(..) >> 8;
            let lines = self.old.iter().map(|(line, _)| line).chain(self.pending.iter().map(|p| &p.line));
            if lines.chain([&self.current]).all(|line| line.index != index) {
                break index;
            }
        };
        Line::new(keys, self.persistent_keepalive, index, now, &mut self.rng)
    }

    fn keep_waiting(&mut self, packet: &[u8], len: usize) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.extend(packet.get(..len).map(<[u8]>::to_vec));
        }
    }
}

fn transmit(to: SocketAddr, message: &[u8], datagrams: &mut impl DatagramSink) {
    if let Some(room) = datagrams.reserve(to, message.len()).get_mut(..message.len()) {
        room.copy_from_slice(message);
        datagrams.commit(message.len());
    }
}
