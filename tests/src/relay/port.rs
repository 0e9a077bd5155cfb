//! A UDP socket that receives and sends trains of datagrams.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

use super::queue::Train;

/// What fits one send with its headers.
const LARGEST: usize = 60_000;

/// A socket with its offload state.
pub(super) struct Port {
    socket: tokio::net::UdpSocket,
    offload: UdpSocketState,
}

impl Port {
    /// Registers the socket with the present runtime.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let offload = UdpSocketState::new((&socket).into())?;
        for set in [UdpSocketState::set_send_buffer_size, UdpSocketState::set_recv_buffer_size] {
            set(&offload, (&socket).into(), 4 << 20)?;
        }
        Ok(Self { socket: tokio::net::UdpSocket::from_std(socket)?, offload })
    }

    /// Fills the buffers, one with each train that has come.
    pub(super) async fn receive(&self, buffers: &mut [Vec<u8>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        self.socket
            .async_io(Interest::READABLE, || self.offload.recv((&self.socket).into(), &mut slices, metas))
            .await
    }

    /// Sends a train in as few system calls as the kernel allows.
    pub(super) async fn send(&self, train: &Train, destination: SocketAddr) {
        let stride = train.stride.max(1);
        let segments = (LARGEST / stride).clamp(1, self.offload.max_gso_segments());
        for contents in train.bytes.chunks(segments * stride) {
            let segment_size = (contents.len() > train.stride).then_some(train.stride);
            let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
            // An unreachable destination is loss, as on any path.
            let _ = self
                .socket
                .async_io(Interest::WRITABLE, || self.offload.try_send((&self.socket).into(), &transmit))
                .await;
        }
    }
}
