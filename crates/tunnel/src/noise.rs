//! The only file that calls boringtun, and so the only one that meets a clock and the system's random numbers.
//!
//! A [`Tunnel`] is one WireGuard peer relation (the paper's "secure session" with its handshakes). This adapter adds
//! what boringtun 0.7.1 leaves to its caller:
//!
//! - padding of the plaintext to 16 bytes (WireGuard paper, section 5.4.6);
//! - reject-after-messages and rekey-after-messages, both ways; a counter near 2^64 would also overflow boringtun's
//!   own replay window, so it is refused before boringtun sees it;
//! - jitter of up to 333 ms on handshake retransmission (paper, section 6.1), by drawing the phase of the timer anew
//!   for each handshake;
//! - buffers: boringtun panics when the destination is shorter than the source and 32 bytes, or 148 bytes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet as Message, Tunn, TunnResult};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Bytes that encapsulation adds: a 16-byte header and a 16-byte tag.
pub const OVERHEAD: usize = 32;
/// Largest handshake message; no buffer given to boringtun may be shorter.
pub const HANDSHAKE_INITIATION: usize = 148;
/// boringtun's timers are polled; this is also the largest retransmission jitter of the paper.
const TICK: Duration = Duration::from_millis(333);
const PADDING: usize = 16;

/// A pre-shared key, wiped when it is dropped. boringtun keeps a copy of its own for as long as its tunnel lives, which
/// it does not wipe.
pub type Preshared = Zeroizing<[u8; 32]>;

/// Message limits of one key pair. Paper, section 6.1; smaller in tests.
#[derive(Debug, Clone, Copy)]
pub struct MessageLimits {
    pub rekey_after: u64,
    pub reject_after: u64,
}

impl Default for MessageLimits {
    fn default() -> Self {
        MessageLimits { rekey_after: 1 << 60, reject_after: u64::MAX - (1 << 13) }
    }
}

/// The kind of a WireGuard message, from its first bytes and its length alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Initiation,
    /// Handshake response, cookie reply or transport data, for the tunnel with this receiver index.
    ForReceiver(u32),
}

/// Classifies a datagram without trusting it; none for anything that is not WireGuard.
pub fn classify(datagram: &[u8]) -> Option<Kind> {
    let index = |at: usize| {
        let bytes = datagram.get(at..at + 4)?.try_into().ok()?;
        Some(Kind::ForReceiver(u32::from_le_bytes(bytes)))
    };
    match (datagram.first_chunk::<4>()?, datagram.len()) {
        ([1, 0, 0, 0], HANDSHAKE_INITIATION) => Some(Kind::Initiation),
        ([2, 0, 0, 0], 92) => index(8),
        ([3, 0, 0, 0], 64) | ([4, 0, 0, 0], OVERHEAD..) => index(4),
        _ => None,
    }
}

/// One static key pair of the gateway, as handshakes meet it.
pub struct Identity {
    /// In a place of its own, which is wiped: an identity that is moved would leave a copy behind.
    secret: Box<StaticSecret>,
    public: PublicKey,
    /// Always under load, so it demands a cookie; when to ask it is [`crate::guard`]'s decision, because boringtun's
    /// one counter for the whole node would let one source lock everybody out.
    demanding: RateLimiter,
    /// Never under load.
    trusting: Arc<RateLimiter>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("public", &self.public.as_bytes()).finish_non_exhaustive()
    }
}

/// Whether the sender of an initiation can receive at its source address.
#[derive(Debug, PartialEq, Eq)]
pub enum Proof {
    Valid,
    /// Not yet: the first bytes of the buffer, of this length, are a cookie reply for it.
    Cookie(usize),
    NotForUs,
}

/// What an initiation turned out to be.
#[derive(Debug)]
pub enum Initiation {
    /// Its mac1 names another identity, or it was made without knowing our public key.
    NotForUs,
    /// mac1 is right but the static key cannot be decrypted.
    Forged,
    /// From the holder of this public key, if the rest of the handshake succeeds.
    From(PublicKey),
}

