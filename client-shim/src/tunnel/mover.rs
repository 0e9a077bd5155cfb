//! The wish to move the tunnel to other keys, on its way to the driver.

use tokio::sync::{mpsc, oneshot};
use vmsgate_tunnel::client::ClientKeys;

/// Keys to move to, and who waits for what becomes of it.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) keys: ClientKeys,
    pub(super) outcome: oneshot::Sender<bool>,
}

/// Moves the tunnel to other keys.
#[derive(Debug, Clone)]
pub(crate) struct Mover(mpsc::Sender<Move>);

impl Mover {
    pub(super) fn new() -> (Self, mpsc::Receiver<Move>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    /// Answers whether the gateway was heard under `keys`, which are in use then. Otherwise those before go on.
    pub(crate) async fn to(&self, keys: ClientKeys) -> bool {
        let (outcome, moved) = oneshot::channel();
        let sent = self.0.send(Move { keys, outcome }).await;
        sent.is_ok() && moved.await.unwrap_or(false)
    }
}
