//! Echo requests to the gateway's own tunnel address: a question that demands an answer.
//!
//! Data that only arrives is acknowledged by nobody we could miss: when the gateway restarts under a video stream, the
//! stream just stops, and WireGuard's own timers see nothing wrong for minutes. An echo every few seconds finds out,
//! and measures the round trip.

use std::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, IpRepr,
};
use vmsgate_tunnel::packet::Packet;

const HOP_LIMIT: u8 = 64;
/// Of an echo, in both families.
const ICMP_HEADER: usize = 8;

/// The largest packet that is asked with, which is the largest MTU that a profile may have.
const MAX_BYTES: usize = 9000;

/// Writes an echo request of at least `bytes` bytes into `packet` and returns its length; nothing if it does not fit or
/// the families differ.
pub(super) fn write_request(
    (source, destination): (IpAddr, IpAddr),
    (ident, seq_no): (u16, u16),
    bytes: usize,
    packet: &mut [u8],
) -> Option<usize> {
    static PAYLOAD: [u8; MAX_BYTES] = [0; MAX_BYTES];
    let checksums = ChecksumCapabilities::default();
    let headers = ICMP_HEADER + if destination.is_ipv4() { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN };
    let data = PAYLOAD.get(..bytes.saturating_sub(headers))?;
    let (protocol, length) = match destination {
        IpAddr::V4(_) => (IpProtocol::Icmp, Icmpv4Repr::EchoRequest { ident, seq_no, data }.buffer_len()),
        IpAddr::V6(_) => (IpProtocol::Icmpv6, Icmpv6Repr::EchoRequest { ident, seq_no, data }.buffer_len()),
    };
    if source.is_ipv4() != destination.is_ipv4() {
        return None;
    }
    let ip = IpRepr::new(source.into(), destination.into(), protocol, length, HOP_LIMIT);
    let total = ip.buffer_len();
    let (header, body) = packet.get_mut(..total)?.split_at_mut_checked(ip.header_len())?;
    ip.emit(header, &checksums);
    match (source, destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut message = Icmpv6Packet::new_unchecked(body);
            Icmpv6Repr::EchoRequest { ident, seq_no, data }.emit(
                &source,
                &destination,
                &mut message,
                &checksums,
            );
        }
        _ => {
            let mut message = Icmpv4Packet::new_unchecked(body);
            Icmpv4Repr::EchoRequest { ident, seq_no, data }.emit(&mut message, &checksums);
        }
    }
    Some(total)
}

/// The sequence number of an echo reply.
pub(super) fn sequence_of(reply: &Packet<'_>) -> Option<u16> {
    let bytes = reply.transport_bytes().get(6..8)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use vmsgate_tunnel::packet::Transport;
    use vmsgate_tunnel::reply;

    use super::*;

    #[test]
    fn a_request_is_sound_and_its_reply_is_recognised() {
        for (source, destination) in [("10.99.0.2", "10.99.0.1"), ("fd00:99::2", "fd00:99::1")] {
            let ends = (source.parse().unwrap(), destination.parse().unwrap());
            let (mut request, mut answer) = ([0; 1420], [0; 1420]);
            for bytes in [0, 576, 1419] {
                let len = write_request(ends, (7, 4711), bytes, &mut request);
                assert_eq!(len, Some(bytes.max(if destination.contains(':') { 48 } else { 28 })));
            }
            let len = write_request(ends, (7, 4711), 1420, &mut request).unwrap();
            let packet = Packet::parse(&request[..len]).unwrap();
            assert_eq!(packet.transport, Transport::EchoRequest { identifier: 7 });

            let len = reply::echo(&packet, &mut answer).unwrap();
            let answer = Packet::parse(&answer[..len]).unwrap();
            assert_eq!(answer.transport, Transport::EchoReply { identifier: 7 });
            assert_eq!(sequence_of(&answer), Some(4711));
        }
    }

    #[test]
    fn what_cannot_be_written_is_not() {
        let (v4, v6) = ("10.99.0.2".parse().unwrap(), "fd00:99::1".parse().unwrap());
        assert_eq!(write_request((v4, v6), (7, 1), 0, &mut [0; 128]), None);
        assert_eq!(write_request((v4, v4), (7, 1), 0, &mut [0; 20]), None);
        assert_eq!(write_request((v4, v4), (7, 1), usize::MAX, &mut [0; 128]), None);
    }
}