impl Identity {
    pub fn new(secret: StaticSecret) -> Self {
        let public = PublicKey::from(&secret);
        Identity {
            demanding: RateLimiter::new(&public, 0),
            trusting: Arc::new(RateLimiter::new(&public, u64::MAX)),
            secret: Box::new(secret),
            public,
        }
    }

    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Checks mac1 only: the cheapest way to tell a stranger's datagram.
    pub fn is_addressed_by(&self, initiation: &[u8]) -> bool {
        self.trusting.verify_packet(None, initiation, &mut []).is_ok()
    }

    /// Whether an initiation carries the cookie that proves `source`; if not, a cookie reply of 64 bytes goes into
    /// `reply`.
    pub fn proves_source(&self, source: IpAddr, initiation: &[u8], reply: &mut [u8]) -> Proof {
        match self.demanding.verify_packet(Some(source), initiation, reply) {
            Ok(_) => Proof::Valid,
            Err(TunnResult::WriteToNetwork(cookie)) => Proof::Cookie(cookie.len()),
            Err(_) => Proof::NotForUs,
        }
    }

    /// Finds out who sent an initiation, which costs one Diffie-Hellman.
    pub fn sender(&self, initiation: &[u8]) -> Initiation {
        let message = match self.trusting.verify_packet(None, initiation, &mut []) {
            Ok(Message::HandshakeInit(message)) => message,
            _ => return Initiation::NotForUs,
        };
        match parse_handshake_anon(&self.secret, &self.public, &message) {
            Ok(half) => Initiation::From(PublicKey::from(half.peer_static_public)),
            Err(_) => Initiation::Forged,
        }
    }
}

/// What a message became.
#[derive(Debug)]
pub enum Opened<'a> {
    /// A handshake step: answer with the first bytes of the buffer, then call [`Tunnel::flush`].
    Reply(&'a [u8]),
    /// An inner packet of an authenticated peer.
    Packet(&'a mut [u8]),
    /// An authenticated keepalive.
    Keepalive,
    /// A handshake step that needs no answer.
    Done,
}

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Not authentic: a wrong key or an altered message.
    Forged,
    /// An old message again: a counter or a timestamp that was seen.
    Replayed,
    /// The key pair has carried as many messages as it may.
    Exhausted,
    /// No session with that index, or expired.
    NoSession,
    /// The plaintext is no IP packet.
    NotIp,
}

/// What the timer wants.
#[derive(Debug)]
pub enum Tick<'a> {
    Send(&'a [u8]),
    Idle,
    /// No keys for too long: the tunnel is of no more use, drop it.
    Expired,
}

/// One peer relation with its handshake, sessions and timers.
pub struct Tunnel {
    tunn: Box<Tunn>,
    limits: MessageLimits,
    next_tick: Instant,
    newest: u32,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").field("next_tick", &self.next_tick).finish_non_exhaustive()
    }
}

/// Keys and parameters of a [`Tunnel`].
pub struct TunnelKeys {
    pub peer: PublicKey,
    pub preshared: Option<Preshared>,
    /// Seconds between unconditional keepalives; for clients behind NAT.
    pub persistent_keepalive: Option<u16>,
}

