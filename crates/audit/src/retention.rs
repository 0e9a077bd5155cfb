//! How long records are kept, by what they tell of.

use std::time::Duration;

use crate::time::UtcTime;

/// Kinds of records that are kept equally long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `session.*`
    Sessions,
    /// `flow.opened`, `flow.closed`
    Flows,
    /// `flow.denied`
    Denials,
    /// `handshake.rejected`
    Handshakes,
    /// `gateway.*`, `audit.gap`, and what a later version wrote.
    Gateway,
    /// `admin.*`
    Admin,
}

impl Class {
    pub const ALL: [Self; 6] =
        [Self::Sessions, Self::Flows, Self::Denials, Self::Handshakes, Self::Gateway, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Flows => "flows",
            Self::Denials => "denials",
            Self::Handshakes => "handshakes",
            Self::Gateway => "gateway",
            Self::Admin => "admin",
        }
    }
}

/// Administrative records that are younger go by `[audit] retention-admin` alone, by no command: what somebody did is not
/// theirs to delete the day after.
pub const ACTS_KEPT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long each class is kept; none is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention([Option<Duration>; 6]);

/// Before which time records of each class go; none stays whatever its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoffs([Option<UtcTime>; 6]);

impl Retention {
    pub fn new(kept: impl Fn(Class) -> Option<Duration>) -> Self {
        Self(Class::ALL.map(kept))
    }

    pub fn cutoffs(&self, now: UtcTime) -> Cutoffs {
        Cutoffs(self.0.map(|kept| kept.map(|kept| ago(now, kept))))
    }
}

fn ago(now: UtcTime, span: Duration) -> UtcTime {
    let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    UtcTime::from_unix_ms(now.unix_ms().saturating_sub(ms))
}

impl Cutoffs {
    /// Everything of these classes that is older than `time`.
    pub fn before(time: UtcTime, classes: &[Class]) -> Self {
        Self(Class::ALL.map(|class| classes.contains(&class).then_some(time)))
    }

    /// The same, but administrative records of the last [`ACTS_KEPT`] stay.
    pub fn keeping_acts(self, now: UtcTime) -> Self {
        let oldest_kept = ago(now, ACTS_KEPT);
        let cutoff = |class| {
            self.of(class).map(|time| if class == Class::Admin { time.min(oldest_kept) } else { time })
        };
        Self(Class::ALL.map(cutoff))
    }

    pub fn of(&self, class: Class) -> Option<UtcTime> {
        let position = Class::ALL.iter().position(|other| *other == class)?;
        self.0.get(position).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_is_kept_for_its_own_time_and_for_ever_is_for_ever() {
        let day = Duration::from_secs(86_400);
        let retention = Retention::new(|class| match class {
            Class::Flows => Some(day),
            Class::Admin => None,
            _ => Some(day * 2),
        });
        let cutoffs = retention.cutoffs(UtcTime::from_unix_ms(10 * 86_400_000));
        assert_eq!(cutoffs.of(Class::Flows), Some(UtcTime::from_unix_ms(9 * 86_400_000)));
        assert_eq!(cutoffs.of(Class::Denials), Some(UtcTime::from_unix_ms(8 * 86_400_000)));
        assert_eq!(cutoffs.of(Class::Admin), None);
    }

    #[test]
    fn acts_of_the_last_year_stay_and_nothing_that_was_to_stay_goes() {
        let day = |number: i64| UtcTime::from_unix_ms(number * 86_400_000);
        let cutoffs = |before, classes: &[Class]| Cutoffs::before(before, classes).keeping_acts(day(1000));
        assert_eq!(cutoffs(day(1000), &Class::ALL).of(Class::Admin), Some(day(635)));
        assert_eq!(cutoffs(day(1000), &Class::ALL).of(Class::Flows), Some(day(1000)));
        assert_eq!(cutoffs(day(600), &Class::ALL).of(Class::Admin), Some(day(600)));
        assert_eq!(cutoffs(day(1000), &[Class::Flows]).of(Class::Admin), None);
    }

    #[test]
    fn only_the_classes_that_are_named_go() {
        let time = UtcTime::from_unix_ms(5);
        let cutoffs = Cutoffs::before(time, &[Class::Denials]);
        let going: Vec<_> = Class::ALL.into_iter().filter(|class| cutoffs.of(*class).is_some()).collect();
        assert_eq!(going, [Class::Denials]);
    }
}
