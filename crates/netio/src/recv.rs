//! Received datagrams: a set of buffers that one system call fills and that is used again for the next.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::RecvMeta;

use crate::socket::normalize;

/// Trains per system call. Each may hold 64 datagrams, so that few suffice; the buffers stay in the processor's cache.
const TRAINS: usize = 8;

/// The kernel's largest train: 64 KiB (`UDP_GRO` merges up to the size of an IP packet).
const TRAIN_BYTES: usize = 65_536;

/// Buffers for one batch. Make one per socket and use it for ever.
pub struct RecvBatch {
    storage: Box<[u8]>,
    metas: [RecvMeta; TRAINS],
    received: usize,
}

/// Datagrams of one peer, received together: `stride` bytes each, the last one may be shorter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Train<'a> {
    pub(crate) from: SocketAddr,
    /// The address of this machine that the peer sent to, where the system tells.
    pub(crate) local_ip: Option<IpAddr>,
    stride: usize,
    bytes: &'a [u8],
}

/// One received datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub from: SocketAddr,
    pub bytes: &'a [u8],
}

impl RecvBatch {
    pub fn new() -> Self {
        let storage = vec![0; TRAINS * TRAIN_BYTES].into_boxed_slice();
        Self { storage, metas: [RecvMeta::default(); TRAINS], received: 0 }
    }

    /// The datagrams of the last receive, in order of arrival.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.trains().flat_map(|train| {
            let datagrams = train.bytes.chunks(train.stride.max(1));
            datagrams.map(move |bytes| Datagram { from: train.from, bytes })
        })
    }

    pub(crate) fn trains(&self) -> impl Iterator<Item = Train<'_>> {
        let received = self.metas.iter().zip(self.storage.chunks_exact(TRAIN_BYTES)).take(self.received);
        received.map(|(meta, buffer)| Train {
            from: normalize(meta.addr),
            local_ip: meta.dst_ip,
            stride: meta.stride,
            bytes: buffer.get(..meta.len).unwrap_or(buffer),
        })
    }

    pub(crate) fn fill(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.received = 0;
        let mut chunks = self.storage.chunks_exact_mut(TRAIN_BYTES);
        let mut buffers: [IoSliceMut<'_>; TRAINS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.received = receive(&mut buffers, &mut self.metas)?;
        Ok(())
    }
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch").field("trains", &self.received).finish_non_exhaustive()
    }
}
