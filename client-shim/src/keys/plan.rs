//! Decides which key is to change now. Pure: facts and time are passed in.

use std::time::{Duration, Instant};

/// Other keys are tried when those in use have not been answered for so long.
const SILENCE: Duration = Duration::from_secs(15);
/// A key is replaced at this part of its age, in thousandths: which one is chance, so that keys made on one day are not
/// replaced in one hour.
const ROTATE_AT: std::ops::Range<u64> = 800..950;
/// After a step, whatever became of it: what it changed has to come around.
const PAUSE: Duration = Duration::from_secs(1);
/// After a failure, doubled each time up to the limit.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_LIMIT: Duration = Duration::from_secs(600);

/// What may be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Try another key pair that may be registered.
    TryOther,
    /// Move to the identity that the gateway names first.
    Move,
    /// Replace the key pair.
    Rotate,
    /// Agree on a pre-shared key.
    Agree,
}

/// How things are.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) connected: bool,
    /// For how long the gateway has not answered.
    pub(super) silent: Option<Duration>,
    /// Whether there is another key pair that may be registered.
    pub(super) has_other: bool,
    /// Whether the key pair in use is another one than the profile's file holds.
    pub(super) astray: bool,
    pub(super) newer_identity: bool,
    pub(super) key_age: Option<Duration>,
    pub(super) max_age: Option<Duration>,
    /// Of the agreed pre-shared key in use.
    pub(super) agreed_age: Option<Duration>,
    /// How long one is used; none where the gateway agrees on none.
    pub(super) interval: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Plan {
    rotate_at: u64,
    not_before: Option<Instant>,
    trouble: [Trouble; 4],
}

/// Failures in a row of one step.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    failures: u32,
    not_before: Option<Instant>,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let rotate_at = fastrand::Rng::with_seed(seed).u64(ROTATE_AT);
        Self { rotate_at, not_before: None, trouble: Default::default() }
    }

    /// The step that is due, most urgent first.
    pub(super) fn next(&self, facts: &Facts, now: Instant) -> Option<Step> {
        if self.not_before.is_some_and(|time| now < time) {
            return None;
        }
        let wanted = |step| match step {
            Step::TryOther => !facts.connected && facts.has_other && facts.silent >= Some(SILENCE),
            Step::Move => facts.connected && facts.newer_identity,
            Step::Rotate => facts.connected && (facts.astray || self.is_old(facts)),
            Step::Agree => {
                facts.connected
                    && facts
                        .interval
                        .is_some_and(|interval| facts.agreed_age.is_none_or(|age| age >= interval))
            }
        };
        let allowed = |step: Step| self.trouble[step as usize].not_before.is_none_or(|time| now >= time);
        [Step::TryOther, Step::Move, Step::Rotate, Step::Agree]
            .into_iter()
            .find(|step| wanted(*step) && allowed(*step))
    }

    /// A step was taken.
    pub(super) fn done(&mut self, step: Step, succeeded: bool, now: Instant) {
        self.not_before = Some(now + PAUSE);
        let trouble = &mut self.trouble[step as usize];
        if succeeded {
            *trouble = Trouble::default();
            return;
        }
        let wait = RETRY.saturating_mul(1 << trouble.failures.min(16)).min(RETRY_LIMIT);
        *trouble = Trouble { failures: trouble.failures.saturating_add(1), not_before: Some(now + wait) };
    }

    fn is_old(&self, facts: &Facts) -> bool {
        let (Some(age), Some(max)) = (facts.key_age, facts.max_age) else { return false };
        age.as_millis() * 1000 >= max.as_millis() * u128::from(self.rotate_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR: Duration = Duration::from_secs(3600);

    /// Facts of a tunnel that needs nothing.
    fn well() -> Facts {
        Facts {
            connected: true,
            key_age: Some(DAY),
            max_age: Some(90 * DAY),
            agreed_age: Some(Duration::ZERO),
            interval: Some(HOUR),
            ..Facts::default()
        }
    }

    #[test]
    fn a_tunnel_that_needs_nothing_is_left_alone() {
        assert_eq!(Plan::new(1).next(&well(), Instant::now()), None);
        let modest = Facts { interval: None, agreed_age: None, max_age: None, ..well() };
        assert_eq!(Plan::new(1).next(&modest, Instant::now()), None);
    }

    #[test]
    fn a_key_is_replaced_before_its_end_and_not_everyones_at_once() {
        let mut ages = Vec::new();
        for seed in 0..200 {
            let plan = Plan::new(seed);
            let due = |age: Duration| {
                plan.next(&Facts { key_age: Some(age), ..well() }, Instant::now()) == Some(Step::Rotate)
            };
            let first = (0..).map(|hours| hours * HOUR).find(|age| due(*age)).unwrap();
            assert!(first >= 72 * DAY && first <= 86 * DAY, "{first:?}");
            ages.push(first);
        }
        ages.sort();
        ages.dedup();
        assert!(ages.len() > 50, "{} different ages", ages.len());
    }

    #[test]
    fn an_agreed_key_is_asked_for_at_once_and_then_every_interval() {
        let plan = Plan::new(1);
        let at = |age| plan.next(&Facts { agreed_age: age, ..well() }, Instant::now());
        assert_eq!(at(None), Some(Step::Agree));
        assert_eq!(at(Some(HOUR - Duration::from_secs(1))), None);
        assert_eq!(at(Some(HOUR)), Some(Step::Agree));
    }

    #[test]
    fn the_identity_comes_first_and_the_agreement_last() {
        let mut facts = Facts { newer_identity: true, astray: true, agreed_age: None, ..well() };
        let plan = Plan::new(1);
        assert_eq!(plan.next(&facts, Instant::now()), Some(Step::Move));
        facts.newer_identity = false;
        assert_eq!(plan.next(&facts, Instant::now()), Some(Step::Rotate));
        facts.astray = false;
        assert_eq!(plan.next(&facts, Instant::now()), Some(Step::Agree));
    }

    #[test]
    fn other_keys_are_tried_in_silence_only_and_nothing_else_is() {
        let plan = Plan::new(1);
        let silent = |seconds, has_other| {
            let silent = Some(Duration::from_secs(seconds));
            let facts =
                Facts { connected: false, silent, has_other, newer_identity: true, astray: true, ..well() };
            plan.next(&facts, Instant::now())
        };
        assert_eq!(silent(14, true), None);
        assert_eq!(silent(15, true), Some(Step::TryOther));
        assert_eq!(silent(3600, false), None);
    }

    #[test]
    fn a_step_that_fails_is_tried_again_ever_more_rarely_and_holds_up_no_other() {
        let (mut plan, mut now) = (Plan::new(1), Instant::now());
        let facts = Facts { astray: true, agreed_age: None, ..well() };
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert_eq!(plan.next(&facts, now), Some(Step::Rotate));
            plan.done(Step::Rotate, false, now);
            assert_eq!(plan.next(&facts, now), None, "not in a rush");
            assert_eq!(plan.next(&facts, now + PAUSE), Some(Step::Agree));
            let start = now;
            while plan.next(&facts, now) != Some(Step::Rotate) {
                now += PAUSE;
            }
            waits.push((now - start).as_secs());
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
        plan.done(Step::Rotate, true, now);
        plan.done(Step::Rotate, false, now);
        assert_eq!(plan.next(&facts, now + RETRY), Some(Step::Rotate), "a success is forgotten failures");
    }
}
