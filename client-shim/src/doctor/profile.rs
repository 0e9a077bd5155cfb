//! The profile's file, and how long its keys and the access that they give are good.

use std::time::Duration;

use jiff::Timestamp;
use vmsgate_cli::human;
use vmsgate_config::profile::EXPIRY_WARNING;
use x25519_dalek::PublicKey;

use super::finding::{Finding, Id, Verdict};
use crate::keys::fingerprint;

/// `file`, and its mode if it is open to others; none for a profile that came from no file.
pub(super) fn permissions(file: Option<(String, Option<u32>)>) -> Finding {
    let id = Id::ProfilePermissions;
    match file {
        None => Finding::skipped(id, "the profile was not read from a file"),
        Some((file, None)) => Finding::ok(id, format!("{file} is yours alone")),
        Some((file, Some(mode))) => {
            let message = format!(
                "{file} holds your private key, and others may use it (mode {mode:03o}): `up` refuses it"
            );
            Finding::new(id, Verdict::Problem, message).advise(format!(
                "chmod 600 {file}; if somebody may have read it, replace the key: vmsgate-shim rotate"
            ))
        }
    }
}

/// `now` is the gateway's time, which decides.
pub(super) fn access(expires: Option<Timestamp>, now: Timestamp) -> Finding {
    let id = Id::ProfileAccess;
    let Some(end) = expires else { return Finding::ok(id, "the access has no end") };
    let left = end.duration_since(now);
    let until = human::time(end);
    if !left.is_positive() {
        let message = format!("the access ended on {until}");
        return Finding::new(id, Verdict::Problem, message).advise(
            "ask your administrator to extend it (`vmsgate-keys client expire NAME 90d`); the profile stays the same",
        );
    }
    let left = left.unsigned_abs();
    let message = format!("the access ends in {}, on {until}", human::duration(left));
    if left < EXPIRY_WARNING {
        Finding::new(id, Verdict::Warning, message)
            .advise("ask your administrator to extend it before that: `vmsgate-keys client expire NAME 90d`")
    } else {
        Finding::ok(id, message)
    }
}

/// `now` is the gateway's time, which also says when the key was made.
pub(super) fn key_age(created: Option<Timestamp>, max_age: Option<Duration>, now: Timestamp) -> Finding {
    let id = Id::ProfileKeyAge;
    let Some(created) = created else {
        return Finding::skipped(id, "the gateway does not tell when the key was made");
    };
    let age = Duration::try_from(now.duration_since(created)).unwrap_or_default();
    let old = human::duration(age);
    let rotate = "vmsgate-shim rotate";
    match max_age {
        None => Finding::ok(id, format!("the key is {old} old; the gateway sets no limit")),
        Some(max) if age >= max => {
            let message = format!(
                "the key is {old} old, more than the {} that the gateway allows",
                human::duration(max)
            );
            Finding::new(id, Verdict::Problem, message).advise(format!("replace it now: {rotate}"))
        }
        // A running shim replaces it before this part of its age.
        Some(max) if age >= max.mul_f64(0.95) => {
            let left = human::duration(max.saturating_sub(age));
            let message = format!(
                "the key is {old} old and good for another {left}; it should have been replaced by now"
            );
            Finding::new(id, Verdict::Warning, message)
                .advise(format!("replace it: {rotate}; where that fails it says why"))
        }
        Some(max) => Finding::ok(
            id,
            format!("the key is {old} old, of {} that the gateway allows", human::duration(max)),
        ),
    }
}

/// `newest` is the identity that the gateway wants to be used.
pub(super) fn identity(ours: PublicKey, newest: Option<PublicKey>) -> Finding {
    let id = Id::GatewayIdentity;
    let known = fingerprint(&ours);
    match newest {
        None => Finding::skipped(id, "the gateway does not tell its identities"),
        Some(newest) if newest == ours => {
            Finding::ok(id, format!("the gateway's identity is {known}, its newest"))
        }
        Some(newest) => {
            let message = format!(
                "the profile knows the gateway as {known}; it has the newer identity {}",
                fingerprint(&newest)
            );
            Finding::new(id, Verdict::Warning, message).advise(
                "a running shim moves by itself: leave `vmsgate-shim up` running for a minute, with a profile that it can \
                 write; before the old identity is retired",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-25T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_file_that_others_can_read_is_a_problem() {
        let file = || "/home/anna/anna.conf".to_owned();
        assert_eq!(permissions(None).verdict, Verdict::Skipped);
        assert_eq!(permissions(Some((file(), None))).verdict, Verdict::Ok);
        let open = permissions(Some((file(), Some(0o644))));
        assert_eq!(open.verdict, Verdict::Problem);
        assert!(open.message.ends_with("others may use it (mode 644): `up` refuses it"), "{}", open.message);
        assert!(open.advice.unwrap().starts_with("chmod 600 /home/anna/anna.conf"));
    }

    #[test]
    fn access_is_warned_about_fourteen_days_before_its_end() {
        let verdict = |end: &str| access(Some(end.parse().unwrap()), now()).verdict;
        assert_eq!(access(None, now()).verdict, Verdict::Ok);
        assert_eq!(verdict("2026-12-09T10:00:00Z"), Verdict::Ok);
        assert_eq!(verdict("2026-12-09T09:59:59Z"), Verdict::Warning);
        assert_eq!(verdict("2026-11-25T10:00:00Z"), Verdict::Problem);
    }

    #[test]
    fn a_key_is_judged_by_the_age_that_the_gateway_allows() {
        let day = Duration::from_secs(86_400);
        let verdict = |days: i64, max: Option<Duration>| {
            let created = now() - jiff::SignedDuration::from_hours(24 * days);
            key_age(Some(created), max, now()).verdict
        };
        assert_eq!(key_age(None, Some(day), now()).verdict, Verdict::Skipped);
        assert_eq!(verdict(900, None), Verdict::Ok);
        assert_eq!(verdict(94, Some(100 * day)), Verdict::Ok);
        assert_eq!(verdict(95, Some(100 * day)), Verdict::Warning);
        assert_eq!(verdict(100, Some(100 * day)), Verdict::Problem);
        assert_eq!(verdict(-1, Some(100 * day)), Verdict::Ok, "made by a clock that is ahead");
    }

    #[test]
    fn an_older_identity_of_the_gateway_is_warned_about() {
        let (old, new) = (PublicKey::from([1; 32]), PublicKey::from([2; 32]));
        assert_eq!(identity(old, None).verdict, Verdict::Skipped);
        assert_eq!(identity(new, Some(new)).verdict, Verdict::Ok);
        assert_eq!(identity(old, Some(new)).verdict, Verdict::Warning);
    }
}
