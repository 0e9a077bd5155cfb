//! Packets of the programs at both ends.

use std::net::{IpAddr, SocketAddr};

use vmsgate_tests::packets::{TCP, ip};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// A TCP segment.
pub(crate) fn tcp(
    from: SocketAddr,
    to: SocketAddr,
    flags: u8,
    (sequence, acknowledgement): (u32, u32),
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledgement.to_be_bytes());
    segment.extend([5 << 4, flags, 0xfa, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    ip(from.ip(), to.ip(), TCP, segment, 16)
}

/// An echo request or reply.
pub(crate) fn echo(from: IpAddr, to: IpAddr, kind: u8, identifier: u16, number: u16) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend(number.to_be_bytes());
    ip(from, to, 1, message, 2)
}
