//! The receiving half of TCP as the wire shows it: what was promised to the peer, and what it may rely on.
//!
//! smoltcp keeps its sequence numbers to itself. Following what it sends gives them back, which is enough to correct
//! two of its habits:
//!
//! 1. **A FIN kept without its data.** When a segment ends beyond the receive window smoltcp trims the data but takes
//!    the FIN: the stream would end short and look complete. [`Receiver::fin_is_premature`] finds these.
//! 2. **The window of a SYN is never scaled**, but smoltcp takes its own for a scaled one until it sends again, and
//!    would accept data beyond its buffer. [`Receiver::exceeds_syn_window`] finds such segments.

use super::segment::{Segment, before};

#[derive(Debug, Default)]
pub(super) struct Receiver {
    window_shift: u8,
    /// Sequence number of the next byte that the application will read.
    unread: u32,
    advertised: Option<Advertised>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Advertised {
    ack: u32,
    window: u16,
    /// Where the peer must stop.
    edge: u32,
    by_syn: bool,
}

impl Receiver {
    /// For a receive buffer of `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        let bits = usize::BITS - capacity.leading_zeros();
        Self { window_shift: bits.saturating_sub(16) as u8, ..Self::default() }
    }

    /// The peer's SYN: without its window scale option neither side scales.
    pub(super) fn peer_syn(&mut self, sequence: u32, scales: bool) {
        self.unread = sequence.wrapping_add(1);
        if !scales {
            self.window_shift = 0;
        }
    }

    /// The application has read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.unread = self.unread.wrapping_add(bytes as u32);
    }

    /// The next sequence number expected, when `queued` bytes wait to be read.
    pub(super) fn next(&self, queued: usize, peer_closed: bool) -> u32 {
        self.unread.wrapping_add(queued as u32).wrapping_add(peer_closed.into())
    }

    /// Notes a segment that was sent; answers whether it tells the peer something new.
    pub(super) fn sent(&mut self, segment: &Segment) -> bool {
        let Some(ack) = segment.ack else { return false };
        let shift = if segment.syn { 0 } else { self.window_shift };
        let edge = ack.wrapping_add(u32::from(segment.window) << shift);
        let advertised = Some(Advertised { ack, window: segment.window, edge, by_syn: segment.syn });
        let news = advertised != self.advertised;
        self.advertised = advertised;
        news
    }

    pub(super) fn fin_is_premature(&self, segment: &Segment) -> bool {
        segment.fin
            && segment.payload_len > 0
            && self.advertised.is_some_and(|advertised| before(advertised.edge, segment.data_end()))
    }

    pub(super) fn exceeds_syn_window(&self, segment: &Segment) -> bool {
        segment.payload_len > 0
            && self.advertised.is_some_and(|a| a.by_syn && before(a.edge, segment.data_end()))
    }
}
