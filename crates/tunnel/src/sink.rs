//! The two buffers that the state machines write into.

use std::net::SocketAddr;
use std::time::Instant;

use crate::flow::FlowId;
use crate::packet::Packet;

/// Takes datagrams for the outside network. Written in place: reserve, fill, commit.
pub trait DatagramSink {
    /// At least `len` bytes for one datagram to `to`. A reservation that is not committed leaves no trace.
    fn reserve(&mut self, to: SocketAddr, len: usize) -> &mut [u8];

    /// Sends the first `len` bytes of the last reservation.
    fn commit(&mut self, len: usize);
}

/// Takes inner packets that policy allowed, in the order of their flow.
pub trait InnerSink {
    /// A flow to the recording network begins; its first packet follows.
    fn opened(&mut self, _flow: FlowId) {}

    /// `client`: the flow's owner, as [`crate::flow::Flow::client`].
    fn packet(&mut self, flow: FlowId, client: u32, packet: &Packet<'_>, now: Instant);
}

/// Packets of one flow that came together: all with the first one's header but for sequence number, length and
/// checksum.
pub trait PacketTrain {
    /// The whole train as one long packet, headers once.
    fn bytes(&self) -> &[u8];

    /// How many packets it is.
    fn packets(&self) -> usize;

    /// The next packet by itself and its length; up to fifteen bytes of room after it may be overwritten.
    fn next_packet(&mut self) -> Option<(&mut [u8], usize)>;
}

/// Collects datagrams in memory, one vector each: for tests and for callers that send them one by one.
#[derive(Debug, Default)]
pub struct DatagramQueue {
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    reserved: Option<(SocketAddr, Vec<u8>)>,
}

impl DatagramSink for DatagramQueue {
    fn reserve(&mut self, to: SocketAddr, len: usize) -> &mut [u8] {
        &mut self.reserved.insert((to, vec![0; len])).1
    }

    fn commit(&mut self, len: usize) {
        if let Some((to, mut bytes)) = self.reserved.take() {
            bytes.truncate(len);
            self.datagrams.push((to, bytes));
        }
    }
}
