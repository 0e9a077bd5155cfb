//! `docs/compliance.md` makes no statement without a proof: every test that it names exists, every section names one,
//! and it speaks of exactly the measures that `vmsgate check --compliance` checks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs};

use vmsgate_tests::{
    checkout,
    proofs::{self, exists, missing, proofs},
};

#[test]
fn every_test_that_the_compliance_page_names_exists() {
    let page = page();
    let named = proofs(&page);
    assert!(named.len() > 30, "only {named:?}");
    assert_eq!(missing(&page), []);
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

    let folder = checkout().join("gateway/src/commands/check/compliance");
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

fn page() -> String {
    proofs::page("compliance.md").unwrap()
}
