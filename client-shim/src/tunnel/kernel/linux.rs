//! Linux: packets in trains, both ways.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;

use vmsgate_netio::{Frame, Segment, TunBatch, TunQueue};
use vmsgate_tunnel::packet::Packet;

use super::Outgoing;

/// The queue of a TUN interface.
#[derive(Debug)]
pub(crate) struct Device {
    queue: TunQueue,
    batch: TunBatch,
    frame: Frame,
}

impl Device {
    pub(crate) fn new(queue: TunQueue) -> Self {
        let batch = queue.batch();
        Self { queue, batch, frame: Frame::new() }
    }

    pub(super) async fn ready(&self) -> io::Result<()> {
        if self.batch.is_empty() {
            return self.queue.readable().await;
        }
        tokio::select! {
            ready = self.queue.readable() => ready,
            ready = self.queue.writable() => ready,
        }
    }

    /// Whether there was room for the packet.
    pub(super) fn push(&mut self, packet: &Packet<'_>) -> bool {
        let bytes = packet.bytes();
        if !self.batch.has_room(bytes.len()) {
            self.write();
        }
        let Some(room) = self.batch.room(bytes.len()).get_mut(..bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.batch.push(flow_of(packet), bytes.len());
        true
    }

    pub(super) fn write(&mut self) {
        if !self.batch.is_empty()
            && let Err(error) = self.queue.write(&mut self.batch)
        {
            // Reading tells the same, and is where it is dealt with.
            tracing::debug!(%error, "the TUN interface failed");
        }
    }

    pub(super) fn try_read(&mut self) -> io::Result<bool> {
        self.queue.try_read(&mut self.frame)
    }

    /// What was read, a train as one packet.
    pub(super) fn packet(&self) -> &[u8] {
        self.frame.packet()
    }

    pub(super) fn next_packet(&mut self) -> Option<Outgoing<'_>> {
        self.frame.next_segment().map(|Segment { buffer, len }| Outgoing { buffer, len })
    }
}

/// The same for all packets of a flow.
fn flow_of(packet: &Packet<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    packet.five_tuple().hash(&mut hasher);
    hasher.finish()
}
