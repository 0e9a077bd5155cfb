//! Points in time as the audit log knows them: UTC, whole milliseconds.

use std::{fmt, str::FromStr, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, UTC, to the millisecond, from 1970 to 9999.
///
/// Its text is always `2026-03-01T09:30:00.125Z`: one length, one zone, so that text order is time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(jiff::Timestamp);

const EARLIEST: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;
/// The last whole second that jiff can name, 9999-12-30T22:00:00Z.
const LATEST: jiff::Timestamp = jiff::Timestamp::constant(253_402_207_200, 0);

impl UtcTime {
    /// From milliseconds since 1970; a value outside the range becomes the nearest bound.
    pub fn from_unix_ms(ms: i64) -> Self {
        let nearest = if ms < 0 { EARLIEST } else { LATEST };
        Self(jiff::Timestamp::from_millisecond(ms).unwrap_or(nearest).clamp(EARLIEST, LATEST))
    }

    pub fn unix_ms(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Milliseconds from `earlier` to here; 0 when the clock went backwards in between.
    pub fn ms_since(self, earlier: UtcTime) -> u64 {
        u64::try_from(self.unix_ms() - earlier.unix_ms()).unwrap_or(0)
    }
}

impl From<SystemTime> for UtcTime {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

impl From<jiff::Timestamp> for UtcTime {
    fn from(time: jiff::Timestamp) -> Self {
        Self::from_unix_ms(time.as_millisecond())
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl FromStr for UtcTime {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(Self::from)
    }
}

impl Serialize for UtcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_always_has_three_decimals_and_reads_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_772_357_400_000, "2026-03-01T09:30:00.000Z"),
            (1_772_357_400_125, "2026-03-01T09:30:00.125Z"),
        ] {
            assert_eq!(UtcTime::from_unix_ms(ms).to_string(), text);
            assert_eq!(text.parse::<UtcTime>().unwrap(), UtcTime::from_unix_ms(ms));
        }
    }

    #[test]
    fn impossible_times_become_the_nearest_bound() {
        assert_eq!(UtcTime::from_unix_ms(i64::MIN).unix_ms(), 0);
        assert!(UtcTime::from_unix_ms(i64::MAX).to_string().starts_with("9999-12-"));
        let before_1970 = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
        assert_eq!(UtcTime::from(before_1970).unix_ms(), 0);
    }
}
