//! Notices that the wall clock was set: records before and after it then do not compare.

use std::time::{Duration, Instant};

use vmsgate_audit::event::{ClockStepped, Event};
use vmsgate_audit::{Record, UtcTime};

/// A time service slews by at most 500 ppm (RFC 5905): far below this between two looks.
const STEP: Duration = Duration::from_secs(1);

/// What both clocks showed at the last look.
#[derive(Debug)]
pub(super) struct ClockWatch {
    steady: Instant,
    wall: UtcTime,
}

impl ClockWatch {
    pub(super) fn new(steady: Instant, wall: UtcTime) -> Self {
        Self { steady, wall }
    }

    /// Looks again. A record if the wall clock has gone another way than the steady one, which also happens while the
    /// machine sleeps.
    pub(super) fn look(&mut self, steady: Instant, wall: UtcTime) -> Option<Record> {
        let passed = steady.saturating_duration_since(self.steady).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let expected = UtcTime::from_unix_ms(self.wall.unix_ms().saturating_add(passed));
        *self = Self { steady, wall };
        let step = wall.unix_ms().abs_diff(expected.unix_ms());
        (u128::from(step) >= STEP.as_millis())
            .then(|| Record::new(wall, Event::ClockStepped(ClockStepped { expected, found: wall })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> UtcTime {
        UtcTime::from_unix_ms(1_800_000_000_000 + ms)
    }

    #[test]
    fn a_step_either_way_is_told_once_and_drift_is_not() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut watch = ClockWatch::new(start, at(0));
        assert_eq!(watch.look(after(500), at(501)), None, "drift");
        let told = watch.look(after(1000), at(-60_000)).map(|record| record.event);
        assert_eq!(told, Some(Event::ClockStepped(ClockStepped { expected: at(1001), found: at(-60_000) })));
        assert_eq!(watch.look(after(1500), at(-59_500)), None, "told already");
        assert!(watch.look(after(2000), at(0)).is_some(), "forward");
    }
}
