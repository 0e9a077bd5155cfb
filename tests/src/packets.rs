//! IP packets made by hand: correct ones, to be broken by the test that sends them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// IP protocol numbers.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;

/// A correct TCP SYN.
#[must_use]
pub fn syn(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    segment((from, to), (0x1234_5678, 0), 0x02, b"")
}

/// A correct TCP segment with its sequence and acknowledgement numbers.
#[must_use]
pub fn segment(
    (from, to): (SocketAddr, SocketAddr),
    (sequence, acknowledged): (u32, u32),
    flags: u8,
    content: &[u8],
) -> Vec<u8> {
    let mut segment = ports(from, to);
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([5 << 4, flags]); // data offset
    segment.extend(64_000_u16.to_be_bytes()); // window
    segment.extend([0; 4]); // checksum, urgent pointer
    segment.extend(content);
    ip(from.ip(), to.ip(), TCP, segment, 16)
}

/// A correct UDP datagram.
#[must_use]
pub fn datagram(from: SocketAddr, to: SocketAddr, content: &[u8]) -> Vec<u8> {
    let mut segment = ports(from, to);
    segment.extend(length16(content.len() + 8));
    segment.extend([0; 2]); // checksum
    segment.extend(content);
    ip(from.ip(), to.ip(), UDP, segment, 6)
}

/// A correct ICMP or ICMPv6 echo request.
#[must_use]
pub fn echo(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let (kind, protocol) = if from.is_ipv4() { (8, 1) } else { (128, 58) };
    let message = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1, b'v', b'm', b's', b'g'];
    ip(from, to, protocol, message, 2)
}

/// A correct IP packet around `payload`, whose checksum field is at `checksum_at`.
#[must_use]
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, mut payload: Vec<u8>, checksum_at: usize) -> Vec<u8> {
    let mut pseudo = Vec::new();
    if protocol != 1 {
        pseudo.extend(octets(from));
        pseudo.extend(octets(to));
        pseudo.extend([0, protocol]);
        pseudo.extend(length16(payload.len()));
    }
    let sum = checksum(&[&pseudo[..], &payload[..]].concat());
    put(&mut payload, checksum_at, sum);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, protocol, &[], &payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, protocol, &payload),
        _ => Vec::new(),
    }
}

/// An IPv4 packet with a correct header checksum. The length of `options` is a multiple of 4.
#[must_use]
pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_words = 5 + options.len() / 4;
    let mut packet = vec![0x40 | u8::try_from(header_words).unwrap_or(15), 0];
    packet.extend(length16(header_words * 4 + payload.len()));
    packet.extend([0x56, 0x78, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(options);
    fix_header(&mut packet);
    packet.extend(payload);
    packet
}

/// An IPv6 packet; `next` is the first extension header or the protocol.
#[must_use]
pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length16(payload.len()));
    packet.extend([next, 64]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// Computes the IPv4 header checksum anew, after a field was changed.
pub fn fix_header(packet: &mut [u8]) {
    put(packet, 10, 0);
    let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    let sum = checksum(packet.get(..header).unwrap_or(packet));
    put(packet, 10, sum);
}

/// Writes a 16-bit field.
pub fn put(packet: &mut [u8], at: usize, value: u16) {
    if let Some(field) = packet.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

fn ports(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    [from.port().to_be_bytes(), to.port().to_be_bytes()].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn length16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| {
        u32::from(pair.first().copied().unwrap_or(0)) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))
    };
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
