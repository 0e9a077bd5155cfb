//! One client as the gateway's state machine keeps it: who it is, what it may use, where it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use x25519_dalek::PublicKey;

use crate::bandwidth::Lines;
use crate::bucket::Bucket;
use crate::event::{ClientInfo, Interrupted, Rejection, SessionEnd, SessionInfo, UnixMillis};
use crate::flow::Traffic;
use crate::noise::Preshared;
use crate::policy::RoleId;

/// A client's registry record, as far as the data path needs it.
#[derive(Clone)]
pub struct ClientConfig {
    pub info: ClientInfo,
    pub keys: Vec<ClientKey>,
    pub access: Access,
    pub kind: ClientKind,
}

/// What a client's keys are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// What its role allows.
    Device,
    /// To reach enrolment, and nothing else whatever its role.
    Invitation,
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
    pub preshared: Option<Preshared>,
    /// When the key ends by itself.
    pub until: Option<UnixMillis>,
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

impl ClientKey {
    pub(crate) fn has_ended(&self, unix: UnixMillis) -> bool {
        self.until.is_some_and(|until| until <= unix)
    }
}

/// A client key, with what was agreed for it through the tunnel.
pub(crate) struct HeldKey {
    pub(crate) key: ClientKey,
    /// The agreed pre-shared key that the client was heard under.
    pub(crate) agreed: Option<Preshared>,
    /// The agreed pre-shared key that it was not heard under yet.
    pub(crate) offered: Option<Preshared>,
}

impl HeldKey {
    /// The pre-shared keys that an initiation may mean, each once.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &Option<Preshared>> {
        let registered = &self.key.preshared;
        let agreed = [&self.agreed, &self.offered].into_iter();
        std::iter::once(registered).chain(agreed.filter(move |key| key.is_some() && *key != registered))
    }

    pub(crate) fn has_only_registered(&self) -> bool {
        self.agreed.is_none() && self.offered.is_none()
    }
}

pub(crate) struct Peer {
    pub(crate) info: Arc<ClientInfo>,
    pub(crate) role: Option<RoleId>,
    pub(crate) keys: Vec<HeldKey>,
    pub(crate) access: Access,
    pub(crate) kind: ClientKind,
    /// Slots of this client's tunnels, the one heard last at the end. More than one only while keys change.
    pub(crate) tunnels: Vec<u32>,
    /// The slot of the tunnel that authenticated data last: where packets to the client go.
    pub(crate) active: Option<u32>,
    pub(crate) session: Option<Session>,
    /// What its next session takes up.
    pub(crate) interrupted: Option<Interrupted>,
    /// What it may still open at once; none before the first flow.
    pub(crate) new_flows: Option<Bucket>,
    /// Its limits of bandwidth, if it has any.
    pub(crate) lines: Option<Box<Lines>>,
}

impl Peer {
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        self.info.addresses.contains(&address)
    }

    /// One of its keys, if it has not ended.
    pub(crate) fn held(&self, key: &PublicKey, unix: UnixMillis) -> Option<&HeldKey> {
        self.keys.iter().find(|held| held.key.public == *key && !held.key.has_ended(unix))
    }
}

pub(crate) struct Session {
    pub(crate) info: SessionInfo,
    pub(crate) opened: Instant,
    pub(crate) last_seen: Instant,
    pub(crate) traffic: Traffic,
    /// The last packet to or from the recording network, of the flows that are over.
    pub(crate) last_forwarded: Option<Instant>,
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
