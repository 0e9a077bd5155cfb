//! The ports of a scan, short enough for one record.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of ports, written like `22,80-90,1433`.
///
/// At its worst, every second of all 65,536 ports, it is 200 kB long: a scanning client can't blow up a record.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// Ranges may overlap and come in any order; empty ones do not count.
    pub fn new(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        sorted.sort_by_key(|range| (*range.start(), *range.end()));
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in sorted {
            match merged.last_mut() {
                Some(last) if u32::from(*range.start()) <= u32::from(*last.end()) + 1 => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// In ascending order, with gaps between them.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a list of ports such as `22,80-90`")]
pub struct MalformedPorts;

impl FromStr for Ports {
    type Err = MalformedPorts;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => digits.parse::<u16>().map_err(|_| MalformedPorts),
            false => Err(MalformedPorts),
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = port(first)?..=port(last)?;
            if range.is_empty() { Err(MalformedPorts) } else { Ok(range) }
        };
        if text.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self::new(text.split(',').map(range).collect::<Result<Vec<_>, _>>()?))
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_overlaps_become_one_range() {
        let ports = Ports::new([1433..=1433, 80..=85, 84..=90, 22..=22, 91..=91, 65_535..=65_535, 0..=0]);
        assert_eq!(ports.to_string(), "0,22,80-91,1433,65535");
        assert_eq!(Ports::new([0..=65_535, 7..=9]).to_string(), "0-65535");
        assert!(ports.contains(91) && !ports.contains(92));
        assert!(Ports::new([RangeInclusive::new(9, 7)]).is_empty());
    }

    #[test]
    fn text_reads_back_and_nonsense_is_refused() {
        for text in ["", "22", "22,80-90,1433", "0-65535"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
        for bad in [",", "22,", "-", "1-", "-1", "90-80", "65536", "+22", " 22", "0x16", "1-2-3", "１"] {
            assert_eq!(bad.parse::<Ports>(), Err(MalformedPorts), "{bad:?}");
        }
    }

    #[test]
    fn the_worst_scan_still_fits_into_a_record() {
        let every_second = Ports::new((0..32_768u16).map(|n| 2 * n..=2 * n));
        assert!(every_second.to_string().len() < 200_000);
    }
}
