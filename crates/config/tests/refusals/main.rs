//! Every mistake gets one error, with its line and what to do about it.

mod form;
mod gateway;
mod roles;
mod servers;
mod settings;

use vmsgate_config::{Config, Finding, Severity};

/// A file without a finding, to which each test adds one mistake. It has nine lines and an open `[[server]]`.
const BASE: &str = r#"[gateway]
name = "gw-1"
listen = "0.0.0.0:51820"
endpoint = "vpn.example.org:51820"
tunnel = ["10.99.0.0/16", "fd00:99::/64"]

[[server]]
name = "rec01"
address = "192.168.10.21"
services = ["recording-server"]
"#;

/// What [`Config::from_str`] finds: severity, place and message; hint.
type Expected<'a> = &'a [(&'a str, &'a str)];

/// Checks the findings of `text`, all of them and in their order.
#[track_caller]
fn whole(text: &str, expected: Expected<'_>) {
    let findings = match Config::from_str(text, "gateway.toml") {
        Ok(config) => config.warnings,
        Err(errors) => errors.findings,
    };
    let severity = |finding: &Finding| match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let found: Vec<(String, String)> = findings
        .iter()
        .map(|finding| (format!("{} {finding}", severity(finding)), finding.hint.clone().unwrap_or_default()))
        .collect();
    let found: Vec<(&str, &str)> = found.iter().map(|(what, hint)| (what.as_str(), hint.as_str())).collect();
    assert_eq!(found, expected);
}

/// Checks the findings of the base with `from` replaced by `to`.
#[track_caller]
fn replaced(from: &str, to: &str, expected: Expected<'_>) {
    assert!(BASE.contains(from), "{from}");
    whole(&BASE.replacen(from, to, 1), expected);
}

/// Checks the findings of the base with `more` at its end.
#[track_caller]
fn added(more: &str, expected: Expected<'_>) {
    whole(&format!("{BASE}{more}"), expected);
}

#[test]
fn the_base_has_no_finding() {
    whole(BASE, &[]);
}
