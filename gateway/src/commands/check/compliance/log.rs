//! The audit log: complete, provable, kept as long as it may be, with the right time.

use jiff::{SignedDuration, Timestamp};
use vmsgate_audit::UtcTime;
use vmsgate_config::{Config, Durability, OnFailure};

use super::{
    facts::{Clock, Facts},
    measure::Measure,
};

/// An anchor older than this does not count: once a month is what people manage.
const RECENT: SignedDuration = SignedDuration::from_hours(31 * 24);

pub fn complete(config: &Config) -> Measure {
    let late = (config.audit.durability == Durability::Soon)
        .then(|| "a flow's record may be written up to 200 ms after its first packet".to_owned());
    let lossy = (config.audit.on_failure == OnFailure::Continue)
        .then(|| "flows go on unrecorded while records cannot be written".to_owned());
    Measure::met(
        "complete",
        "nothing is reached without a record of it",
        &["AU-2", "AU-3", "AU-5", "logging"],
    )
    .unless(
        late.into_iter().chain(lossy),
        "in `[audit]`, leave `durability` at \"before-forward\" and `on-failure` at \"refuse\"",
    )
}

pub fn signed(facts: &Facts) -> Measure {
    let missing = (!facts.audit_key).then(|| "the installation has no audit signing key".to_owned());
    Measure::met("signed", "the log is signed, so that an edit shows", &["AU-9", "AU-10", "logging"])
        .unless(missing, "start the gateway once: it makes the key")
}

/// Whoever owns the machine can replace log and key together; only a copy elsewhere shows that.
pub fn anchored(config: &Config, facts: &Facts) -> Measure {
    let measure =
        Measure::met("anchored", "a copy elsewhere shows that the log was replaced", &["AU-9", "AU-10"]);
    // A receiver holds the chain only if nothing is kept from it.
    if let Some(ship) = config.ships.iter().find(|ship| ship.kinds.is_empty()) {
        return measure.note(format!("the receiver `{}` gets every record", ship.name));
    }
    let problem = match facts.last_anchor {
        Some(time) if is_recent(time, facts.now) => {
            return measure.note(format!("a checkpoint was printed on {time}"));
        }
        Some(time) => format!("the newest checkpoint was printed on {time}"),
        None => "no receiver gets every record, and no checkpoint was printed yet".to_owned(),
    };
    measure.unless(
        [problem],
        "add a `[[ship]]` section, or keep what `vmsgate audit checkpoint` prints on another machine",
    )
}

pub fn retention(config: &Config) -> Measure {
    let kept = &config.audit.retention;
    let classes = [
        ("sessions", kept.sessions),
        ("flows", kept.flows),
        ("denials", kept.denials),
        ("handshakes", kept.handshakes),
        ("gateway", kept.gateway),
        ("admin", kept.admin),
    ];
    let endless = classes.iter().filter(|(_, kept)| kept.is_none());
    let endless = endless.map(|(class, _)| format!("records of {class} are kept for ever"));
    Measure::met("retention", "records are deleted once they are no longer needed", &["AU-11", "storage"])
        .unless(endless, "decide how long you need them, and set `retention-…` in `[audit]`")
}

pub fn clock(facts: &Facts) -> Measure {
    let measure = Measure::met("clock", "records carry the right time", &["AU-8"]);
    match facts.clock {
        Clock::Synchronised => measure.note("systemd-timesyncd has synchronised the clock"),
        Clock::Unknown => measure.unknown(
            "whether the clock is synchronised cannot be seen from here",
            "make sure that a time service runs: `timedatectl`, or `chronyc tracking`",
        ),
    }
}

fn is_recent(time: UtcTime, now: Timestamp) -> bool {
    let time = Timestamp::from_millisecond(time.unix_ms()).unwrap_or(Timestamp::MIN);
    now.duration_since(time) <= RECENT
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            facts::tests::{config, facts},
            measure::State,
        },
        *,
    };

    #[test]
    fn weaker_settings_of_the_log_are_named() {
        let weak = complete(&config("[audit]\ndurability = \"200ms\"\non-failure = \"continue\"\n"));

        assert_eq!(weak.reasons.len(), 2, "{weak:?}");
        assert_eq!(complete(&config("")).state, State::Met);
    }

    #[test]
    fn a_log_without_a_copy_elsewhere_is_not_anchored() {
        let (alone, mut facts) = (config(""), facts());
        let ship = "[[ship]]\nname = \"siem\"\nto = \"syslog+tls://192.0.2.9:6514\"\n";
        assert_eq!(anchored(&alone, &facts).state, State::NotMet);
        assert_eq!(anchored(&config(ship), &facts).state, State::Met);
        let part = format!("{ship}kinds = [\"session.*\"]\n");
        assert_eq!(anchored(&config(&part), &facts).state, State::NotMet);

        facts.last_anchor = Some(UtcTime::from(facts.now));
        assert_eq!(anchored(&alone, &facts).state, State::Met);
        facts.last_anchor = Some(UtcTime::from(facts.now - SignedDuration::from_hours(32 * 24)));
        assert_eq!(anchored(&alone, &facts).state, State::NotMet);
    }

    #[test]
    fn records_that_nothing_deletes_are_named() {
        let kept = retention(&config("[audit]\nretention-handshakes = \"0s\"\nretention-admin = \"0s\"\n"));

        assert_eq!(
            kept.reasons,
            ["handshakes", "admin"].map(|class| format!("records of {class} are kept for ever"))
        );
        assert_eq!(retention(&config("")).state, State::Met);
    }

    #[test]
    fn what_cannot_be_found_out_is_unknown_and_never_met() {
        assert_eq!(clock(&facts()).state, State::Unknown);
    }

    #[test]
    fn a_log_without_a_key_is_not_signed() {
        let mut facts = facts();
        assert_eq!(signed(&facts).state, State::NotMet);

        facts.audit_key = true;
        assert_eq!(signed(&facts).state, State::Met);
    }
}
