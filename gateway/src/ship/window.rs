//! How far a receiver has got in each chain: what was sent, received, and remembered as received.

use std::collections::VecDeque;

use vmsgate_audit::Chain;

/// Batches that may be in flight. They hold numbers only, so this bounds what is sent again after a failure.
const MAX_IN_FLIGHT: usize = 64;

#[derive(Debug)]
pub struct Window {
    places: Vec<Place>,
    in_flight: VecDeque<Batch>,
}

/// The place in one chain, as the last record before it.
#[derive(Debug, Clone)]
pub struct Place {
    pub chain: Chain,
    pub sent: u64,
    pub received: u64,
    stored: u64,
}

#[derive(Debug)]
struct Batch {
    place: usize,
    upto: u64,
}

impl Window {
    /// Everything up to the stored cursors was received, and nothing is in flight.
    pub fn new(cursors: impl IntoIterator<Item = (Chain, u64)>) -> Self {
        let place = |(chain, seq)| Place { chain, sent: seq, received: seq, stored: seq };
        Self { places: cursors.into_iter().map(place).collect(), in_flight: VecDeque::new() }
    }

    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// A batch of the chain at `place` was sent, up to and including record `upto`.
    pub fn sent(&mut self, place: usize, upto: u64) {
        if let Some(one) = self.places.get_mut(place) {
            one.sent = upto;
            self.in_flight.push_back(Batch { place, upto });
        }
    }

    /// The oldest `batches` in flight were received.
    pub fn received(&mut self, batches: usize) {
        for batch in self.in_flight.drain(..batches.min(self.in_flight.len())) {
            if let Some(place) = self.places.get_mut(batch.place) {
                place.received = batch.upto;
            }
        }
    }

    pub fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT
    }

    pub fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The cursors that are behind what was received.
    pub fn to_store(&self) -> Vec<(&Chain, u64)> {
        let behind = self.places.iter().filter(|place| place.stored < place.received);
        behind.map(|place| (&place.chain, place.received)).collect()
    }

    pub fn stored(&mut self) {
        for place in &mut self.places {
            place.stored = place.received;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_follows_what_was_received_not_what_was_sent() {
        let (gateway, admin) = (Chain::gateway("gw-1"), Chain::admin());
        let mut window = Window::new([(gateway.clone(), 10), (admin.clone(), 0)]);
        window.sent(0, 20);
        window.sent(1, 5);
        window.sent(0, 30);
        assert!(window.to_store().is_empty() && window.is_waiting());
        window.received(2);
        assert_eq!(window.to_store(), [(&gateway, 20), (&admin, 5)]);
        window.stored();
        assert!(window.to_store().is_empty() && window.is_waiting());
        window.received(1);
        assert_eq!(window.to_store(), [(&gateway, 30)]);
        assert!(!window.is_waiting());
    }

    #[test]
    fn what_is_in_flight_is_bounded() {
        let mut window = Window::new([(Chain::admin(), 0)]);
        let sent = (1..).take_while(|seq| {
            window.sent(0, *seq);
            window.has_room()
        });
        assert_eq!(sent.count() + 1, MAX_IN_FLIGHT);
    }
}
