use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::{
    records::{admin_records, site_with_records},
    site::Site,
};

#[tokio::test]
async fn an_export_is_json_lines_and_goes_on_record() {
    let site = site_with_records().await;
    let outcome = site.vmsgate(&["audit", "export", "--client", "anna-laptop"]);
    assert!(outcome.starts_with("exit 0\n-- out\n{\"chain\":\"gateway/gw-1\""), "{outcome}");
    assert!(outcome.ends_with("-- err\n5 records exported\n"), "{outcome}");
    let admin = admin_records(&site).await;
    assert_eq!(admin[0].act.as_str(), "audit.export");
    let filters = json!({"client": "anna-laptop", "format": "jsonl", "pseudonymised": false});
    assert_eq!(admin[0].after.as_ref().unwrap().value(), &json!({"filters": filters, "rows": 5}));
}

#[tokio::test]
async fn an_exported_file_is_private_and_replaces_nothing() {
    let site = site_with_records().await;
    let export = |args: &[&str]| site.vmsgate(&[&["audit", "export", "--out", "log.csv"], args].concat());
    let outcome = export(&["--format", "csv"]);
    assert_eq!(outcome, "exit 0\n-- out\n-- err\n6 records exported\n");
    let text = fs::read_to_string(site.path("log.csv")).unwrap();
    assert!(text.starts_with("chain,seq,time,kind,session,client,operator,"), "{text}");
    assert_eq!(text.lines().count(), 7);
    assert_eq!(mode(&site, "log.csv"), 0o600);
    let again = export(&[]);
    assert!(again.starts_with("exit 1\n-- out\n-- err\nerror: log.csv exists already\n"), "{again}");
    assert_eq!(fs::read_to_string(site.path("log.csv")).unwrap(), text);
}

#[tokio::test]
async fn pseudonymised_exports_join_by_their_mapping_and_hold_no_name() {
    let site = site_with_records().await;
    let export = |out: &str, mapping: &str| {
        let outcome =
            site.vmsgate(&["audit", "export", "--pseudonymise", "--mapping", mapping, "--out", out]);
        assert!(outcome.starts_with("exit 0\n"), "{outcome}");
        let text = fs::read_to_string(site.path(out)).unwrap();
        let operators = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let first = operators.map(|record| record["session"]["operator"].clone()).find(|o| !o.is_null());
        (first.unwrap().as_str().unwrap().to_owned(), text)
    };
    let (first, text) = export("one.jsonl", "mapping.json");
    for name in ["Anna Berg", "anna-laptop", "203.0.113.7", "10.99.0.2", "0123456789abcdef", "bo-pc"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    assert_eq!(mode(&site, "mapping.json"), 0o600);
    assert!(fs::read_to_string(site.path("mapping.json")).unwrap().contains("Anna Berg"));
    assert_eq!(export("two.jsonl", "mapping.json").0, first);
    assert_ne!(export("three.jsonl", "other.json").0, first);
}

#[tokio::test]
async fn a_file_that_is_no_mapping_stays_as_it_is() {
    let site = site_with_records().await;
    let before = fs::read(site.path("gateway.toml")).unwrap();
    let outcome = site.vmsgate(&["audit", "export", "--pseudonymise", "--mapping", "gateway.toml"]);
    assert!(outcome.starts_with("exit 1\n-- out\n-- err\nerror: gateway.toml cannot be used"), "{outcome}");
    assert_eq!(fs::read(site.path("gateway.toml")).unwrap(), before);
    let alone = site.vmsgate(&["audit", "export", "--pseudonymise"]);
    assert!(alone.starts_with("exit 2\n") && alone.contains("--mapping <FILE>"), "{alone}");
}

fn mode(site: &Site, name: &str) -> u32 {
    fs::metadata(site.path(name)).unwrap().permissions().mode() & 0o777
}
