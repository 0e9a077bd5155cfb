use serde_json::json;
use vmsgate_keys::registry::Presence;

use crate::site::{CONFIG, Site, json, without_policy};

#[test]
fn a_good_file_is_valid() {
    let outcome = Site::new(CONFIG).vmsgate(&["check"]);
    assert_eq!(
        without_policy(&outcome),
        "exit 0\n-- out\ngateway.toml: valid; 2 servers, 5 roles, policy version [POLICY]\n-- err\n"
    );
}

#[test]
fn every_problem_is_listed_with_line_and_hint() {
    let broken =
        CONFIG.replace("name = \"gw-1\"", "nmae = \"gw-1\"").replace("\"rec01:wide\"", "\"rec01:wied\"");
    let outcome = Site::new(&broken).vmsgate(&["check"]);
    assert!(outcome.starts_with("exit 1\n-- out\n"), "{outcome}");
    assert!(outcome.contains("gateway.toml:3: error: "), "{outcome}");
    assert!(outcome.contains("gateway.toml:25: error: "), "{outcome}");
    assert!(outcome.contains("`name`") && outcome.contains("`wide`"), "{outcome}");
    assert!(outcome.contains("\n  hint: "), "{outcome}");
    assert!(outcome.contains("\ngateway.toml: not usable: ") && outcome.ends_with("-- err\n"), "{outcome}");
}

#[test]
fn a_warning_alone_is_no_failure() {
    let unused = format!("{CONFIG}\n[role.empty]\nallow = [\"nothing*:recording-server\"]\n");
    let outcome = Site::new(&unused).vmsgate(&["check"]);
    assert!(outcome.starts_with("exit 0\n-- out\ngateway.toml:"), "{outcome}");
    assert!(outcome.contains(": warning: "), "{outcome}");
    assert!(outcome.contains("\ngateway.toml: valid, "), "{outcome}");
}

#[test]
fn scripts_get_the_same_as_one_document() {
    let good = json(&Site::new(CONFIG).vmsgate(&["check", "--json"]));
    assert_eq!(
        (&good["schema_version"], &good["ok"], &good["findings"]),
        (&json!(1), &json!(true), &json!([]))
    );

    let broken = CONFIG.replace("\"rec01:wide\"", "\"rec01:wied\"");
    let outcome = Site::new(&broken).vmsgate(&["check", "--json"]);
    assert!(outcome.starts_with("exit 1\n"), "{outcome}");
    let report = json(&outcome);
    assert_eq!((&report["ok"], &report["policy_version"]), (&json!(false), &json!(null)));
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["severity"], &finding["file"], &finding["line"]),
        (&json!("error"), &json!("gateway.toml"), &json!(25))
    );
}

/// A fresh installation meets what has a safe default, and is told what is left to do.
#[tokio::test]
async fn compliance_names_what_is_not_met_and_why_and_changes_nothing() {
    let site = Site::new(CONFIG);
    site.initialise().await.registry.close().await;
    let before = std::fs::read(site.data().database()).unwrap();

    let outcome = site.vmsgate(&["check", "--compliance", "--json"]);

    assert!(outcome.starts_with("exit 1\n"), "{outcome}");
    let report = json(&outcome);
    assert_eq!((&report["schema_version"], &report["ok"]), (&json!(1), &json!(false)));
    let state = |id: &str| {
        let measures = report["measures"].as_array().unwrap();
        measures.iter().find(|measure| measure["id"] == id).unwrap_or_else(|| panic!("no {id}"))["state"]
            .clone()
    };
    for met in
        ["tunnel", "encrypted-receivers", "post-quantum", "administrators", "complete", "signed", "retention"]
    {
        assert_eq!(state(met), "met", "{met}: {outcome}");
    }
    for not_met in ["tls-to-servers", "expiry", "anchored"] {
        assert_eq!(state(not_met), "not-met", "{not_met}: {outcome}");
    }
    let text = site.vmsgate(&["check", "--compliance"]);
    assert!(text.contains("client `anna-laptop` of Anna Berg never expires"), "{text}");
    assert!(text.contains("rec01:recording-server may be reached in clear text"), "{text}");
    assert!(text.contains(" not met, "), "{text}");
    assert_eq!(std::fs::read(site.data().database()).unwrap(), before);
}

#[test]
fn compliance_of_what_is_no_installation_is_said() {
    let outcome = Site::new(CONFIG).vmsgate(&["check", "--compliance"]);

    assert!(
        outcome.starts_with("exit 1\n-- out\n-- err\nerror: ") && outcome.contains("\nhint: "),
        "{outcome}"
    );
}

/// A file is checked anywhere; beside a registry the check says whom it shuts out.
#[tokio::test]
async fn roles_that_require_post_quantum_keys_are_told_and_so_are_the_clients_without() {
    let insisting = format!(
        "{CONFIG}\n[role.smart-client]\nallow = [\"rec*:recording-server\"]\nrequire-post-quantum = true\n"
    );
    let site = Site::new(&insisting);
    let alone = site.vmsgate(&["check"]);
    assert!(alone.contains("5 roles (post-quantum keys required by smart-client), policy"), "{alone}");
    assert!(!alone.contains("warning"), "{alone}");

    let installation = site.initialise().await;
    let client = installation.registry.client("anna-laptop").await.unwrap();
    let key = client.keys[0].public_key;
    let last_seen = jiff::Timestamp::now();
    let heard = |post_quantum| Presence { client: client.id, key, identity: key, last_seen, post_quantum };
    installation.registry.report_presence("gw-1", &[heard(false)]).await.unwrap();
    let expected = "role smart-client requires post-quantum keys; last seen without them: `anna-laptop`";
    let outcome = site.vmsgate(&["check"]);
    assert!(
        outcome.starts_with(&format!("exit 0\n-- out\ngateway.toml: warning: {expected}\n  hint: ")),
        "{outcome}"
    );
    let report = json(&site.vmsgate(&["check", "--json"]));
    assert_eq!(
        (&report["post_quantum_roles"], &report["findings"][0]["message"]),
        (&json!(["smart-client"]), &json!(expected))
    );
    assert!(site.vmsgate(&["check", "--compliance"]).contains(expected));

    installation.registry.report_presence("gw-1", &[heard(true)]).await.unwrap();
    installation.registry.close().await;
    assert_eq!(site.vmsgate(&["check"]), alone);

    std::fs::write(site.data().database(), "no database").unwrap();
    let unreadable = site.vmsgate(&["check"]);
    assert!(
        unreadable.starts_with("exit 0\n") && unreadable.contains("shuts out is unknown: "),
        "{unreadable}"
    );
}
