//! What has been sent and not yet acknowledged, and which of it is lost (RACK, RFC 8985).
//!
//! A segment counts as lost when one that was *sent later* has been delivered, and long enough ago that mere
//! reordering would have shown. Counting by time instead of by duplicate acknowledgements also finds lost
//! retransmissions, and needs no special case for several losses in one window.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::delivery::Snapshot;
use super::segment::before;

#[derive(Debug, Clone, Copy)]
struct Sent {
    start: u32,
    end: u32,
    /// The last time.
    sent: Snapshot,
    state: State,
    retransmitted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    InFlight,
    Sacked,
    Lost,
}

/// The segments between the first unacknowledged byte and the last one sent, in order of sequence numbers.
#[derive(Debug, Default)]
pub(super) struct Scoreboard {
    segments: VecDeque<Sent>,
    /// Bytes that are probably on their way.
    in_flight: u32,
    /// Bytes to be sent again.
    lost: u32,
    /// End of the highest range that was acknowledged selectively.
    highest_sacked: Option<u32>,
    /// The latest sent among the delivered segments.
    latest: Option<Latest>,
    /// Segments have arrived out of order on this path, so losses need time to tell.
    reorders: bool,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    sent_at: Instant,
    end: u32,
    round_trip: Duration,
}

/// What an acknowledgement newly delivered.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Delivered {
    pub(super) bytes: u32,
    /// Round-trip time of the latest sent segment among them, unless it was ambiguous.
    pub(super) round_trip: Option<Duration>,
    /// How that segment was sent.
    pub(super) newest: Option<Snapshot>,
}

impl Scoreboard {
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many segments are kept.
    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// New data was sent. Small segments are kept together, up to `mss` bytes, so that their number stays bounded.
    pub(super) fn sent(&mut self, start: u32, end: u32, mss: u32, sent: Snapshot) {
        if let Some(last) = self.segments.back_mut()
            && last.state == State::InFlight
            && last.end == start
            && end.wrapping_sub(last.start) <= mss
        {
            last.end = end;
            self.in_flight += end.wrapping_sub(start);
            return;
        }
        self.segments.push_back(Sent { start, end, sent, state: State::InFlight, retransmitted: false });
        self.in_flight += end.wrapping_sub(start);
    }

    /// Whether a lost segment overlaps the range.
    pub(super) fn is_lost(&self, start: u32, end: u32) -> bool {
        self.lost > 0 && self.overlapping(start, end).any(|segment| segment.state == State::Lost)
    }

    /// The range was sent again: what was lost in it is in flight again.
    pub(super) fn resent(&mut self, start: u32, end: u32, sent: Snapshot) {
        if self.lost == 0 {
            return;
        }
        self.split_at(start);
        self.split_at(end);
        let from = self.segments.partition_point(|segment| !before(start, segment.end));
        for segment in self.segments.range_mut(from..).take_while(|segment| before(segment.start, end)) {
            if segment.state == State::Lost {
                segment.state = State::InFlight;
                segment.sent = sent;
                segment.retransmitted = true;
                let len = segment.end.wrapping_sub(segment.start);
                self.lost -= len;
                self.in_flight += len;
            }
        }
    }

    /// Start of the first lost segment.
    pub(super) fn first_lost(&self) -> Option<u32> {
        let mut lost = self.segments.iter().filter(|segment| segment.state == State::Lost);
        (self.lost > 0).then(|| lost.next().map(|segment| segment.start))?
    }

    /// End of the last lost segment when `bytes` of what is lost are sent again, at least one segment.
    pub(super) fn lost_up_to(&self, bytes: u32) -> Option<u32> {
        let mut left = i64::from(bytes);
        let mut end = None;
        for segment in self.segments.iter().filter(|segment| segment.state == State::Lost) {
            left -= i64::from(segment.end.wrapping_sub(segment.start));
            if end.is_some() && left < 0 {
                break;
            }
            end = Some(segment.end);
        }
        end
    }

    /// Everything before `ack` has arrived.
    pub(super) fn acknowledge(&mut self, ack: u32, now: Instant, delivered: &mut Delivered) {
        let mut ambiguous = false;
        while let Some(segment) = self.segments.front_mut() {
            if !before(segment.start, ack) {
                break;
            }
            ambiguous |= segment.retransmitted;
            let part = Sent { end: if before(ack, segment.end) { ack } else { segment.end }, ..*segment };
            segment.start = part.end;
            if segment.start == segment.end {
                self.segments.pop_front();
            }
            self.leave(&part, now, delivered);
        }
        if ambiguous {
            // Not only for the repeated one (Karn): those behind it may have waited for it at the peer.
            delivered.round_trip = None;
        }
        if self.highest_sacked.is_some_and(|highest| !before(ack, highest)) {
            self.highest_sacked = None;
        }
    }

