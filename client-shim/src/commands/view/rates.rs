//! How much has been received and sent per second, for as long as the graph reaches back.

use std::collections::VecDeque;
use std::time::Instant;

/// A minute of seconds.
pub const KEPT: usize = 60;

/// Bits per second, the newest last.
#[derive(Debug, Default)]
pub struct Rates {
    last: Option<(u64, u64, Instant)>,
    down: VecDeque<u64>,
    up: VecDeque<u64>,
}

impl Rates {
    /// Takes the bytes received and sent since the start.
    pub fn note(&mut self, received: u64, sent: u64, now: Instant) {
        let Some((received_before, sent_before, then)) = self.last.replace((received, sent, now)) else {
            return;
        };
        let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
        let rate = |after: u64, before: u64| (after.saturating_sub(before) as f64 * 8.0 / seconds) as u64;
        push(&mut self.down, rate(received, received_before));
        push(&mut self.up, rate(sent, sent_before));
    }

    /// Received, the newest first.
    pub fn down(&self) -> impl Iterator<Item = u64> + '_ {
        self.down.iter().rev().copied()
    }

    /// Sent, the newest first.
    pub fn up(&self) -> impl Iterator<Item = u64> + '_ {
        self.up.iter().rev().copied()
    }
}

fn push(rates: &mut VecDeque<u64>, rate: u64) {
    if rates.len() == KEPT {
        rates.pop_front();
    }
    rates.push_back(rate);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_minute_of_rates_is_kept() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        for second in 0..100 {
            rates.note(second * 1000, second * 10, start + Duration::from_secs(second));
        }
        assert_eq!(
            (rates.down().count(), rates.down().next(), rates.up().next()),
            (60, Some(8000), Some(80))
        );
        // A shim that was started anew counts from the beginning.
        rates.note(0, 0, start + Duration::from_secs(100));
        assert_eq!(rates.down().next(), Some(0));
    }
}
