//! Bytes over time, in steps of whole days.

use std::ops::AddAssign;

use crate::{subject::Traffic, time::UtcTime};

const DAY_MS: i64 = 86_400_000;
/// As many bars as fit beside each other on a page.
const MOST_STEPS: i64 = 92;

/// Bytes of both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    pub from_client: u64,
    pub to_client: u64,
}

/// The bytes of each step of a period; a step is one day (UTC), or more in a long period.
#[derive(Debug, PartialEq, Eq)]
pub struct TrafficOverTime {
    since: UtcTime,
    until: UtcTime,
    /// The first moment of the first step.
    start_ms: i64,
    step_ms: i64,
    steps: Vec<Bytes>,
}

impl TrafficOverTime {
    pub(super) fn new(since: UtcTime, until: UtcTime) -> Self {
        let start_ms = since.unix_ms().div_euclid(DAY_MS) * DAY_MS;
        let days = ((until.unix_ms() - start_ms).max(1) + DAY_MS - 1) / DAY_MS;
        let step_ms = ((days + MOST_STEPS - 1) / MOST_STEPS) * DAY_MS;
        let count = (days * DAY_MS + step_ms - 1) / step_ms;
        let steps = vec![Bytes::default(); usize::try_from(count).unwrap_or_default()];
        Self { since, until, start_ms, step_ms, steps }
    }

    pub fn days_per_step(&self) -> i64 {
        self.step_ms / DAY_MS
    }

    /// The first day of each step and its bytes, in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = (UtcTime, Bytes)> {
        let start = |index: usize| {
            let ms = i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(self.step_ms);
            UtcTime::from_unix_ms(self.start_ms.saturating_add(ms))
        };
        self.steps.iter().enumerate().map(move |(index, bytes)| (start(index), *bytes))
    }

    /// Spreads what flowed between two times evenly, and answers how much of it was within the period.
    pub(super) fn spread(&mut self, opened: UtcTime, ended: UtcTime, traffic: Traffic) -> Bytes {
        let (opened, ended) = (opened.unix_ms(), ended.unix_ms().max(opened.unix_ms()));
        let from = opened.max(self.since.unix_ms());
        let until = ended.min(self.until.unix_ms());
        // How much had flowed by a moment: differences of it add up to the whole, whatever is rounded.
        let by = |moment: i64| -> Bytes {
            let part = |bytes: u64| match u128::try_from(ended - opened) {
                Ok(whole @ 1..) => {
                    let gone = u128::try_from(moment - opened).unwrap_or(0).min(whole);
                    u64::try_from(u128::from(bytes) * gone / whole).unwrap_or(u64::MAX)
                }
                _ => bytes,
            };
            let (up, down) = (traffic.from_client.bytes, traffic.to_client.bytes);
            Bytes { from_client: part(up), to_client: part(down) }
        };
        let mut before = if opened == ended { Bytes::default() } else { by(from) };
        let mut within = Bytes::default();
        let mut moment = from;
        while moment <= until {
            let index = (moment - self.start_ms).div_euclid(self.step_ms);
            let step_end = self.start_ms + (index + 1) * self.step_ms;
            let now = by(step_end.min(until));
            let bytes = Bytes {
                from_client: now.from_client.saturating_sub(before.from_client),
                to_client: now.to_client.saturating_sub(before.to_client),
            };
            if let Some(step) = usize::try_from(index).ok().and_then(|index| self.steps.get_mut(index)) {
                *step += bytes;
                within += bytes;
            }
            (before, moment) = (now, step_end);
        }
        within
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.from_client = self.from_client.saturating_add(other.from_client);
        self.to_client = self.to_client.saturating_add(other.to_client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Volume;

    fn day(number: i64) -> UtcTime {
        UtcTime::from_unix_ms(number * DAY_MS)
    }

    fn traffic(bytes: u64) -> Traffic {
        Traffic {
            from_client: Volume { bytes, packets: 1 },
            to_client: Volume { bytes: 10 * bytes, packets: 1 },
        }
    }

    fn from_client(traffic: &TrafficOverTime) -> Vec<u64> {
        traffic.steps().map(|(_, bytes)| bytes.from_client).collect()
    }

    #[test]
    fn a_flow_over_days_is_spread_over_them_without_losing_a_byte() {
        let mut over_time = TrafficOverTime::new(day(10), day(14));
        let within = over_time.spread(day(11), day(14), traffic(1000));
        assert_eq!(from_client(&over_time), [0, 333, 333, 334]);
        assert_eq!(within, Bytes { from_client: 1000, to_client: 10_000 });
    }

    #[test]
    fn only_the_part_within_the_period_counts() {
        let mut over_time = TrafficOverTime::new(day(10), day(12));
        let within = over_time.spread(day(8), day(16), traffic(800));
        assert_eq!((within.from_client, from_client(&over_time)), (200, vec![100, 100]));
        assert_eq!(over_time.spread(day(1), day(2), traffic(800)), Bytes::default());
    }

    #[test]
    fn a_flow_of_no_duration_counts_where_it_was() {
        let mut over_time = TrafficOverTime::new(day(10), day(12));
        over_time.spread(day(11), day(11), traffic(7));
        assert_eq!(from_client(&over_time), [0, 7]);
    }

    #[test]
    fn a_long_period_has_few_steps_that_cover_it() {
        let over_time = TrafficOverTime::new(day(0), day(3650));
        let steps: Vec<_> = over_time.steps().collect();
        assert_eq!((over_time.days_per_step(), steps.len()), (40, 92));
        assert!(steps.last().is_some_and(|(start, _)| *start < day(3650)));
    }
}
