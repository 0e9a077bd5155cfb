//! Who asks.

use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use uuid::Uuid;
use vmsgate_keys::PublicKey;
use vmsgate_tunnel::noise::Preshared;
use vmsgate_tunnel::peer::ClientKind;

/// The client behind a connection, known from the tunnel address that it owns.
#[derive(Clone)]
pub struct Caller {
    /// Of the client, or of the invitation.
    pub id: Uuid,
    pub kind: ClientKind,
    pub client: String,
    pub operator: String,
    pub role: String,
    pub expires: Option<Timestamp>,
    pub addresses: Vec<IpNet>,
    /// The client's key and the gateway's that the tunnel runs under.
    pub key: PublicKey,
    pub identity: PublicKey,
    /// The pre-shared key that is registered with `key`.
    pub registered: Preshared,
    /// Whether the session is under an agreed pre-shared key.
    pub post_quantum: bool,
    /// Where the client is outside.
    pub source: SocketAddr,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("client", &self.client)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
