//! `virtio_net_hdr`: what the kernel and we tell each other about the packet behind it (`linux/virtio_net.h`).

use super::layout::{Layout, TCP};

/// Size of the header; `IFF_VNET_HDR` puts one before every packet.
pub(super) const VIRTIO_BYTES: usize = 10;

/// The checksum field holds only the sum of the pseudo header.
pub(super) const NEEDS_CHECKSUM: u8 = 1;

/// What kind of train this is.
pub(super) const GSO_NONE: u8 = 0;
pub(super) const GSO_TCP_V4: u8 = 1;
pub(super) const GSO_TCP_V6: u8 = 4;
pub(super) const GSO_UDP: u8 = 5;
/// Beside a TCP kind: the train's first packet has CWR set.
pub(super) const GSO_ECN: u8 = 0x80;

/// The kind of a train of packets that are laid out so.
pub(super) const fn gso_type_of(layout: &Layout) -> u8 {
    match (layout.protocol, layout.v6) {
        (TCP, false) => GSO_TCP_V4,
        (TCP, true) => GSO_TCP_V6,
        _ => GSO_UDP,
    }
}

/// In the machine's byte order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct VirtioHeader {
    pub(super) flags: u8,
    pub(super) gso_type: u8,
    /// A hint how much to keep in one piece. Not to be relied upon: the kernel gives what lies contiguous.
    pub(super) header_len: u16,
    /// Payload bytes per packet of the train.
    pub(super) gso_size: u16,
    pub(super) checksum_start: u16,
    pub(super) checksum_offset: u16,
}

impl VirtioHeader {
    pub(super) const fn from_bytes(bytes: [u8; VIRTIO_BYTES]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = bytes;
        Self {
            flags,
            gso_type,
            header_len: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            checksum_start: u16::from_ne_bytes([e, f]),
            checksum_offset: u16::from_ne_bytes([g, h]),
        }
    }

    pub(super) const fn to_bytes(self) -> [u8; VIRTIO_BYTES] {
        let [a, b] = self.header_len.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.checksum_start.to_ne_bytes();
        let [g, h] = self.checksum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }
}
