//! The alert rules and the dashboard ask for metrics that there are, promtool accepts them, and each alert has its page.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;
use vmsgate_tests::{checkout, process::capture, require::has};

fn text(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap()
}

/// Another test compares these with what the gateway serves.
fn documented() -> BTreeSet<String> {
    let page = text("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next()).map(ToOwned::to_owned);
    names.filter(|name| name.starts_with("vmsgate_") || name.starts_with("process_")).collect()
}

/// Words of an expression that look like one of our metrics.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("vmsgate_") || word.starts_with("process_"));
    ours.map(ToOwned::to_owned).collect()
}

fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "expr" || name == "query" => found.push(text.clone()),
                    other => queries(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

/// Name and expression of each alert.
fn alerts() -> Vec<(String, String)> {
    let rules = text("deploy/prometheus/alerts.yaml");
    let field = |line: &str, name: &str| line.trim().strip_prefix(name).map(|rest| rest.trim().to_owned());
    let names = rules.lines().filter_map(|line| field(line, "- alert:"));
    let expressions = rules.lines().filter_map(|line| field(line, "expr:"));
    let alerts: Vec<_> = names.zip(expressions).collect();
    assert_eq!(alerts.len(), rules.matches("- alert:").count());
    assert_eq!(alerts.len(), rules.matches("expr:").count());
    alerts
}

#[test]
fn every_alert_asks_for_a_metric_that_there_is() {
    let known = documented();
    for (alert, expression) in alerts() {
        let asked = named(&expression);
        assert!(!asked.is_empty() || expression.starts_with("up{"), "{alert} asks for nothing: {expression}");
        assert!(asked.is_subset(&known), "{alert}: {:?}", asked.difference(&known));
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_none_that_there_is_not() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/vmsgate.json")).unwrap();
    let mut expressions = Vec::new();
    queries(&dashboard, &mut expressions);
    let shown: BTreeSet<String> = expressions.iter().flat_map(|expression| named(expression)).collect();
    assert_eq!(shown, documented());
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let pages = text("docs/troubleshooting.md");
    let pages = pages.lines().filter_map(|line| line.strip_prefix("### ")).map(ToOwned::to_owned);
    let pages: BTreeSet<String> = pages.filter(|title| title.starts_with("Vmsgate")).collect();
    let alerts: BTreeSet<String> = alerts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(pages, alerts);
    let rules = text("deploy/prometheus/alerts.yaml");
    for name in alerts {
        let anchor = format!("runbook: docs/troubleshooting.md#{}", name.to_lowercase());
        assert!(rules.contains(&anchor), "{name} does not lead to its page");
    }
}

#[test]
fn promtool_accepts_the_rules_and_each_fires_when_it_should_and_on_no_ordinary_day() {
    if !has(&["promtool"]) {
        return;
    }
    let promtool = |arguments: &[&str]| {
        let mut promtool = Command::new("promtool");
        capture(promtool.args(arguments).current_dir(checkout().join("deploy/prometheus"))).unwrap()
    };
    let checked = promtool(&["check", "rules", "alerts.yaml"]);
    assert!(checked.contains(&format!("SUCCESS: {} rules found", alerts().len())), "{checked}");
    promtool(&["test", "rules", "alerts.test.yaml"]);
    let cases = text("deploy/prometheus/alerts.test.yaml");
    for (name, _) in alerts() {
        assert!(cases.contains(&format!("alertname: {name}\n")), "no case in which {name} fires");
        assert!(cases.contains(&format!("alertname: {name}, exp_alerts: []")), "no case without {name}");
    }
}