impl std::fmt::Debug for TunnelKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelKeys").field("peer", &self.peer.as_bytes()).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// `index`: 24 bits that come back as the upper bits of the receiver index, see [`index_of`].
    pub fn new(
        identity: &Identity,
        keys: TunnelKeys,
        index: u32,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let mut tunn = Tunn::new(
            StaticSecret::clone(&identity.secret),
            keys.peer,
            keys.preshared.as_deref().copied(),
            keys.persistent_keepalive,
            index,
            Some(identity.trusting.clone()),
        );
        // boringtun's idea of the present is the last call of its timer.
        let _ = tunn.update_timers(&mut [0; HANDSHAKE_INITIATION]);
        let next_tick = now + jitter(rng);
        Tunnel { tunn: Box::new(tunn), limits: MessageLimits::default(), next_tick, newest: index << 8 }
    }

    pub fn set_limits(&mut self, limits: MessageLimits) {
        self.limits = limits;
    }

    /// Authenticates and opens one message into `out`, which must be as long as the datagram, and at least
    /// [`HANDSHAKE_INITIATION`] bytes.
    pub fn open<'a>(
        &mut self,
        source: IpAddr,
        datagram: &[u8],
        out: &'a mut [u8],
    ) -> Result<Opened<'a>, Refused> {
        if out.len() < datagram.len().max(HANDSHAKE_INITIATION) || datagram.is_empty() {
            return Err(Refused::NoSession);
        }
        let data = counter(datagram);
        if data.is_some_and(|counter| counter >= self.limits.reject_after) {
            return Err(Refused::Exhausted);
        }
        match self.tunn.decapsulate(Some(source), datagram, out) {
            TunnResult::Done if data.is_some() => Ok(Opened::Keepalive),
            TunnResult::Done => Ok(Opened::Done),
            TunnResult::WriteToNetwork(reply) => {
                self.newest = own_index(reply).unwrap_or(self.newest);
                Ok(Opened::Reply(reply))
            }
            TunnResult::WriteToTunnelV4(packet, _) => Ok(Opened::Packet(packet)),
            TunnResult::WriteToTunnelV6(packet, _) => Ok(Opened::Packet(packet)),
            TunnResult::Err(error) => Err(match error {
                WireGuardError::DuplicateCounter
                | WireGuardError::InvalidCounter
                | WireGuardError::WrongTai64nTimestamp => Refused::Replayed,
                WireGuardError::NoCurrentSession
                | WireGuardError::WrongIndex
                | WireGuardError::ConnectionExpired
                | WireGuardError::UnexpectedPacket => Refused::NoSession,
                WireGuardError::InvalidPacket if data.is_some() => Refused::NotIp,
                _ => Refused::Forged,
            }),
        }
    }

    /// After a handshake completed: the next message that waited for it.
    pub fn flush<'a>(&mut self, out: &'a mut [u8]) -> Option<&'a [u8]> {
        match self.tunn.decapsulate(None, &[], out) {
            TunnResult::WriteToNetwork(message) => Some(message),
            _ => None,
        }
    }

    /// Seals an inner packet into `out`, at least [`sealed_len`] bytes. Pads `packet`, whose first `len` bytes are the
    /// inner packet and whose rest is spare room, as far as that room goes.
    ///
    /// Without a session the packet waits in a bounded queue and what comes back is a handshake initiation, if none
    /// is under way.
    pub fn seal<'a>(
        &mut self,
        packet: &mut [u8],
        len: usize,
        out: &'a mut [u8],
    ) -> Result<Option<&'a [u8]>, Refused> {
        let padded = len.next_multiple_of(PADDING).min(packet.len());
        let Some(room) = packet.get_mut(len..padded) else { return Err(Refused::NoSession) };
        room.fill(0);
        if out.len() < sealed_len(padded) {
            return Err(Refused::NoSession);
        }
        match self.tunn.encapsulate(&packet[..padded], out) {
            TunnResult::WriteToNetwork(message) => {
                match counter(message) {
                    Some(counter) if counter >= self.limits.reject_after => return Err(Refused::Exhausted),
                    Some(_) => {}
                    None => self.newest = own_index(message).unwrap_or(self.newest),
                }
                Ok(Some(message))
            }
            _ => Ok(None),
        }
    }

    /// Whether a sealed message says that the key pair should be renewed by the sender; then call [`Tunnel::initiate`].
    pub fn wants_rekey(&self, sealed: &[u8]) -> bool {
        counter(sealed).is_some_and(|counter| counter >= self.limits.rekey_after)
    }

    /// Starts a handshake, also beside a session that still works, unless one is under way and `force` is false.
    pub fn initiate<'a>(
        &mut self,
        out: &'a mut [u8],
        force: bool,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<&'a [u8]> {
        if out.len() < HANDSHAKE_INITIATION {
            return None;
        }
        match self.tunn.format_handshake_initiation(out, force) {
            TunnResult::WriteToNetwork(message) => {
                self.next_tick = now + jitter(rng);
                self.newest = own_index(message).unwrap_or(self.newest);
                Some(message)
            }
            _ => None,
        }
    }

    /// When [`Tunnel::tick`] is to be called next.
    pub fn next_tick(&self) -> Instant {
        self.next_tick
    }

    /// Runs boringtun's timers: keepalives, handshake retransmissions, expiry. `out` must have
    /// [`HANDSHAKE_INITIATION`] bytes.
    pub fn tick<'a>(&mut self, now: Instant, rng: &mut fastrand::Rng, out: &'a mut [u8]) -> Tick<'a> {
        self.next_tick = now + TICK;
        if out.len() < HANDSHAKE_INITIATION {
            return Tick::Idle;
        }
        match self.tunn.update_timers(out) {
            TunnResult::WriteToNetwork(message) => {
                if classify(message) == Some(Kind::Initiation) {
                    self.next_tick = now + jitter(rng);
                    self.newest = own_index(message).unwrap_or(self.newest);
                }
                Tick::Send(message)
            }
            TunnResult::Err(WireGuardError::ConnectionExpired) => Tick::Expired,
            _ => Tick::Idle,
        }
    }

    /// The receiver index of the key pair that the last handshake message of this side offered.
    pub fn newest_index(&self) -> u32 {
        self.newest
    }

    /// Age of the key pair in use; none without one.
    pub fn session_age(&self) -> Option<Duration> {
        self.tunn.time_since_last_handshake()
    }

    /// Round-trip time of the last handshake that this side began.
    pub fn handshake_rtt(&self) -> Option<Duration> {
        self.tunn.stats().4.map(|ms| Duration::from_millis(ms.into()))
    }
}

