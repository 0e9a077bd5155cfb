//! Packets and trains as they look on the wire, and in front of the kernel's TUN queue.

use std::io::Write;

use vmsgate_netio::{Frame, Sum};
use vmsgate_tunnel::sink::PacketTrain;

use crate::world::{CLIENT, CLIENT_PORT, SERVER, VIDEO};

pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;
/// Packets per train in the cases that have one: what fits 64 KiB with room to spare.
pub(crate) const TRAIN: usize = 44;
const HEADERS: usize = 40;
const VIRTIO_BYTES: usize = 10;

/// Who sends.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Up,
    Down,
}

/// One packet of the flow between client and server, complete with its checksums.
pub(crate) fn tcp_packet(way: Way, flags: u8, sequence: u32, payload: usize) -> Vec<u8> {
    let mut packet = headers(way, flags, sequence, HEADERS + payload);
    packet.resize(HEADERS + payload, 0xa5);
    let sum = pseudo_header(&packet).plus(packet.get(20..).unwrap_or_default());
    packet.splice(36..38, sum.complement());
    packet
}

/// A train of [`TRAIN`] packets from the server, with the virtio header that the kernel puts in front.
pub(crate) fn train(payload: usize) -> Vec<u8> {
    const NEEDS_CHECKSUM: u8 = 1;
    const TCP_V4: u8 = 1;
    let mut packet = headers(Way::Down, ACK, 1, HEADERS + TRAIN * payload);
    packet.resize(HEADERS + TRAIN * payload, 0xa5);
    let sum = pseudo_header(&packet).folded();
    packet.splice(36..38, sum);
    let [size_low, size_high] = (payload as u16).to_ne_bytes();
    let [header_low, header_high] = (HEADERS as u16).to_ne_bytes();
    let [start_low, start_high] = 20_u16.to_ne_bytes();
    let [offset_low, offset_high] = 16_u16.to_ne_bytes();
    let mut bytes = vec![NEEDS_CHECKSUM, TCP_V4, header_low, header_high, size_low, size_high];
    bytes.extend([start_low, start_high, offset_low, offset_high]);
    debug_assert_eq!(bytes.len(), VIRTIO_BYTES);
    bytes.extend(packet);
    bytes
}

/// A packet that came alone.
pub(crate) struct Single {
    bytes: Vec<u8>,
    len: usize,
    given: bool,
}

impl Single {
    pub(crate) fn new(mut bytes: Vec<u8>) -> Single {
        let len = bytes.len();
        bytes.extend([0; 15]);
        Single { bytes, len, given: false }
    }
}

impl PacketTrain for Single {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn packets(&self) -> usize {
        1
    }

    fn next_packet(&mut self) -> Option<(&mut [u8], usize)> {
        let first = !std::mem::replace(&mut self.given, true);
        first.then_some((self.bytes.as_mut_slice(), self.len))
    }
}

/// What was read from the kernel.
pub(crate) struct Read(pub(crate) Frame);

impl PacketTrain for Read {
    fn bytes(&self) -> &[u8] {
        self.0.packet()
    }

    fn packets(&self) -> usize {
        self.0.segments()
    }

    fn next_packet(&mut self) -> Option<(&mut [u8], usize)> {
        self.0.next_segment().map(|segment| (segment.buffer, segment.len))
    }
}

/// A kernel that takes everything.
pub(crate) struct Kernel;

impl Write for Kernel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(std::hint::black_box(bytes).len())
    }

    fn write_vectored(&mut self, slices: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
        Ok(std::hint::black_box(slices).iter().map(|slice| slice.len()).sum())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// IPv4 and TCP headers for a packet of `len` bytes; the TCP checksum is still zero.
fn headers(way: Way, flags: u8, sequence: u32, len: usize) -> Vec<u8> {
    let ends = [(CLIENT, CLIENT_PORT), (SERVER, VIDEO)];
    let [from, to] = match way {
        Way::Up => ends,
        Way::Down => [ends[1], ends[0]],
    };
    let mut packet = vec![0x45, 0];
    packet.extend((len as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(from.0.octets());
    packet.extend(to.0.octets());
    let sum = Sum::new().plus(&packet).complement();
    packet.splice(10..12, sum);
    packet.extend(from.1.to_be_bytes());
    packet.extend(to.1.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

fn pseudo_header(packet: &[u8]) -> Sum {
    let length = packet.len() - 20;
    Sum::new().plus(packet.get(12..20).unwrap_or_default()).plus_u16(6).plus_u16(length as u16)
}
