//! Durations (`30s`, `1h30m`), sizes (`256MiB`) and rates (`20Mbit/s`) as text.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
const SIZE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
/// Decimal, as everywhere where bits per second are counted.
const RATE_UNITS: [(&str, u64); 3] = [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1000)];

/// Parses whole seconds, minutes, hours and days, the largest unit first.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total, mut units) = (text, 0_u64, DURATION_UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let (unit, tail) = tail.split_at_checked(1)?;
        let index = units.iter().position(|(name, _)| *name == unit)?;
        let (_, seconds) = units.get(index)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*seconds)?)?;
        units = units.get(index + 1..)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_secs(total))
}

/// Writes whole seconds as [`parse_duration`] reads them.
pub(crate) fn format_duration(seconds: u64) -> String {
    let (mut rest, mut text) = (seconds, String::new());
    for (unit, size) in DURATION_UNITS {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Parses a whole number of KiB, MiB or GiB into bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, factor) =
        SIZE_UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes bytes in the largest unit that leaves a whole number.
pub(crate) fn format_size(bytes: u64) -> String {
    match SIZE_UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes} bytes"),
    }
}

/// Parses a whole number of kbit/s, Mbit/s or Gbit/s into bits per second.
pub(crate) fn parse_rate(text: &str) -> Option<u64> {
    let (number, factor) =
        RATE_UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes bits per second in the largest unit that leaves a whole number.
pub fn format_rate(bits: u64) -> String {
    match RATE_UNITS.iter().find(|(_, factor)| bits >= *factor && bits.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bits / factor),
        None => format!("{bits} bit/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_survive_a_round_trip() {
        for text in ["1s", "30s", "1m30s", "12h", "1d12h", "7d"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(format_duration(duration.as_secs()), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "s", "-1s", "1.5h", "1s1h", "1s1s", "1w", "1 s", "99999999999999999999d", "1é"]
        {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
        assert_eq!(parse_duration("213503982334602d"), None, "too large to count");
    }

    #[test]
    fn rates_survive_a_round_trip_and_need_a_unit() {
        for text in ["64kbit/s", "20Mbit/s", "1Gbit/s"] {
            assert_eq!(format_rate(parse_rate(text).unwrap()), text);
        }
        for text in
            ["", "20", "20M", "20Mbit", "20MB/s", "20mbit/s", "1.5Mbit/s", "Mbit/s", "-1Mbit/s", "20 Mbit/s"]
        {
            assert_eq!(parse_rate(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_survive_a_round_trip_and_need_a_unit() {
        for text in ["64KiB", "4MiB", "1GiB"] {
            assert_eq!(format_size(parse_size(text).unwrap()), text);
        }
        for text in ["", "4", "4MB", "KiB", "-1KiB", "+1KiB", "99999999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }
}
