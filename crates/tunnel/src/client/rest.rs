//! A client that was told that it is shut out: it does not ask at every turn whether that is still so.

use std::time::Instant;

use super::ClientState;
use crate::noise::Tick;

impl ClientState {
    /// Says nothing by itself any more, until the gateway is heard. Only [`ClientState::connect`] still sends something;
    /// packets are dropped. The gateway has forgotten what was agreed with it.
    pub fn rest(&mut self, now: Instant) {
        self.resting = true;
        self.pending = None;
        self.waiting.clear();
        if self.current.keys.agreed.is_some() {
            self.current = self.new_line(self.registered_keys(), now);
        }
    }

    /// The clocks go on; what they ask for is not said.
    pub(super) fn rest_on(&mut self, now: Instant) {
        let mut buffer = [0; 2048];
        if matches!(self.current.tick(now, &mut self.rng, &mut buffer), Tick::Expired) {
            self.current = self.new_line(self.current.keys.clone(), now);
        }
    }
}
