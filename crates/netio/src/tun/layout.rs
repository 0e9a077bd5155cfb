//! Where the headers of a TCP or UDP packet are, and the two things that every packet cut from a train, and every train
//! made of packets, needs anew: its lengths and its checksums.

use super::checksum::Sum;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// The longest headers: IPv4 with options and TCP with options.
pub(super) const MAX_HEADER_BYTES: usize = 60 + 60;

/// A whole TCP or UDP packet, its lengths checked against its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) v6: bool,
    /// [`TCP`] or [`UDP`].
    pub(super) protocol: u8,
    /// Where the TCP or UDP header begins.
    pub(super) transport: usize,
    /// Where the payload begins.
    pub(super) payload: usize,
}

impl Layout {
    /// `None` for what is neither TCP nor UDP, for fragments, IPv6 extension headers and lengths that do not agree.
    #[inline]
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let (v6, protocol, transport) = match packet.first()? >> 4 {
            4 => {
                let header = packet.first_chunk::<20>()?;
                let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
                let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
                if length != packet.len() || fragment {
                    return None;
                }
                (false, header[9], usize::from(header[0] & 0x0f) * 4)
            }
            6 => {
                let header = packet.first_chunk::<40>()?;
                if usize::from(u16::from_be_bytes([header[4], header[5]])) + 40 != packet.len() {
                    return None;
                }
                (true, header[6], 40)
            }
            _ => return None,
        };
        if transport < 20 {
            return None;
        }
        let body = packet.get(transport..)?;
        let header = match protocol {
            TCP => usize::from(body.first_chunk::<20>()?[12] >> 4) * 4,
            UDP => {
                let header = body.first_chunk::<8>()?;
                if usize::from(u16::from_be_bytes([header[4], header[5]])) != body.len() {
                    return None;
                }
                8
            }
            _ => return None,
        };
        if (protocol == TCP && header < 20) || header > body.len() {
            return None;
        }
        Some(Self { v6, protocol, transport, payload: transport + header })
    }

    /// Offset of the checksum in the TCP or UDP header.
    pub(super) const fn checksum_offset(&self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }

    /// The sum of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) but for its length.
    pub(super) fn addresses(&self, packet: &[u8]) -> Sum {
        let at = if self.v6 { 8..40 } else { 12..20 };
        Sum::new().plus(packet.get(at).unwrap_or_default()).plus(&[0, self.protocol])
    }

    /// Completes the sum of the pseudo header with the length of a transport header and payload.
    pub(super) const fn pseudo_header(addresses: Sum, transport_len: usize) -> Sum {
        addresses.plus_u16(transport_len as u16)
    }

    /// Writes the lengths that say how long the packet is that begins with `packet`, and the IPv4 header's checksum.
    pub(super) fn write_lengths(&self, packet: &mut [u8], len: usize) {
        let transport_len = ((len - self.transport.min(len)) as u16).to_be_bytes();
        if self.v6 {
            put(packet, 4, transport_len);
        } else {
            put(packet, 2, (len as u16).to_be_bytes());
            put(packet, 10, [0, 0]);
            let sum = Sum::new().plus(packet.get(..self.transport).unwrap_or_default());
            put(packet, 10, sum.complement());
        }
        if self.protocol == UDP {
            put(packet, self.transport + 4, transport_len);
        }
    }
}

/// Writes `bytes` at `at`, where headers of a known [`Layout`] have room for them.
#[inline]
pub(super) fn put<const N: usize>(packet: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(field) = packet.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = bytes;
    }
}

/// Reads what [`put`] writes; zero where there is nothing.
#[inline]
pub(super) fn take<const N: usize>(packet: &[u8], at: usize) -> [u8; N] {
    packet.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// A checksum of zero is sent as its other representation: in UDP zero means "none" (RFC 768).
pub(super) const fn never_zero(checksum: [u8; 2]) -> [u8; 2] {
    if matches!(checksum, [0, 0]) { [0xff, 0xff] } else { checksum }
}
