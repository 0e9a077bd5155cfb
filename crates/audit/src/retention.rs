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
        let before = |kept: Duration| {
            let kept_ms = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
            UtcTime::from_unix_ms(now.unix_ms().saturating_sub(kept_ms))
        };
        Cutoffs(self.0.map(|kept| kept.map(before)))
    }
}

impl Cutoffs {
    /// Everything of these classes that is older than `time`.
    pub fn before(time: UtcTime, classes: &[Class]) -> Self {
        Self(Class::ALL.map(|class| classes.contains(&class).then_some(time)))
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
    fn only_the_classes_that_are_named_go() {
        let time = UtcTime::from_unix_ms(5);
        let cutoffs = Cutoffs::before(time, &[Class::Denials]);
        let going: Vec<_> = Class::ALL.into_iter().filter(|class| cutoffs.of(*class).is_some()).collect();
        assert_eq!(going, [Class::Denials]);
    }
}
