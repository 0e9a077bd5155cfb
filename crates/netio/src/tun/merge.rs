//! Which packets may travel as one train: those that the kernel, cutting it, would make again.
//!
//! The rules are those of the kernel's generic receive offload (`tcp_gro_receive`, `inet_gro_receive`): every header
//! equal but for what the cut computes (lengths, checksums, sequence number, IPv4 identification), all packets of one
//! size but for a shorter last one, and PSH only on the last. Whatever carries a signal (SYN, FIN, RST, URG, ECE, CWR)
//! travels alone.

use super::layout::{Layout, TCP, take};

/// The kernel's own limit for UDP trains (`UDP_MAX_SEGMENTS` before Linux 6.9), and enough for 64 KiB of full packets.
pub(super) const MAX_PACKETS: usize = 64;

/// A train is one IP packet.
const MAX_TRAIN_BYTES: usize = 65_535;

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// A packet that may be part of a train.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) layout: Layout,
    /// Payload bytes.
    pub(super) size: usize,
    /// Nothing may follow it.
    pub(super) last: bool,
    sequence: u32,
    /// IPv4 identification, where it matters: without DF the cut counts on from the first packet's.
    identification: Option<u16>,
}

/// A train that may still grow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growing {
    first: Candidate,
    /// Bytes of the train as one IP packet.
    len: usize,
    packets: usize,
}

impl Candidate {
    #[inline]
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let layout = Layout::of(packet)?;
        let size = packet.len() - layout.payload;
        let options = !layout.v6 && layout.transport != 20;
        if size == 0 || options {
            return None;
        }
        let mut candidate = Self { layout, size, last: false, sequence: 0, identification: None };
        if layout.protocol == TCP {
            let [flags] = take(packet, layout.transport + 13);
            if flags & !PSH != ACK {
                return None;
            }
            candidate.last = flags & PSH != 0;
            candidate.sequence = u32::from_be_bytes(take(packet, layout.transport + 4));
        } else if take(packet, layout.transport + 6) == [0, 0] {
            // A datagram without a checksum: the cut would give it one.
            return None;
        }
        if !layout.v6 {
            let [flags] = take(packet, 6);
            let dont_fragment = flags & 0x40 != 0;
            candidate.identification = (!dont_fragment).then(|| u16::from_be_bytes(take(packet, 4)));
        }
        Some(candidate)
    }
}

impl Growing {
    pub(super) const fn new(first: Candidate) -> Self {
        Self { first, len: first.layout.payload + first.size, packets: 1 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn packets(&self) -> usize {
        self.packets
    }

    pub(super) const fn first(&self) -> &Candidate {
        &self.first
    }

    /// Adds `next` if it continues the train that begins with the packet `head`. The caller sees to it that nothing
    /// follows a shorter packet or one that is [`Candidate::last`].
    #[inline]
    pub(super) fn add(&mut self, head: &[u8], next: &Candidate, packet: &[u8]) -> bool {
        let first = &self.first;
        let payload = self.len - first.layout.payload;
        let continues = next.layout == first.layout
            && next.size <= first.size
            && self.packets < MAX_PACKETS
            && self.len + next.size <= MAX_TRAIN_BYTES
            && (next.layout.protocol != TCP || next.sequence == first.sequence.wrapping_add(payload as u32))
            && next.identification == first.identification.map(|id| id.wrapping_add(self.packets as u16))
            && same_headers(&first.layout, head, packet);
        if continues {
            self.len += next.size;
            self.packets += 1;
        }
        continues
    }
}

/// Compares all header fields that a train has only once.
fn same_headers(layout: &Layout, a: &[u8], b: &[u8]) -> bool {
    let same = |from: usize, to: usize| a.get(from..to) == b.get(from..to);
    let t = layout.transport;
    let ip = if layout.v6 {
        same_chunk::<4>(a, b, 0) && same_chunk::<34>(a, b, 6)
    } else {
        // Version, length and TOS; flags, fragment offset, TTL and protocol; addresses.
        same_chunk::<2>(a, b, 0) && same_chunk::<4>(a, b, 6) && same_chunk::<8>(a, b, 12)
    };
    ip && same_chunk::<4>(a, b, t)
        && (layout.protocol != TCP
            // Acknowledgement and header length; window; urgent pointer; options.
            || (same_chunk::<5>(a, b, t + 8)
                && same_chunk::<2>(a, b, t + 14)
                && same_chunk::<2>(a, b, t + 18)
                && same(t + 20, layout.payload)))
}

#[inline]
fn same_chunk<const N: usize>(a: &[u8], b: &[u8], at: usize) -> bool {
    take::<N>(a, at) == take::<N>(b, at)
}
