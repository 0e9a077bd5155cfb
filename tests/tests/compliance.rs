//! `docs/compliance.md` makes no statement without a proof: every test that it names exists, every section names one,
//! and it speaks of exactly the measures that `vmsgate check --compliance` checks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_test_that_the_compliance_page_names_exists() {
    let page = page();
    let named = proofs(&page);
    assert!(named.len() > 30, "only {named:?}");
    let missing: Vec<_> = named.iter().filter(|(file, test)| !exists(file, test)).collect();
    assert!(missing.is_empty(), "docs/compliance.md names tests that do not exist: {missing:#?}");
}

#[test]
fn every_section_of_the_compliance_page_names_a_proof_or_says_that_it_is_not_ours() {
    let page = page();
    for section in page.split("\n### ").skip(1) {
        let section = section.split("\n## ").next().unwrap();
        let title = section.lines().next().unwrap();
        if section.contains("**Not Vmsgate's.**") {
            assert!(proofs(section).is_empty(), "{title}");
            continue;
        }
        for part in ["**Does.**", "**Setting.**", "**Proof.**", "**Leaves to you.**"] {
            assert!(section.contains(part), "`{title}` lacks {part}");
        }
        assert!(!proofs(section).is_empty(), "`{title}` has no proof");
    }
}

#[test]
fn the_compliance_page_speaks_of_the_measures_that_the_check_knows() {
    let page = page();
    let bracketed = page.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(name, _)| name);
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let described: BTreeSet<_> = bracketed
        .filter(is_name)
        .filter(|name| !["audit", "gateway", "keys", "ship"].contains(name))
        .collect();

    let folder = root().join("gateway/src/commands/check/compliance");
    let sources = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let sources: String = sources.collect();
    let calls = sources.split("Measure::met(").skip(1).filter_map(|call| call.split('"').nth(1));
    assert_eq!(described, calls.collect::<BTreeSet<_>>());
}

#[test]
fn a_proof_that_does_not_exist_is_found() {
    assert!(exists("tests/tests/compliance.rs", "a_proof_that_does_not_exist_is_found"));
    assert!(!exists("tests/tests/compliance.rs", "proofs"), "a function that is no test");
    assert!(!exists("tests/tests/compliance.rs", "a_proof_that_does_not"), "a part of a name");
    assert!(!exists("tests/tests/nowhere.rs", "a_proof_that_does_not_exist_is_found"));
}

/// What stands in backticks as `FILE::TEST`.
fn proofs(text: &str) -> Vec<(String, String)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let named = quoted.filter_map(|quoted| quoted.split_once("::").filter(|(file, _)| file.ends_with(".rs")));
    named.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

/// Whether the file has a function of that name with the attribute of a test.
fn exists(file: &str, test: &str) -> bool {
    let Ok(text) = fs::read_to_string(root().join(file)) else { return false };
    let Some((before, _)) = text.split_once(&format!("fn {test}(")) else { return false };
    let attributes = before.rsplit("\n\n").next().unwrap_or_default();
    let attributes = attributes.rsplit(['}', ';']).next().unwrap_or_default();
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/compliance.md")).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
