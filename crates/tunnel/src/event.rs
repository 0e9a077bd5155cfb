//! What the gateway's state machine reports: the raw material of the audit log.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use uuid::Uuid;
use x25519_dalek::PublicKey;

use crate::flow::{CloseReason, Direction, FirstBytes, FlowId, Traffic};
use crate::packet::FiveTuple;
use crate::policy::{Allowed, DenyReason, Protocol};

/// Milliseconds since 1970-01-01 00:00 UTC.
pub type UnixMillis = u64;

/// Who a session belongs to; shared by everything that happens in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    pub id: Uuid,
    pub name: Arc<str>,
    pub operator: Arc<str>,
    pub role: Arc<str>,
    pub addresses: Vec<IpAddr>,
}

/// One client's continuous presence.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// A version 7 UUID: sorts by time.
    pub id: Uuid,
    pub client: Arc<ClientInfo>,
    /// The client key that it is heard under.
    pub key: PublicKey,
    /// The identity of the gateway that it is heard under.
    pub identity: PublicKey,
    /// Whether it is heard under an agreed pre-shared key.
    pub post_quantum: bool,
    /// The client's address outside.
    pub endpoint: SocketAddr,
    /// The session that a restart interrupted and this one takes up.
    pub continues: Option<Uuid>,
}

/// A session that ended with the gateway's last run, although its client was there.
#[derive(Debug, Clone, Copy)]
pub struct Interrupted {
    pub client: Uuid,
    pub session: Uuid,
    /// Where the client was.
    pub endpoint: SocketAddr,
    /// A session that begins later is another one.
    pub until: UnixMillis,
}

/// Why a session ended, stable names in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// Silent for longer than a key pair lives, with no flow open.
    Expired,
    Revoked,
    Suspended,
    /// The client's validity ran out.
    ValidityEnded,
    /// The client's record or the key in use is gone.
    Removed,
    Shutdown,
}

impl SessionEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            SessionEnd::Expired => "expired",
            SessionEnd::Revoked => "revoked",
            SessionEnd::Suspended => "suspended",
            SessionEnd::ValidityEnded => "validity-ended",
            SessionEnd::Removed => "removed",
            SessionEnd::Shutdown => "shutdown",
        }
    }
}

/// Why an initiation with a valid mac1 was not answered, stable names in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    UnknownKey,
    Suspended,
    Revoked,
    ValidityEnded,
    /// The initiation does not decrypt.
    Forged,
    /// An initiation that was seen before.
    Replayed,
    RateLimited,
}

impl Rejection {
    pub const ALL: [Self; Self::RateLimited as usize + 1] = [
        Self::UnknownKey,
        Self::Suspended,
        Self::Revoked,
        Self::ValidityEnded,
        Self::Forged,
        Self::Replayed,
        Self::RateLimited,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Rejection::UnknownKey => "unknown-key",
            Rejection::Suspended => "suspended",
            Rejection::Revoked => "revoked",
            Rejection::ValidityEnded => "validity-ended",
            Rejection::Forged => "forged",
            Rejection::Replayed => "replayed",
            Rejection::RateLimited => "rate-limited",
        }
    }
}

/// A flow as the audit log sees it.
#[derive(Debug, Clone)]
pub struct FlowInfo {
    pub id: FlowId,
    pub session: SessionInfo,
    pub tuple: FiveTuple,
    pub allowed: Allowed,
}

#[derive(Debug, Clone)]
pub enum GatewayEvent {
    SessionOpened {
        session: SessionInfo,
        at: UnixMillis,
    },
    SessionRoamed {
        session: SessionInfo,
        from: SocketAddr,
        at: UnixMillis,
    },
    SessionClosed {
        session: SessionInfo,
        reason: SessionEnd,
        traffic: Traffic,
        /// When the last packet passed to or from the recording network.
        last_forwarded: Option<UnixMillis>,
        /// Live flows to the recording network that the end cut.
        flows_cut: u64,
        opened: UnixMillis,
        at: UnixMillis,
    },
    /// A client was heard for the first time under a client key or an identity other than before, or its session became
    /// post-quantum or is so no longer; also with the beginning of a session.
    KeyConfirmed {
        client: Uuid,
        key: PublicKey,
        identity: PublicKey,
        post_quantum: bool,
        at: UnixMillis,
    },
    FlowOpened {
        flow: FlowInfo,
        at: UnixMillis,
    },
    FlowClosed {
        flow: FlowInfo,
        reason: CloseReason,
        /// Where the server accepts a RST, of a TCP connection that was cut.
        reset_at: Option<u32>,
        traffic: Traffic,
        /// Of a TCP connection.
        first_bytes: Option<FirstBytes>,
        opened: UnixMillis,
        at: UnixMillis,
    },
    FlowDenied(Denial),
    HandshakeRejected(RejectedHandshakes),
    SessionLimited(LimitedSession),
}

/// Refused attempts of one session, folded.
#[derive(Debug, Clone)]
pub struct Denial {
    pub session: SessionInfo,
    pub destination: IpAddr,
    pub protocol: Protocol,
    /// One port, or the ranges of ports of a scan.
    pub ports: Vec<RangeInclusive<u16>>,
    pub reason: DenyReason,
    pub server: Option<Arc<str>>,
    pub rule: Arc<str>,
    pub nearest: Option<Arc<str>>,
    pub count: u64,
    pub first: UnixMillis,
    pub last: UnixMillis,
}

/// What a session's bandwidth limit held up, folded.
#[derive(Debug, Clone)]
pub struct LimitedSession {
    pub session: SessionInfo,
    pub direction: Direction,
    /// The configuration's words.
    pub rule: Arc<str>,
    /// Packets or trains dropped, and times that a flow waited.
    pub count: u64,
    pub first: UnixMillis,
    pub last: UnixMillis,
}

impl LimitedSession {
    /// Stable names in the audit log.
    pub fn reason(&self) -> &'static str {
        match self.direction {
            Direction::Up => "bandwidth-up",
            Direction::Down => "bandwidth-down",
        }
    }
}

/// Handshakes of one source that were not answered, folded.
#[derive(Debug, Clone)]
pub struct RejectedHandshakes {
    /// The newest source port of the source.
    pub source: SocketAddr,
    pub reason: Rejection,
    pub client: Option<Arc<ClientInfo>>,
    pub key: Option<PublicKey>,
    pub count: u64,
    pub first: UnixMillis,
    pub last: UnixMillis,
}
