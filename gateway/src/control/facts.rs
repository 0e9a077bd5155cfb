//! What the registry says of clients and only their profiles repeat. Written by the main task when the registry
//! changes, read when a profile is asked for: never on the way of a packet.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use uuid::Uuid;
use vmsgate_keys::PublicKey;

/// Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Facts(Arc<RwLock<HashMap<Uuid, ClientFacts>>>);

#[derive(Debug, Clone, Default)]
pub struct ClientFacts {
    /// Each key, and when it was registered.
    pub keys: Vec<(PublicKey, Timestamp)>,
    /// When somebody tried the client's invitation after it had been used.
    pub invitation_reused: Option<Timestamp>,
}

impl Facts {
    pub fn set_keys(&self, client: Uuid, keys: Vec<(PublicKey, Timestamp)>) {
        self.change(client, |facts| facts.keys = keys);
    }

    pub fn set_invitation_reused(&self, client: Uuid, at: Timestamp) {
        self.change(client, |facts| facts.invitation_reused = Some(at));
    }

    pub fn of(&self, client: Uuid) -> ClientFacts {
        let facts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        facts.get(&client).cloned().unwrap_or_default()
    }

    fn change(&self, client: Uuid, change: impl FnOnce(&mut ClientFacts)) {
        // A panic elsewhere cannot have left half of a change.
        let mut facts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(facts.entry(client).or_default());
    }
}
