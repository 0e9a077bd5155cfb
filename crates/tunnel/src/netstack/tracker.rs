//! What the wire has shown of a connection's sequence space, seen from outside smoltcp.
//!
//! smoltcp keeps its sequence numbers to itself. Following both directions of the packets gives them back, which is
//! enough to correct three of its habits:
//!
//! 1. **Growth per acknowledgement.** Its congestion window grows by one segment per acknowledgement, however many
//!    segments that covers. Peers acknowledge whole batches, so growth would be a fraction of what RFC 9438 intends.
//!    [`Tracker::ack_steps`] says how to take a long acknowledgement in segment-sized steps (RFC 3465).
//! 2. **A FIN kept without its data.** When a segment ends beyond the receive window it trims the data but keeps the
//!    FIN: the stream would end short and look complete. [`Tracker::fin_is_premature`] finds these.
//! 3. **The window of a SYN is never scaled**, but it takes its own for a scaled one until it sends again, and would
//!    accept data beyond its buffer. [`Tracker::exceeds_syn_window`] finds such segments.

use super::segment::{Segment, before};

/// A long acknowledgement is taken in at most this many steps: the rest of a window's growth is then per step.
const MAX_ACK_STEPS: u32 = 128;

#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// First unacknowledged and highest sent sequence number; `None` before our SYN.
    sent: Option<Sent>,
    /// Where the peer must stop, as last advertised and as smoltcp reads it.
    advertised: Option<Advertised>,
    window_shift: u8,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    unacked: u32,
    max: u32,
}

#[derive(Debug, Clone, Copy)]
struct Advertised {
    edge: u32,
    by_syn: bool,
}

impl Tracker {
    /// A tracker for a connection whose receive buffer has `receive_capacity` bytes.
    pub(super) fn new(receive_capacity: usize) -> Self {
        let bits = usize::BITS - receive_capacity.leading_zeros();
        Self { window_shift: bits.saturating_sub(16) as u8, ..Self::default() }
    }

    /// Notes a segment that smoltcp sent.
    pub(super) fn sent(&mut self, segment: &Segment) {
        if segment.rst {
            return;
        }
        let sent = self.sent.get_or_insert(Sent { unacked: segment.seq, max: segment.seq });
        if before(sent.max, segment.end()) {
            sent.max = segment.end();
        }
        if let Some(ack) = segment.ack {
            let shift = if segment.syn { 0 } else { self.window_shift };
            let edge = ack.wrapping_add(u32::from(segment.window) << shift);
            self.advertised = Some(Advertised { edge, by_syn: segment.syn });
        }
    }

    /// Notes the peer's SYN: without its window scale option neither side scales.
    pub(super) fn peer_syn(&mut self, scales: bool) {
        if !scales {
            self.window_shift = 0;
        }
    }

    /// Notes an acknowledgement that was handed to smoltcp.
    pub(super) fn acknowledged(&mut self, ack: u32) {
        if let Some(sent) = &mut self.sent
            && before(sent.unacked, ack)
            && !before(sent.max, ack)
        {
            sent.unacked = ack;
        }
    }

    /// The intermediate acknowledgements to take before `segment`'s own, one per `mss` bytes.
    pub(super) fn ack_steps(&self, segment: &Segment, mss: u32) -> impl Iterator<Item = u32> + use<> {
        let (from, span) = match (self.sent, segment.ack) {
            (Some(sent), Some(ack)) if !segment.syn && !segment.rst && !before(sent.max, ack) => {
                let span = ack.wrapping_sub(sent.unacked);
                (sent.unacked, if before(ack, sent.unacked) { 0 } else { span })
            }
            _ => (0, 0),
        };
        let step = mss.max(span / MAX_ACK_STEPS).max(1);
        (1..).map_while(move |n: u32| {
            let offset = n.checked_mul(step)?;
            (offset < span).then(|| from.wrapping_add(offset))
        })
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
