//! One client as the gateway's state machine keeps it: who it is, what it may use, where it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use x25519_dalek::PublicKey;

use crate::event::{ClientInfo, Rejection, SessionEnd, SessionInfo, UnixMillis};
use crate::flow::Traffic;
use crate::policy::RoleId;

/// A client's registry record, as far as the data path needs it.
#[derive(Clone)]
pub struct ClientConfig {
    pub info: ClientInfo,
    pub keys: Vec<ClientKey>,
    pub access: Access,
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig").field("name", &self.info.name).finish_non_exhaustive()
    }
}

/// A key pair that a client holds, with the pre-shared key that goes with it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientKey {
    pub public: PublicKey,
    pub preshared: Option<[u8; 32]>,
}

/// Whether a client may connect now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Active { until: Option<UnixMillis> },
    Suspended,
    Revoked,
}

impl Access {
    /// Why a handshake is not answered at `unix`, if so.
    pub(crate) fn rejection(self, unix: UnixMillis) -> Option<Rejection> {
        match self {
            Access::Active { until: Some(until) } if until <= unix => Some(Rejection::ValidityEnded),
            Access::Active { .. } => None,
            Access::Suspended => Some(Rejection::Suspended),
            Access::Revoked => Some(Rejection::Revoked),
        }
    }

    /// Why a live session ends at `unix`, if so.
    pub(crate) fn session_end(self, unix: UnixMillis) -> Option<SessionEnd> {
        match self {
            Access::Active { until: Some(until) } if until <= unix => Some(SessionEnd::ValidityEnded),
            Access::Active { .. } => None,
            Access::Suspended => Some(SessionEnd::Suspended),
            Access::Revoked => Some(SessionEnd::Revoked),
        }
    }
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientKey").field("public", self.public.as_bytes()).finish_non_exhaustive()
    }
}

pub(crate) struct Peer {
    pub(crate) info: Arc<ClientInfo>,
    pub(crate) role: Option<RoleId>,
    pub(crate) keys: Vec<ClientKey>,
    pub(crate) access: Access,
    /// Slots of this client's tunnels, newest last. More than one only while keys change.
    pub(crate) tunnels: Vec<u32>,
    /// The slot of the tunnel that authenticated data last: where packets to the client go.
    pub(crate) active: Option<u32>,
    pub(crate) session: Option<Session>,
}

impl Peer {
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        self.info.addresses.contains(&address)
    }
}

pub(crate) struct Session {
    pub(crate) info: SessionInfo,
    pub(crate) opened: Instant,
    pub(crate) last_seen: Instant,
    pub(crate) traffic: Traffic,
}

/// A live session, for `status`.
#[derive(Debug, Clone)]
pub struct SessionStatus {
    pub info: SessionInfo,
    pub opened: Instant,
    pub last_seen: Instant,
    /// Since the newest key pair in use was agreed.
    pub handshake_age: Option<Duration>,
    pub traffic: Traffic,
    pub flows: usize,
}

/// Where replies to a client go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) slot: u32,
    pub(crate) endpoint: SocketAddr,
}
