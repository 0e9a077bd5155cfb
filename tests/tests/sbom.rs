//! `deploy/sbom` names what the programs are made of, as the lock file holds it, and the same each time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use vmsgate_tests::{binaries::PROGRAMS, checkout, process::capture, require::has};

#[test]
fn the_bill_of_materials_has_every_library_with_the_lock_files_checksum_and_a_licence() {
    if !has(&["python3", "cargo", "git"]) {
        return;
    }
    let root = checkout();
    let print = || capture(&mut Command::new(root.join("deploy/sbom"))).unwrap();
    let text = print();
    assert_eq!(text, print());
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let lock: toml::Value = toml::from_str(&fs::read_to_string(root.join("Cargo.lock")).unwrap()).unwrap();
    let locked: BTreeMap<String, Option<&str>> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
            (format!("pkg:cargo/{}@{}", text("name").unwrap(), text("version").unwrap()), text("checksum"))
        })
        .collect();

    let mut named = BTreeSet::new();
    for component in document["components"].as_array().unwrap() {
        let name = component["purl"].as_str().unwrap();
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        assert_eq!(
            component.pointer("/hashes/0/content").and_then(|hash| hash.as_str()),
            locked[name],
            "{name}"
        );
        assert!(named.insert(name.to_owned()), "{name} twice");
    }
    let has = |name: &str| named.iter().any(|one| one.starts_with(&format!("pkg:cargo/{name}@")));
    for name in PROGRAMS.iter().chain(&["boringtun", "smoltcp", "libsqlite3-sys", "ring", "vmsgate-tunnel"]) {
        assert!(has(name), "{name} is missing");
    }
    for name in ["vmsgate-tests", "criterion", "windows-sys"] {
        assert!(!has(name), "{name} is in no program for Linux");
    }
    let whole = document["metadata"]["component"]["bom-ref"].as_str().unwrap();
    for entry in document["dependencies"].as_array().unwrap() {
        let name = entry["ref"].as_str().unwrap();
        assert!(name == whole || named.contains(name), "{name}");
        for needed in entry["dependsOn"].as_array().unwrap() {
            assert!(named.contains(needed.as_str().unwrap()), "{name} needs {needed}");
        }
    }
}
