//! The sending half of TCP as the wire shows it: how much may be on its way, and what must be sent again.
//!
//! smoltcp 0.14 can only repeat its first unacknowledged segment or everything, waits at least a second before it
//! does, starts with two segments and grows by one per acknowledgement. One lost packet on a path of 80 ms stops such
//! a sender for a second; a bottleneck's queue that overflows does so again and again. So its own congestion control is
//! switched off and this module decides, by two levers:
//!
//! - **The window that smoltcp is shown.** Acknowledgements are handed to it with a window that ends where the
//!   congestion window (BBR, [`super::bbr`]) does, or what may leave now ([`super::pacer`]), or the peer's own.
//! - **Which of its segments leave.** To repeat something, smoltcp is made to start over from the first
//!   unacknowledged byte, by letting its clock pass its retransmission timeout; of what it then sends again only the
//!   segments that are lost ([`super::scoreboard`]) are let through.
//!
//! What is left to smoltcp: the handshake, sequence numbers, the send buffer, closing, and probing a closed window.

use std::time::Instant;

use super::bbr::{Ack, Bbr};
use super::delivery::DeliveryRate;
use super::pacer::Pacer;
use super::rtt::RoundTrip;
use super::scoreboard::{Delivered, Scoreboard};
use super::segment::{Segment, SynOptions, before};

/// Duplicate acknowledgements that mean a loss, for peers without selective acknowledgement (RFC 5681).
const DUPLICATES: u32 = 3;

/// Segments on their way at most, so that a peer that asks for tiny ones does not make each acknowledgement costly.
/// The largest window has 3,040 segments of 1,380 bytes.
const MAX_SEGMENTS: u32 = 8192;

/// Created when the handshake has shown both sides' options.
#[derive(Debug)]
pub(super) struct Sender {
    mss: u32,
    /// The peer's window scale.
    shift: u8,
    selective: bool,
    /// The first unacknowledged sequence number.
    unacked: u32,
    /// The highest that was sent.
    max: u32,
    /// The next that smoltcp will send; behind `max` when it has started over.
    cursor: u32,
    /// End of the last byte that probed a closed window.
    probed: Option<u32>,
    /// As the peer advertised it.
    peer_window: u32,
    board: Scoreboard,
    bbr: Bbr,
    delivery: DeliveryRate,
    pacer: Pacer,
    round_trip: RoundTrip,
    /// An episode of loss ends when everything that had been sent at its start is acknowledged.
    recovers_until: Option<u32>,
    timeout_at: Option<Instant>,
    look_again_at: Option<Instant>,
    duplicates: u32,
    /// Bytes found lost since the last acknowledgement.
    newly_lost: u32,
    /// More was written than has been sent.
    has_more: bool,
}

/// What to do with a segment that smoltcp sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    /// The peer has it, or it is still on its way, or must wait.
    Hold,
}

impl Sender {
    /// `first` is the sequence number of our first byte, after the SYN.
    pub(super) fn new(first: u32, local_mss: u32, peer: SynOptions, peer_window: u32, now: Instant) -> Self {
        let mss = local_mss.min(u32::from(peer.mss.unwrap_or(536)).max(48));
        Self {
            mss,
            shift: peer.window_scale.unwrap_or(0).min(14),
            selective: peer.selective_ack,
            unacked: first,
            max: first,
            cursor: first,
            probed: None,
            peer_window,
            board: Scoreboard::default(),
            bbr: Bbr::new(mss),
            delivery: DeliveryRate::new(now),
            pacer: Pacer::new(mss, now),
            round_trip: RoundTrip::default(),
            recovers_until: None,
            timeout_at: None,
            look_again_at: None,
            duplicates: 0,
            newly_lost: 0,
            has_more: false,
        }
    }

