//! How the link to the gateway is, as the driver publishes it.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vmsgate_exchange::refusal::Refusal;
use x25519_dalek::PublicKey;

/// Whether the gateway answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// The first handshake is under way.
    Connecting,
    Connected,
    /// Something has gone unanswered for seconds; the shim keeps trying.
    NoAnswer,
    /// The gateway has said that it does not accept this client any more; the shim asks now and then.
    Refused,
}

/// The keys of the tunnel in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    pub client: PublicKey,
    pub gateway: PublicKey,
    /// Whether the pre-shared key is an agreed one.
    pub post_quantum: bool,
}

/// One look at the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub state: LinkState,
    /// Since when it has been in this state.
    pub since: Timestamp,
    /// The gateway's address outside, once its name was resolved.
    pub endpoint: Option<SocketAddr>,
    /// None before the gateway's name was resolved.
    pub in_use: Option<InUse>,
    pub handshake_age: Option<Duration>,
    /// How long the newest handshake took that we began.
    pub handshake_time: Option<Duration>,
    pub round_trip: Option<Duration>,
    /// Bytes of datagrams, as they cross the network.
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// What the gateway has said, in the state `refused`.
    pub refusal: Option<Refusal>,
    /// What stands in the way, if the shim knows.
    pub trouble: Option<String>,
}

impl Link {
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: LinkState::Connecting,
            since: now,
            endpoint: None,
            in_use: None,
            handshake_age: None,
            handshake_time: None,
            round_trip: None,
            bytes_received: 0,
            bytes_sent: 0,
            refusal: None,
            trouble: None,
        }
    }

    pub fn is_connected(&self) -> bool {
        self.state == LinkState::Connected
    }
}
