//! `docs/security.md` makes no statement without a proof.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use vmsgate_tests::proofs::{missing, page, proofs};

#[test]
fn every_test_that_the_security_page_names_exists() {
    assert_eq!(missing(&page("security.md").unwrap()), []);
}

#[test]
fn every_statement_about_an_attacker_names_its_proof_or_is_among_the_limits() {
    let page = page("security.md").unwrap();
    let attackers = page.split("\n## ").find(|part| part.starts_with("Attackers")).unwrap();
    let mut statements = 0;
    for statement in attackers.split("\n- ").skip(1) {
        let statement = statement.split("\n### ").next().unwrap();
        statements += 1;
        assert!(
            !proofs(statement).is_empty() || statement.contains("see the limits"),
            "no proof: {statement}"
        );
    }
    assert!(statements > 20, "{statements}");
}
