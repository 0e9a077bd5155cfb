//! Egress `tun`: the kernel routes. Packets go out as trains through one queue of the TUN interface and come back
//! through it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use vmsgate_netio::{Frame, TunBatch, TunQueue};
use vmsgate_tunnel::flow::FlowId;
use vmsgate_tunnel::reply;
use vmsgate_tunnel::sink::PacketTrain;

/// Room for a RST.
const RESET_BYTES: usize = 60;

/// One worker's way to the kernel.
#[derive(Debug)]
pub struct Lan {
    queue: Rc<TunQueue>,
    batch: TunBatch,
    masquerade: bool,
}

/// A frame as the state machine takes it.
#[derive(Debug)]
pub struct Arrived<'a>(pub &'a mut Frame);

impl Lan {
    pub fn new(queue: TunQueue, masquerade: bool) -> Self {
        let batch = queue.batch();
        Lan { queue: Rc::new(queue), batch, masquerade }
    }

    /// Whether the kernel hides the clients' addresses from the servers.
    pub fn masquerades(&self) -> bool {
        self.masquerade
    }

    pub fn queue(&self) -> Rc<TunQueue> {
        self.queue.clone()
    }

    /// Where the next packet of up to `len` bytes is decrypted to. None when the kernel takes no more.
    pub fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        if !self.batch.has_room(len) {
            self.write();
        }
        let room = self.batch.room(len);
        (room.len() == len).then_some(room)
    }

    /// Accepts the packet at the beginning of the last room.
    pub fn push(&mut self, flow: FlowId, len: usize) {
        self.batch.push(flow.as_u64(), len);
    }

    /// Tells a server that the client of a TCP connection is gone, at the sequence number that it expects.
    pub fn reset(&mut self, flow: FlowId, from: SocketAddr, to: SocketAddr, sequence: u32) {
        let Some(room) = self.room(RESET_BYTES) else { return };
        if let Some(len) = reply::reset_at(from, to, sequence, room) {
            self.push(flow, len);
        }
    }

    /// Hands the batch to the kernel.
    pub fn write(&mut self) {
        if let Err(error) = self.queue.write(&mut self.batch) {
            tracing::error!(%error, "the TUN interface failed");
        }
    }

    /// Reads one packet or train; answers whether there was one.
    pub fn read(&self, frame: &mut Frame) -> io::Result<bool> {
        self.queue.try_read(frame)
    }
}

impl PacketTrain for Arrived<'_> {
    fn bytes(&self) -> &[u8] {
        self.0.packet()
    }

    fn packets(&self) -> usize {
        self.0.segments()
    }

    fn next_packet(&mut self) -> Option<(&mut [u8], usize)> {
        let segment = self.0.next_segment()?;
        Some((segment.buffer, segment.len))
    }
}
