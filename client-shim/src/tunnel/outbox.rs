//! netio's transmit queue as the state machine's sink. netio knows no tunnel, so the two meet here.

use std::net::SocketAddr;

use vmsgate_netio::SendQueue;
use vmsgate_tunnel::sink::DatagramSink;

#[derive(Debug, Default)]
pub(super) struct Outbox(pub(super) SendQueue);

impl DatagramSink for Outbox {
    fn reserve(&mut self, to: SocketAddr, len: usize) -> &mut [u8] {
        self.0.reserve(to, len)
    }

    fn commit(&mut self, len: usize) {
        self.0.commit(len);
    }
}
