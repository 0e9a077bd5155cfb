//! Points in time as arguments: `--since 24h`, `--expires 90d`, `2026-11-24T10:00:00Z`.

use std::{str::FromStr, time::Duration};

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil};

/// A point in time, given either absolutely or by its distance from now.
///
/// Accepted: `now`; a distance in weeks, days, hours, minutes, seconds (`90d`, `1h30m`, `2 weeks`), where a day
/// has 24 hours; an RFC 3339 time with its offset; a time without one, meaning UTC; a date, meaning its first moment in
/// UTC. Months and years are refused because their length depends on the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeArg {
    At(Timestamp),
    Distance(Duration),
}

impl TimeArg {
    /// The time meant by an argument that looks back, such as `--since 24h`.
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Distance(distance) => now.saturating_sub(signed(distance)).unwrap_or(Timestamp::MIN),
        }
    }

    /// The time meant by an argument that looks ahead, such as `--expires 90d`.
    pub fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Distance(distance) => now.saturating_add(signed(distance)).unwrap_or(Timestamp::MAX),
        }
    }
}

impl FromStr for TimeArg {
    type Err = TimeArgError;

    fn from_str(text: &str) -> Result<Self, TimeArgError> {
        let text = text.trim();
        if text == "now" {
            return Ok(Self::Distance(Duration::ZERO));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::At(time));
        }
        // A time with an offset or the name of a zone was read above, or is not understood: its digits alone mean
        // another time.
        let has_zone = text.contains(['[', '+', 'Z', 'z']) || text.matches('-').count() > 2;
        if let (false, Ok(time)) = (has_zone, text.parse::<civil::DateTime>()) {
            let time = time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| TimeArgError::Unreadable)?;
            return Ok(Self::At(time.timestamp()));
        }
        parse_duration(text).map(Self::Distance)
    }
}

/// Reads a length of time such as `90d`, `1h30m` or `15s`.
pub fn parse_duration(text: &str) -> Result<Duration, TimeArgError> {
    let span: Span = text.parse().map_err(|_| TimeArgError::Unreadable)?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(TimeArgError::Calendar);
    }
    let length =
        span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| TimeArgError::Unreadable)?;
    Duration::try_from(length).map_err(|_| TimeArgError::Negative)
}

/// Why a time argument was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeArgError {
    #[error("expected a length such as `90d` or `1h30m`, a date, or a time such as `2026-11-24T10:00:00Z`")]
    Unreadable,
    #[error("months and years differ in length; give days or a date")]
    Calendar,
    #[error("a length of time cannot be negative")]
    Negative,
}

/// Beyond what the type can hold, any distance reaches the end of time.
fn signed(distance: Duration) -> SignedDuration {
    SignedDuration::try_from(distance).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-24T10:00:00Z";

    fn after(text: &str) -> String {
        text.parse::<TimeArg>().unwrap().after(NOW.parse().unwrap()).to_string()
    }

    #[test]
    fn a_distance_counts_from_now() {
        assert_eq!(after("90d"), "2027-02-22T10:00:00Z");
        assert_eq!(after("1h30m"), "2026-11-24T11:30:00Z");
        assert_eq!(after("now"), NOW);
        assert_eq!(
            "24h".parse::<TimeArg>().unwrap().before(NOW.parse().unwrap()).to_string(),
            "2026-11-23T10:00:00Z"
        );
    }

    #[test]
    fn a_date_and_a_time_mean_themselves() {
        assert_eq!(after("2027-01-01"), "2027-01-01T00:00:00Z");
        assert_eq!(after("2027-01-01T00:00:00+02:00"), "2026-12-31T22:00:00Z");
        assert_eq!(after("2027-01-01 10:30"), "2027-01-01T10:30:00Z");
        assert_eq!(after("2027-01-01T10:30:05.250"), "2027-01-01T10:30:05.25Z");
    }

    #[test]
    fn what_has_no_single_meaning_is_refused() {
        assert_eq!("1y".parse::<TimeArg>(), Err(TimeArgError::Calendar));
        assert_eq!("-1h".parse::<TimeArg>(), Err(TimeArgError::Negative));
        for text in ["", "90", "soon", "2026-13-01", "90dd", "2026-01-01T10:00[Europe/Oslo]", "\u{0}"] {
            assert_eq!(text.parse::<TimeArg>(), Err(TimeArgError::Unreadable), "{text:?}");
        }
    }

    #[test]
    fn an_endless_distance_ends_at_the_end_of_time() {
        let endless = TimeArg::Distance(Duration::MAX);

        assert_eq!(endless.after(Timestamp::UNIX_EPOCH), Timestamp::MAX);
        assert_eq!(endless.before(Timestamp::UNIX_EPOCH), Timestamp::MIN);
    }
}
