//! Sizes, rates and times written for people. Scripts read the JSON output instead, where units are fixed.

use std::time::Duration;

use jiff::Timestamp;

/// A number of bytes in decimal units, as disks and networks are sold: `1.5 MB`.
pub fn bytes(count: u64) -> String {
    scaled(count as f64, "B", &["kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A rate given in bits per second: `4.1 Mbit/s`.
pub fn bit_rate(bits_per_second: f64) -> String {
    scaled(bits_per_second, "bit/s", &["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

/// A length of time in its two largest units: `3d 4h`, `2m 5s`, `850 ms`.
pub fn duration(length: Duration) -> String {
    if length < Duration::from_secs(1) {
        return format!("{} ms", length.as_millis());
    }
    let seconds = length.as_secs();
    let units =
        [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let used = units.iter().skip_while(|(_, amount)| *amount == 0).take(2);
    let parts: Vec<_> =
        used.filter(|(_, amount)| *amount > 0).map(|(unit, n)| format!("{n}{unit}")).collect();
    parts.join(" ")
}

/// A point in time to the second: `2026-11-24 10:00:03 UTC`.
pub fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Text from elsewhere with control and direction-changing characters escaped, safe to show on a terminal.
pub fn printable(text: &str) -> String {
    crate::table::printable(text)
}

/// Three significant digits at most, and never `1000 kB` where `1.0 MB` is meant.
fn scaled(value: f64, unit: &str, larger: &[&str]) -> String {
    let (mut value, mut unit, mut plain) = (value, unit, true);
    for next in larger {
        if value < 999.5 {
            break;
        }
        (value, unit, plain) = (value / 1000.0, next, false);
    }
    if plain || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_a_unit_that_fits() {
        let written = [0, 999, 1000, 1500, 99_949, 999_499, 999_500, 1_500_000, u64::MAX].map(bytes);

        let expected =
            ["0 B", "999 B", "1.0 kB", "1.5 kB", "99.9 kB", "999 kB", "1.0 MB", "1.5 MB", "18.4 EB"];
        assert_eq!(written, expected);
    }

    #[test]
    fn rates_are_in_bits() {
        assert_eq!(bit_rate(4_100_000.0), "4.1 Mbit/s");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        let written =
            [0, 850, 5_000, 125_000, 3_600_000, 273_600_000].map(|ms| duration(Duration::from_millis(ms)));

        assert_eq!(written, ["0 ms", "850 ms", "5s", "2m 5s", "1h", "3d 4h"]);
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time(Timestamp::UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
    }
}
