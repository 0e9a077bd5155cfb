//! Results: one line of JSON for each measurement, and a table of medians.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;

/// One measured value.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What was measured, e.g. `down 16 flows`.
    pub case: String,
    /// Through what, e.g. `shim`.
    pub path: String,
    /// The quantity with its unit, e.g. `Gbit/s`.
    pub quantity: &'static str,
    /// The value.
    pub value: f64,
}

/// Where measurements go.
#[derive(Debug, Default)]
pub struct Report {
    file: Option<File>,
    all: Vec<Measurement>,
}

impl Report {
    /// Appends every measurement to `file`, if there is one.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn new(file: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("Failed to open {}", path.display()))
        };
        Ok(Self { file: file.map(open).transpose()?, all: Vec::new() })
    }

    /// Takes one down.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, case: &str, path: &str, quantity: &'static str, value: f64) -> Result<()> {
        let measurement = Measurement { case: case.to_owned(), path: path.to_owned(), quantity, value };
        crate::say(&format!("{case}, {path}: {value:.3} {quantity}"));
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", serde_json::to_string(&measurement)?)?;
        }
        self.all.push(measurement);
        Ok(())
    }

    /// Medians, with the smallest and largest value and how many there were.
    #[must_use]
    pub fn table(&self) -> String {
        let mut cases: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for Measurement { case, path, quantity, value } in &self.all {
            cases.entry((case, *quantity, path)).or_default().push(*value);
        }
        let mut table = format!("{:<28} {:<20} {:<10} {:>10}  range\n", "case", "quantity", "path", "median");
        for ((case, quantity, path), mut values) in cases {
            values.sort_by(f64::total_cmp);
            let (first, last) =
                (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0));
            let (median, count) = (median(&values), values.len());
            table += &format!(
                "{case:<28} {quantity:<20} {path:<10} {median:>10.3}  {first:.3} to {last:.3} ({count})\n"
            );
        }
        table
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.get(middle.saturating_sub(1)..=middle) {
        Some([low, high]) if sorted.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        _ => sorted.get(middle).copied().unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[1.0, 2.0]), 1.5);
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    }
}
