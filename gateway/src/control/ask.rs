//! What the control interface cannot do by itself: it asks the worker, which asks the gateway's main task about
//! everything that is in the registry.

use tokio::sync::{mpsc, oneshot};
use vmsgate_exchange::body::Enrolled;
use vmsgate_keys::{PresharedKey, PublicKey};
use vmsgate_tunnel::noise::Preshared;

use crate::http::HttpError;

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, HttpError>>;
/// Where one connection's requests go.
pub type Asking = mpsc::Sender<Ask>;

/// A request of the client that owns the connection.
#[derive(Debug)]
pub enum Ask {
    /// Of an invitation: let this key in. The answer lacks the ciphertext.
    Enrol { new: KeyOffer, reply: Reply<Enrolled> },
    /// Of a device: register this key beside its own.
    Offer { new: KeyOffer, reply: Reply<()> },
    /// Of a device: this pre-shared key was agreed for this key of its, and is used with it from now on.
    Agree { key: PublicKey, preshared: Preshared, reply: Reply<()> },
}

/// A key that a client made, and what was agreed to go with it.
#[derive(Debug)]
pub struct KeyOffer {
    pub public_key: PublicKey,
    pub preshared: PresharedKey,
}