    /// The ranges have arrived although something before them has not.
    pub(super) fn acknowledge_selectively(
        &mut self,
        ranges: impl Iterator<Item = (u32, u32)>,
        now: Instant,
        delivered: &mut Delivered,
    ) {
        let (Some(first), Some(last)) = (self.segments.front(), self.segments.back()) else { return };
        let (lowest, highest) = (first.start, last.end);
        for (start, end) in ranges {
            if before(start, lowest) || before(highest, end) || !before(start, end) {
                continue;
            }
            let from = self.segments.partition_point(|segment| before(segment.start, start));
            let mut index = from;
            while let Some(segment) = self.segments.get_mut(index) {
                if before(end, segment.end) {
                    break;
                }
                if segment.state != State::Sacked {
                    let before_change = *segment;
                    segment.state = State::Sacked;
                    self.leave(&before_change, now, delivered);
                }
                index += 1;
            }
            if self.highest_sacked.is_none_or(|highest| before(highest, end)) {
                self.highest_sacked = Some(end);
            }
        }
    }

    /// Marks as lost what was sent long enough before something that arrived. Answers whether anything was, and when
    /// to look again.
    pub(super) fn detect_losses(&mut self, patience: Duration, now: Instant) -> (bool, Option<Instant>) {
        let (Some(latest), Some(highest)) = (self.latest, self.highest_sacked) else { return (false, None) };
        let patience = if self.reorders { patience } else { Duration::ZERO };
        let (mut found, mut again) = (false, None);
        for segment in &mut self.segments {
            if !before(segment.start, highest) {
                break;
            }
            let sent_before = segment.sent.sent_at < latest.sent_at
                || (segment.sent.sent_at == latest.sent_at && before(segment.end, latest.end));
            if segment.state != State::InFlight || !sent_before {
                continue;
            }
            let due = segment.sent.sent_at + latest.round_trip + patience;
            if due <= now {
                segment.state = State::Lost;
                let len = segment.end.wrapping_sub(segment.start);
                self.in_flight -= len;
                self.lost += len;
                found = true;
            } else if again.is_none_or(|at| due < at) {
                again = Some(due);
            }
        }
        (found, again)
    }

    /// Marks the first segment as lost, for peers without selective acknowledgement.
    pub(super) fn lose_first(&mut self) -> bool {
        let Some(segment) = self.segments.front_mut().filter(|s| s.state == State::InFlight) else {
            return false;
        };
        segment.state = State::Lost;
        let len = segment.end.wrapping_sub(segment.start);
        self.in_flight -= len;
        self.lost += len;
        true
    }

    /// Marks everything as lost, what was acknowledged selectively too: the peer may have discarded it (RFC 2018).
    pub(super) fn lose_all(&mut self) {
        for segment in &mut self.segments {
            segment.state = State::Lost;
        }
        self.lost = self.segments.iter().map(|segment| segment.end.wrapping_sub(segment.start)).sum();
        self.in_flight = 0;
        self.highest_sacked = None;
        self.latest = None;
    }

    /// Sees to it that no segment spans `at`: smoltcp cuts segments differently when it sends again.
    fn split_at(&mut self, at: u32) {
        let index = self.segments.partition_point(|segment| !before(at, segment.end));
        if let Some(segment) = self.segments.get_mut(index)
            && before(segment.start, at)
        {
            let front = Sent { end: at, ..*segment };
            segment.start = at;
            self.segments.insert(index, front);
        }
    }

    fn overlapping(&self, start: u32, end: u32) -> impl Iterator<Item = &Sent> {
        let from = self.segments.partition_point(|segment| !before(start, segment.end));
        self.segments.range(from..).take_while(move |segment| before(segment.start, end))
    }

