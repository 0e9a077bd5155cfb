//! Which worker a client, a message or a packet belongs to.
//!
//! Each worker has a [`super::GatewayState`] of its own that knows its share of the clients and nothing of the others.
//! The upper bits of a WireGuard receiver index name the worker, so that a message says itself where it belongs; an
//! initiation and a packet from the recording network are looked up in the [`Directory`].

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::quality::FixedState;
use uuid::Uuid;
use x25519_dalek::PublicKey;

use crate::peer::ClientConfig;

/// Workers that a receiver index can name: its six upper bits.
pub const MAX_WORKERS: u8 = 64;
/// A tunnel's place at its worker: the next 18 bits. The lower eight count boringtun's sessions.
const SLOT_BITS: u32 = 18;

/// One worker's place among all.
#[derive(Debug, Clone)]
pub struct Shard {
    worker: u8,
    workers: u8,
    /// Empty with one worker, which owns everything.
    directory: Arc<Directory>,
}

/// Every client's owner.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    by_key: HashMap<[u8; 32], u8, FixedState>,
    by_address: HashMap<IpAddr, u8, FixedState>,
}

/// A datagram that is another worker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    pub worker: u8,
    /// Of an initiation: what has been found out about it already.
    pub initiator: Option<Initiator>,
}

/// Who sent an initiation, and to which identity of ours. Its source has passed the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initiator {
    pub key: PublicKey,
    pub identity: PublicKey,
}

impl Shard {
    /// `worker` counts from 0.
    pub fn new(worker: u8, workers: u8) -> Shard {
        Shard { worker, workers, directory: Arc::default() }
    }

    /// The only worker.
    pub fn whole() -> Shard {
        Shard::new(0, 1)
    }

    pub(super) fn set_directory(&mut self, directory: Arc<Directory>) {
        self.directory = directory;
    }

    /// The index to give a tunnel: 24 bits, see [`crate::noise::Tunnel::new`]; none beyond the last place.
    pub(super) fn index(&self, slot: u32) -> Option<u32> {
        (slot >> SLOT_BITS == 0).then_some(u32::from(self.worker) << SLOT_BITS | slot)
    }

    /// A tunnel's place here, or the worker that has it.
    pub(super) fn place(&self, index: u32) -> Result<u32, u8> {
        let worker = (index >> SLOT_BITS) as u8;
        if worker == self.worker { Ok(index & ((1 << SLOT_BITS) - 1)) } else { Err(worker) }
    }

    pub(super) fn exists(&self, worker: u8) -> bool {
        worker < self.workers
    }

    /// Another worker whose client has this key.
    pub(super) fn of_key(&self, key: &PublicKey) -> Option<u8> {
        self.other(self.directory.by_key.get(key.as_bytes()))
    }

    /// Another worker whose client has this tunnel address.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<u8> {
        self.other(self.directory.by_address.get(&address))
    }

    fn other(&self, owner: Option<&u8>) -> Option<u8> {
        owner.copied().filter(|owner| *owner != self.worker)
    }
}

impl Directory {
    /// Adds a client, or what is new about it.
    pub fn add(&mut self, client: &ClientConfig, owner: u8) {
        self.by_key.extend(client.keys.iter().map(|key| (key.public.to_bytes(), owner)));
        self.by_address.extend(client.info.addresses.iter().map(|address| (*address, owner)));
    }
}

/// The worker that a client belongs to, for as long as the gateway runs.
pub fn owner(client: Uuid, workers: u8) -> u8 {
    let hash = FixedState::with_seed(0).hash_one(client);
    (hash % u64::from(workers.max(1))) as u8
}
