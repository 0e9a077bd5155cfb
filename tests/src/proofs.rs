//! Pages that make no statement without a test: what they name as proof exists.

use std::fs;

use anyhow::{Context, Result};

use crate::checkout;

/// A page of the documentation.
///
/// # Errors
/// When it cannot be read.
pub fn page(name: &str) -> Result<String> {
    fs::read_to_string(checkout().join("docs").join(name)).with_context(|| format!("Failed to read {name}"))
}

/// What stands in backticks as `FILE::TEST`.
#[must_use]
pub fn proofs(text: &str) -> Vec<(String, String)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let named = quoted.filter_map(|quoted| quoted.split_once("::").filter(|(file, _)| file.ends_with(".rs")));
    named.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

/// The proofs in `text` that do not exist.
#[must_use]
pub fn missing(text: &str) -> Vec<(String, String)> {
    proofs(text).into_iter().filter(|(file, test)| !exists(file, test)).collect()
}

/// Whether the file has a function of that name with the attribute of a test.
#[must_use]
pub fn exists(file: &str, test: &str) -> bool {
    let Ok(text) = fs::read_to_string(checkout().join(file)) else { return false };
    let Some((before, _)) = text.split_once(&format!("fn {test}(")) else { return false };
    let attributes = before.rsplit("\n\n").next().unwrap_or_default();
    let attributes = attributes.rsplit(['}', ';']).next().unwrap_or_default();
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}