/// Room that [`Tunnel::seal`] needs for a packet of `len` bytes, padding included.
pub fn sealed_len(len: usize) -> usize {
    (len.next_multiple_of(PADDING) + OVERHEAD).max(HANDSHAKE_INITIATION)
}

/// Length of a packet with its padding, which may fill it up to the MTU but not beyond (WireGuard paper, section 5.4.6).
pub fn padded_len(len: usize, mtu: u16) -> usize {
    len.next_multiple_of(PADDING).min(usize::from(mtu).max(len))
}

/// The tunnel's `index` back from a receiver index.
pub fn index_of(receiver_index: u32) -> u32 {
    receiver_index >> 8
}

/// Whether a receiver index names a newer key pair than another of the same tunnel.
pub fn is_newer(receiver_index: u32, than: u32) -> bool {
    // boringtun counts in eight bits, and keeps the last eight.
    (receiver_index as u8).wrapping_sub(than as u8) as i8 > 0
}

/// The sender's index in a handshake message of our own.
fn own_index(message: &[u8]) -> Option<u32> {
    let header: &[u8; 8] = message.first_chunk()?;
    let (kind, index) = header.split_first_chunk::<4>()?;
    matches!(kind[0], 1 | 2).then(|| index.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)))?
}

fn counter(message: &[u8]) -> Option<u64> {
    let header: &[u8; 16] = message.first_chunk()?;
    let (kind, rest) = header.split_first_chunk::<8>()?;
    (kind[0] == 4).then(|| rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)))?
}

fn jitter(rng: &mut fastrand::Rng) -> Duration {
    Duration::from_micros(rng.u64(0..=TICK.as_micros() as u64))
}

#[cfg(test)]
mod tests;
