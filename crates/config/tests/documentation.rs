//! The committed documentation and sample are what the code says.

use std::path::{Path, PathBuf};

use vmsgate_config::Config;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
fn configuration_page_is_current() {
    let path = repository("docs/configuration.md");
    let page = vmsgate_config::reference();
    if std::env::var_os("VMSGATE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == page,
        "docs/configuration.md is not current: VMSGATE_UPDATE_DOCS=1 cargo test -p vmsgate-config --test documentation"
    );
}

#[test]
fn sample_has_no_finding() {
    let path = repository("deploy/gateway.toml");
    let config = vmsgate_config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, []);
}

#[test]
fn sample_names_every_key_and_its_commented_lines_load_too() {
    let sample = std::fs::read_to_string(repository("deploy/gateway.toml")).unwrap();
    // A commented setting is `#key = …` or `#[section]`; a remark has a blank after the `#`.
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    let text: String = sample.lines().map(uncomment).collect();
    Config::from_str(&text, "gateway.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));

    let page = vmsgate_config::reference();
    let (keys, _) = page.split_once("## Built-in services").unwrap();
    let keys: Vec<&str> =
        keys.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(keys.len() > 30, "the page's tables changed their form");
    for key in keys {
        let written = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key} = "));
        assert!(sample.lines().any(written), "{key} is missing in deploy/gateway.toml");
    }
}