    /// The highest sequence number sent.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    pub(super) fn unacked(&self) -> u32 {
        self.unacked
    }

    /// Takes an acknowledgement in; answers whether it acknowledged something new.
    pub(super) fn acknowledged(
        &mut self,
        segment: &Segment,
        selective: impl Iterator<Item = (u32, u32)>,
        now: Instant,
    ) -> bool {
        let Some(ack) = segment.ack else { return false };
        if self.probed == Some(ack) && ack != self.max {
            // The peer took the byte of a probe after all.
            self.max = ack;
        }
        if before(self.max, ack) || before(ack, self.unacked) {
            return false;
        }
        // The window of a SYN is never scaled.
        let window = u32::from(segment.window) << if segment.syn { 0 } else { self.shift };
        let advanced = ack != self.unacked;
        let repeats = !advanced && segment.is_bare() && window == self.peer_window && !self.board.is_empty();
        self.peer_window = window;
        self.unacked = ack;
        if before(self.cursor, ack) {
            self.cursor = ack;
        }

        let mut delivered = Delivered::default();
        self.board.acknowledge(ack, now, &mut delivered);
        self.board.acknowledge_selectively(selective, now, &mut delivered);
        if let Some(sample) = delivered.round_trip {
            self.round_trip.sample(sample);
        }
        if delivered.bytes > 0 {
            self.round_trip.answered();
            self.timeout_at = (!self.board.is_empty()).then(|| now + self.round_trip.timeout());
        }

        if self.recovers_until.is_some_and(|until| !before(ack, until)) {
            self.recovers_until = None;
        }
        let partial = advanced && self.recovers_until.is_some();
        self.duplicates = if repeats { self.duplicates + 1 } else { 0 };
        self.look_for_losses(now);
        if !self.selective && (self.duplicates == DUPLICATES || partial) && self.board.lose_first() {
            self.newly_lost += self.mss;
        }
        let least = self.round_trip.least();
        self.bbr.on_ack(&Ack {
            sample: self.delivery.acknowledged(delivered.bytes, delivered.newest, least, now),
            round_trip: delivered.round_trip,
            delivered: self.delivery.delivered(),
            acked: delivered.bytes,
            lost: std::mem::take(&mut self.newly_lost),
            in_flight: self.board.in_flight(),
            now,
        });
        self.pacer.advance(self.bbr.pacing_rate(), now);
        advanced
    }

    /// Judges a segment that smoltcp sends and that occupies sequence space.
    pub(super) fn judge(&mut self, segment: &Segment, now: Instant) -> Verdict {
        let (start, end) = (segment.seq, segment.end());
        if self.is_probe(segment) {
            self.probed = Some(end);
            return Verdict::Send;
        }
        self.cursor = end;
        let fresh = before(self.max, end);
        self.probed = None;
        if !fresh && (!self.board.is_lost(start, end) || self.allowance() == 0) {
            return Verdict::Hold;
        }
        if self.board.is_empty() {
            self.pacer.pause();
        }
        let sent = self.delivery.sent(self.board.is_empty(), now);
        self.board.resent(start, end, sent);
        if fresh {
            let start = if before(start, self.max) { self.max } else { start };
            self.board.sent(start, end, self.mss, sent);
            self.max = end;
        }
        self.pacer.spend(end.wrapping_sub(start));
        self.timeout_at.get_or_insert(now + self.round_trip.timeout());
        Verdict::Send
    }

    /// The window field to show to smoltcp instead of the peer's own, in a SYN or another segment.
    pub(super) fn shown_window(&self, syn: bool) -> u16 {
        let shift = if syn { 0 } else { self.shift };
        let field = |bytes: u32| u16::try_from(bytes >> shift).unwrap_or(u16::MAX);
        let field_up = |bytes: u32| u16::try_from(bytes.div_ceil(1 << shift)).unwrap_or(u16::MAX);

        let in_use = self.max.wrapping_sub(self.unacked);
        let allowance = self.allowance();
        // Whole segments of new data only: smoltcp would fill a smaller rest with a small one.
        let segments = allowance.saturating_sub(self.board.lost()) / self.mss;
        let fresh = segments.min(MAX_SEGMENTS.saturating_sub(self.board.len() as u32)) * self.mss;
        let wanted = if fresh > 0 && self.mss >> shift > 0 {
            field(in_use + fresh)
        } else if fresh > 0 {
            field_up(in_use + fresh)
        } else if allowance > 0 && self.board.lost() > 0 {
            let end = self.board.lost_up_to(allowance).unwrap_or(self.max);
            field_up(end.wrapping_sub(self.unacked))
        } else {
            field(in_use)
        };
        // A peer that takes back part of its window does not make smoltcp forget what is on its way, and only a
        // window that is really closed may look so: smoltcp would begin to probe it.
        let floor = u16::from(in_use > 0 || self.peer_window > 0);
        wanted.min(field(self.peer_window).max(field_up(in_use))).max(floor)
    }

    /// Whether smoltcp must start over from the first unacknowledged byte; the caller makes it.
    pub(super) fn start_over(&mut self) -> bool {
        let behind = self.board.first_lost().is_some_and(|lost| before(lost, self.cursor));
        if behind && self.allowance() > 0 {
            self.cursor = self.unacked;
            return true;
        }
        false
    }

    /// How much there is that is not acknowledged, sent or not.
    pub(super) fn written(&mut self, queued: usize) {
        self.has_more = queued > self.max.wrapping_sub(self.unacked) as usize;
        if !self.has_more && self.board.lost() == 0 && self.board.in_flight() < self.bbr.window() {
            self.delivery.limited_by_application(self.board.in_flight());
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let room = self.board.in_flight() < self.bbr.window();
        let pace = (room && (self.has_more || self.board.lost() > 0)).then(|| self.pacer.next()).flatten();
        self.timeout_at.into_iter().chain(self.look_again_at).chain(pace).min()
    }

    /// To be called when the deadline has come; answers whether something may be sent that could not before.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let allowed = self.allowance();
        self.pacer.advance(self.bbr.pacing_rate(), now);
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.board.lose_all();
            self.bbr.on_timeout();
            self.round_trip.timed_out();
            self.recovers_until = Some(self.max);
            self.timeout_at = (!self.board.is_empty()).then(|| now + self.round_trip.timeout());
            self.look_again_at = None;
            return true;
        }
        let due = self.look_again_at.is_some_and(|at| at <= now);
        let lost = due && self.look_for_losses(now);
        lost || self.allowance() > allowed
    }
}

impl Sender {
    /// Bytes that may be sent now, new or again.
    fn allowance(&self) -> u32 {
        let room = self.bbr.window().saturating_sub(self.board.in_flight());
        // What is alone on its way queues behind nothing; and smoltcp would fill a rest of a segment with a small one.
        let alone = if self.board.is_empty() { self.mss } else { 0 };
        room.min(self.pacer.allowance().max(alone))
    }

    fn look_for_losses(&mut self, now: Instant) -> bool {
        let before = self.board.lost();
        let (lost, again) = self.board.detect_losses(self.round_trip.least() / 4, now);
        self.look_again_at = again;
        if lost {
            self.recovers_until.get_or_insert(self.max);
        }
        self.newly_lost += self.board.lost() - before;
        lost
    }

    /// smoltcp probes a closed window with a byte that it does not count as sent.
    fn is_probe(&self, segment: &Segment) -> bool {
        self.peer_window == 0 && segment.payload_len == 1 && self.board.is_empty()
    }
}
