//! Packets that the gateway itself answers with: TCP RST, ICMP errors, UDP datagrams and echo replies.
//!
//! Each writes one whole IP packet into `out` and returns its length, or nothing when `out` is too short or the
//! two addresses are of different families.

use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr, checksum,
};

use crate::packet::{Packet, Transport};

const HOP_LIMIT: u8 = 64;

/// Why a packet is answered with an ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// RFC 1812 5.2.7.1 code 13 and RFC 4443 3.1 code 1: policy says no.
    AdministrativelyProhibited,
    /// No process has the port.
    Port,
    /// The server does not answer.
    Host,
}

impl Unreachable {
    fn v4(self) -> (u8, u8) {
        match self {
            Unreachable::AdministrativelyProhibited => (3, 13),
            Unreachable::Port => (3, 3),
            Unreachable::Host => (3, 1),
        }
    }

    fn v6(self) -> (u8, u8) {
        match self {
            Unreachable::AdministrativelyProhibited => (1, 1),
            Unreachable::Port => (1, 4),
            Unreachable::Host => (1, 3),
        }
    }
}

/// A RST that answers `packet`, as RFC 9293 section 3.5.2 wants it. Never answers a RST.
pub fn reset(packet: &Packet<'_>, out: &mut [u8]) -> Option<usize> {
    let Transport::Tcp { source_port, destination_port, flags, sequence, acknowledgement, payload_len } =
        packet.transport
    else {
        return None;
    };
    if flags.rst {
        return None;
    }
    let (sequence_number, ack_number) = if flags.ack {
        (acknowledgement, None)
    } else {
        let length = payload_len + u32::from(flags.syn) + u32::from(flags.fin);
        (0, Some(TcpSeqNumber(sequence.wrapping_add(length) as i32)))
    };
    let from = SocketAddr::new(packet.destination, destination_port);
    write_reset(from, SocketAddr::new(packet.source, source_port), sequence_number, ack_number, out)
}

/// A RST in the middle of a connection, from `source`, at the sequence number that `destination` expects next.
pub fn reset_at(source: SocketAddr, destination: SocketAddr, sequence: u32, out: &mut [u8]) -> Option<usize> {
    write_reset(source, destination, sequence, None, out)
}

fn write_reset(
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    ack_number: Option<TcpSeqNumber>,
    out: &mut [u8],
) -> Option<usize> {
    let repr = TcpRepr {
        src_port: from.port(),
        dst_port: to.port(),
        control: TcpControl::Rst,
        seq_number: TcpSeqNumber(sequence as i32),
        ack_number,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let (source, destination) = (IpAddress::from(from.ip()), IpAddress::from(to.ip()));
    write(from.ip(), to.ip(), IpProtocol::Tcp, repr.buffer_len(), out, |body| {
        let mut segment = TcpPacket::new_unchecked(body);
        repr.emit(&mut segment, &source, &destination, &ChecksumCapabilities::default());
    })
}

/// An ICMP error from `packet`'s destination about `packet`, quoting as much as RFC 1812 and RFC 4443 allow.
/// Never answers an ICMP error (RFC 1122 section 3.2.2).
pub fn unreachable(packet: &Packet<'_>, why: Unreachable, out: &mut [u8]) -> Option<usize> {
    if matches!(packet.transport, Transport::IcmpError { .. }) {
        return None;
    }
    let v4 = packet.source.is_ipv4();
    // Whole error at most 576 bytes in IPv4 and 1280 in IPv6, headers included.
    let quoted = packet.bytes();
    let quoted = &quoted[..quoted.len().min(if v4 { 548 } else { 1232 })];
    let ((kind, code), protocol) =
        if v4 { (why.v4(), IpProtocol::Icmp) } else { (why.v6(), IpProtocol::Icmpv6) };
    icmp(packet.destination, packet.source, protocol, [kind, code, 0, 0, 0, 0, 0, 0], quoted, out)
}

/// An echo reply that answers the request `packet`.
pub fn echo(packet: &Packet<'_>, out: &mut [u8]) -> Option<usize> {
    let request = packet.transport_bytes();
    let (&[_, _, _, _, i0, i1, s0, s1], payload) = request.split_first_chunk()?;
    let numbers = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([s0, s1]));
    echo_reply(packet.destination, packet.source, numbers, payload, out)
}

/// An echo reply with an identifier and a sequence number.
pub fn echo_reply(
    source: IpAddr,
    destination: IpAddr,
    (identifier, sequence): (u16, u16),
    payload: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let (kind, protocol) = if source.is_ipv4() { (0, IpProtocol::Icmp) } else { (129, IpProtocol::Icmpv6) };
    let ([i0, i1], [s0, s1]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
    icmp(source, destination, protocol, [kind, 0, 0, 0, i0, i1, s0, s1], payload, out)
}

/// A UDP datagram.
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8], out: &mut [u8]) -> Option<usize> {
    let repr = UdpRepr { src_port: source.port(), dst_port: destination.port() };
    let length = repr.header_len() + payload.len();
    let (src, dst) = (IpAddress::from(source.ip()), IpAddress::from(destination.ip()));
    write(source.ip(), destination.ip(), IpProtocol::Udp, length, out, |body| {
        let mut datagram = UdpPacket::new_unchecked(body);
        let copy = |buffer: &mut [u8]| buffer.copy_from_slice(payload);
        repr.emit(&mut datagram, &src, &dst, payload.len(), copy, &ChecksumCapabilities::default());
    })
}

fn icmp(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    header: [u8; 8],
    payload: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    write(source, destination, protocol, 8 + payload.len(), out, |body| {
        let length = body.len() as u32;
        let (head, tail) = body.split_at_mut(8);
        head.copy_from_slice(&header);
        tail.copy_from_slice(payload);
        let pseudo = match (source, destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                checksum::pseudo_header_v6(&source, &destination, protocol, length)
            }
            _ => 0,
        };
        let sum = !checksum::combine(&[pseudo, checksum::data(body)]);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
    })
}

/// Writes the IP header and lets `body` fill the payload.
fn write(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    length: usize,
    out: &mut [u8],
    body: impl FnOnce(&mut [u8]),
) -> Option<usize> {
    if source.is_ipv4() != destination.is_ipv4() || length > usize::from(u16::MAX) - 40 {
        return None;
    }
    let repr = IpRepr::new(source.into(), destination.into(), protocol, length, HOP_LIMIT);
    let (header, total) = (repr.header_len(), repr.buffer_len());
    let out = out.get_mut(..total)?;
    repr.emit(&mut out[..header], &ChecksumCapabilities::default());
    body(&mut out[header..]);
    Some(total)
}