    /// A segment, or the front part of one, has been delivered.
    fn leave(&mut self, segment: &Sent, now: Instant, delivered: &mut Delivered) {
        let len = segment.end.wrapping_sub(segment.start);
        match segment.state {
            State::InFlight => self.in_flight -= len,
            State::Lost => self.lost -= len,
            State::Sacked => return,
        }
        delivered.bytes += len;
        if delivered.newest.is_none_or(|newest| segment.sent.is_newer_than(&newest)) {
            delivered.newest = Some(segment.sent);
        }
        let round_trip = now.saturating_duration_since(segment.sent.sent_at);
        if !segment.retransmitted {
            delivered.round_trip = Some(round_trip);
            if self.highest_sacked.is_some_and(|highest| before(segment.end, highest)) {
                self.reorders = true;
            }
        }
        let later = self.latest.is_none_or(|latest| {
            latest.sent_at < segment.sent.sent_at
                || (latest.sent_at == segment.sent.sent_at && before(latest.end, segment.end))
        });
        // What is acknowledged sooner than the path allows was the original, not the repetition.
        let plausible = !segment.retransmitted || self.latest.is_none_or(|l| round_trip >= l.round_trip / 2);
        if later && plausible {
            self.latest = Some(Latest { sent_at: segment.sent.sent_at, end: segment.end, round_trip });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netstack::delivery::DeliveryRate;

    const RTT: Duration = Duration::from_millis(80);

    fn sent(at: Instant) -> Snapshot {
        DeliveryRate::new(at).sent(true, at)
    }

    /// Ten segments of 1000 bytes, the first byte number being close to the wrap, sent one millisecond apart.
    fn board(start: u32, now: Instant) -> Scoreboard {
        let mut board = Scoreboard::default();
        for n in 0..10 {
            let from = start.wrapping_add(n * 1000);
            board.sent(from, from.wrapping_add(1000), 1000, sent(now + Duration::from_millis(n.into())));
        }
        board
    }

    #[test]
    fn what_was_sent_before_a_delivered_segment_is_lost() {
        let (start, t0) = (u32::MAX - 3000, Instant::now());
        let at = |n: u32| start.wrapping_add(n * 1000);
        let mut board = board(start, t0);
        let mut delivered = Delivered::default();
        let now = t0 + RTT + Duration::from_millis(6);
        board.acknowledge(at(2), now, &mut delivered);
        board.acknowledge_selectively([(at(4), at(6))].into_iter(), now, &mut delivered);
        assert_eq!(delivered.bytes, 4000);
        assert_eq!(board.detect_losses(RTT / 4, now), (true, None));
        assert_eq!((board.lost(), board.in_flight(), board.first_lost()), (2000, 4000, Some(at(2))));

        board.resent(at(2), at(4), sent(now));
        assert_eq!((board.lost(), board.in_flight()), (0, 6000));
        assert_eq!(board.detect_losses(RTT / 4, now), (false, None), "a fresh repetition is not lost");

        // Segment 9, sent after segments 2 and 3 were repeated, arrives; they still have not.
        board.sent(at(10), at(11), 1000, sent(now + Duration::from_millis(1)));
        let later = now + RTT + Duration::from_millis(1);
        board.acknowledge_selectively([(at(6), at(11))].into_iter(), later, &mut delivered);
        assert_eq!(board.detect_losses(RTT / 4, later), (true, None));
        assert_eq!((board.lost(), board.in_flight()), (2000, 0));

        board.acknowledge(at(11), later, &mut delivered);
        assert!(board.is_empty());
        assert_eq!((board.lost(), board.in_flight(), delivered.bytes), (0, 0, 11_000));
    }

    #[test]
    fn on_a_path_that_reorders_losses_wait_for_a_quarter_of_a_round_trip() {
        let t0 = Instant::now();
        let mut board = board(0, t0);
        let mut delivered = Delivered::default();
        let now = t0 + RTT;
        board.acknowledge_selectively([(2000, 3000)].into_iter(), now, &mut delivered);
        board.acknowledge_selectively([(1000, 2000)].into_iter(), now, &mut delivered);
        let (found, again) = board.detect_losses(RTT / 4, now);
        assert!(!found, "segment 0 may still come");
        assert!(board.detect_losses(RTT / 4, again.unwrap()).0);
        assert_eq!(board.lost(), 1000);
    }

    #[test]
    fn a_partly_acknowledged_segment_stays_with_its_rest() {
        let t0 = Instant::now();
        let mut board = board(0, t0);
        board.acknowledge(2500, t0 + RTT, &mut Delivered::default());
        assert_eq!(board.in_flight(), 7500);
        board.lose_all();
        assert_eq!((board.lost(), board.first_lost(), board.lost_up_to(1)), (7500, Some(2500), Some(3000)));
        assert_eq!(board.lost_up_to(1600), Some(4000));
        assert!(board.is_lost(0, 2600) && !board.is_lost(0, 2500));
    }

    #[test]
    fn small_segments_are_kept_together() {
        let t0 = Instant::now();
        let mut board = Scoreboard::default();
        (0..5000).for_each(|n| board.sent(n, n + 1, 1000, sent(t0)));
        assert_eq!((board.len(), board.in_flight()), (5, 5000));
        board.acknowledge(5000, t0 + RTT, &mut Delivered::default());
        assert_eq!((board.len(), board.in_flight()), (0, 0));
    }

    #[test]
    fn nonsense_ranges_change_nothing() {
        let t0 = Instant::now();
        let mut board = board(5000, t0);
        let mut delivered = Delivered::default();
        let ranges = [(0, 6000), (14_000, 99_000), (8000, 7000), (6000, 6000), (1 << 31, 3 << 30)];
        board.acknowledge_selectively(ranges.into_iter(), t0, &mut delivered);
        assert_eq!((delivered.bytes, board.in_flight()), (0, 10_000));
    }
}
