//! Round trips counted by what was delivered, and the highest of a value in the latest ten of them.

/// How many round trips a highest value is remembered for.
const REMEMBERED: usize = 10;

/// A round trip is over when something arrives that was sent after its beginning.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    count: u64,
    /// What had been delivered at the beginning of the present one.
    began_at: u64,
}

impl Rounds {
    /// Something arrived that was sent when `prior` bytes had been delivered; now `delivered` have. Answers whether it
    /// ends a round trip.
    pub(super) fn passed(&mut self, prior: u64, delivered: u64) -> bool {
        let over = prior >= self.began_at;
        if over {
            self.count += 1;
            self.began_at = delivered;
        }
        over
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

/// The highest value of each of the latest round trips that had one.
#[derive(Debug, Default)]
pub(super) struct RoundMax {
    values: [f64; REMEMBERED],
    newest: u64,
}

impl RoundMax {
    /// Rounds only go up.
    pub(super) fn update(&mut self, round: u64, value: f64) {
        let skipped = round.saturating_sub(self.newest).min(REMEMBERED as u64);
        for past in 0..skipped {
            if let Some(slot) = self.values.get_mut(((round - past) % REMEMBERED as u64) as usize) {
                *slot = 0.0;
            }
        }
        self.newest = self.newest.max(round);
        if let Some(slot) = self.values.get_mut((round % REMEMBERED as u64) as usize) {
            *slot = slot.max(value);
        }
    }

    /// Zero before the first.
    pub(super) fn get(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_ends_with_what_was_sent_after_its_beginning() {
        let mut rounds = Rounds::default();
        assert!(rounds.passed(0, 1000));
        assert!(!rounds.passed(0, 2000), "sent before the first answer");
        assert!(!rounds.passed(999, 3000));
        assert!(rounds.passed(1000, 4000));
        assert_eq!(rounds.count(), 2);
    }

    #[test]
    fn a_highest_value_is_forgotten_after_ten_round_trips_and_only_by_newer_ones() {
        let mut highest = RoundMax::default();
        highest.update(3, 9.0);
        highest.update(3, 4.0);
        (4..13).for_each(|round| highest.update(round, 5.0));
        assert_eq!(highest.get(), 9.0);
        highest.update(13, 5.0);
        assert_eq!(highest.get(), 5.0);
        highest.update(1000, 1.0);
        assert_eq!(highest.get(), 1.0);
    }
}
