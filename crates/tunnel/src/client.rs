//! The client's state machine: one gateway, one tunnel, and the will to come back.
//!
//! Inner packets go in through [`ClientState::send`] and come out of [`ClientState::handle_datagram`]. Unlike a bare
//! WireGuard peer it never gives up: when a handshake has gone unanswered for good, it begins anew.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use x25519_dalek::{PublicKey, StaticSecret};

use crate::counters::{Counters, Drop};
use crate::flow::{Direction, Volume};
use crate::noise::{HANDSHAKE_INITIATION, Identity, Opened, Refused, Tick, Tunnel, TunnelKeys, sealed_len};
use crate::packet::Packet;
use crate::sink::DatagramSink;

/// Silence of the gateway after which a client that has sent something shakes hands again. The paper's timer is 15 s
/// (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT); people watching video should not wait that long.
const SILENCE: Duration = Duration::from_secs(4);
/// REKEY_TIMEOUT of the paper: no handshake begins sooner after the one before.
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything of a profile that the tunnel needs.
pub struct ClientSettings {
    pub secret: StaticSecret,
    pub gateway: PublicKey,
    pub preshared: Option<[u8; 32]>,
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
}

pub struct ClientState {
    settings: ClientSettings,
    identity: Identity,
    tunnel: Tunnel,
    endpoint: SocketAddr,
    counters: Counters,
    rng: fastrand::Rng,
    opened: Vec<u8>,
    last_heard: Option<Instant>,
    /// The first packet since the gateway was last heard.
    unanswered_since: Option<Instant>,
    last_initiation: Option<Instant>,
}

impl std::fmt::Debug for ClientState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientState").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl ClientState {
    pub fn new(settings: ClientSettings, endpoint: SocketAddr, now: Instant, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let identity = Identity::new(settings.secret.clone());
        let tunnel = new_tunnel(&identity, &settings, now, &mut rng);
        ClientState {
            settings,
            identity,
            tunnel,
            endpoint,
            counters: Counters::default(),
            rng,
            opened: vec![0; 65_535],
            last_heard: None,
            unanswered_since: None,
            last_initiation: None,
        }
    }

    /// Begins a handshake now: at the start, after a sleep, after a change of network or endpoint.
    pub fn connect(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        let room = datagrams.reserve(self.endpoint, HANDSHAKE_INITIATION);
        if let Some(message) = self.tunnel.initiate(room, true, now, &mut self.rng) {
            let length = message.len();
            datagrams.commit(length);
            self.last_initiation = Some(now);
        }
    }

    /// The gateway's address outside; takes effect with the next datagram.
    pub fn set_endpoint(&mut self, endpoint: SocketAddr) {
        self.endpoint = endpoint;
    }

    pub fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }

    /// Takes one datagram from the internet; well-formed packets for this client go to `inner`.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
        inner: &mut impl FnMut(&Packet<'_>),
    ) {
        match self.tunnel.open(from.ip(), datagram, &mut self.opened) {
            Ok(opened) => {
                let heard = !matches!(opened, Opened::Done);
                match opened {
                    Opened::Reply(message) => {
                        let length = message.len();
                        let room = datagrams.reserve(from, length);
                        if let Some(room) = room.get_mut(..length) {
                            room.copy_from_slice(message);
                            datagrams.commit(length);
                        }
                        self.counters.handshakes += 1;
                    }
                    Opened::Packet(bytes) => match Packet::parse(bytes) {
                        Ok(packet) if self.settings.addresses.contains(&packet.destination) => inner(&packet),
                        Ok(_) => self.counters.count(Drop::SpoofedSource),
                        Err(why) => self.counters.count(why.into()),
                    },
                    Opened::Keepalive | Opened::Done => {}
                }
                if heard {
                    // Authentic, so the gateway is where this came from.
                    self.endpoint = from;
                    self.last_heard = Some(now);
                    self.unanswered_since = None;
                    self.counters.traffic.count(Direction::Down, Volume::packet(datagram.len()));
                    self.flush(datagrams);
                }
            }
            Err(why) => self.counters.count(why.into()),
        }
    }

    /// Sends an inner packet: the first `len` bytes of `packet`, up to fifteen more are used for padding.
    pub fn send(&mut self, packet: &mut [u8], len: usize, now: Instant, datagrams: &mut impl DatagramSink) {
        let room = datagrams.reserve(self.endpoint, sealed_len(len));
        match self.tunnel.seal(packet, len, room) {
            Ok(Some(message)) => {
                let (length, rekey) = (message.len(), self.tunnel.wants_rekey(message));
                datagrams.commit(length);
                self.counters.traffic.count(Direction::Up, Volume::packet(length));
                self.unanswered_since.get_or_insert(now);
                if rekey {
                    self.connect(now, datagrams);
                }
            }
            Ok(None) => {}
            Err(why) => {
                self.counters.count(why.into());
                if why == Refused::Exhausted {
                    self.connect(now, datagrams);
                }
            }
        }
    }

    /// Runs what is due: keepalives, handshakes, and the way back after silence.
    pub fn handle_timeout(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        if self.silence_is_too_long(now) {
            self.connect(now, datagrams);
        }
        if now < self.tunnel.next_tick() {
            return;
        }
        let mut buffer = [0; 2048];
        match self.tunnel.tick(now, &mut self.rng, &mut buffer) {
            Tick::Send(message) => {
                let length = message.len();
                if let Some(room) = datagrams.reserve(self.endpoint, length).get_mut(..length) {
                    room.copy_from_slice(message);
                    datagrams.commit(length);
                }
            }
            Tick::Idle => {}
            Tick::Expired => {
                self.tunnel = new_tunnel(&self.identity, &self.settings, now, &mut self.rng);
                self.connect(now, datagrams);
            }
        }
    }

    /// When [`ClientState::handle_timeout`] has work next.
    pub fn poll_timeout(&self) -> Instant {
        self.tunnel.next_tick()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn addresses(&self) -> &[IpAddr] {
        &self.settings.addresses
    }

    pub fn status(&self, now: Instant) -> ClientStatus {
        ClientStatus {
            handshake_age: self.tunnel.session_age(),
            silence: self.last_heard.map(|heard| now.saturating_duration_since(heard)),
            round_trip: self.tunnel.handshake_rtt(),
        }
    }

    fn silence_is_too_long(&self, now: Instant) -> bool {
        let passed = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        };
        let recently = self.last_initiation.is_some() && !passed(self.last_initiation, REKEY_TIMEOUT);
        passed(self.unanswered_since, SILENCE) && !recently
    }

    fn flush(&mut self, datagrams: &mut impl DatagramSink) {
        while let Some(message) = self.tunnel.flush(&mut self.opened) {
            let length = message.len();
            let Some(room) = datagrams.reserve(self.endpoint, length).get_mut(..length) else { return };
            room.copy_from_slice(message);
            datagrams.commit(length);
        }
    }
}

fn new_tunnel(
    identity: &Identity,
    settings: &ClientSettings,
    now: Instant,
    rng: &mut fastrand::Rng,
) -> Tunnel {
    let keys = TunnelKeys {
        peer: settings.gateway,
        preshared: settings.preshared,
        persistent_keepalive: settings.persistent_keepalive,
    };
    Tunnel::new(identity, keys, rng.u32(..) >> 8, now, rng)
}
