use serde_json::json;
use vmsgate_keys::Actor;

use crate::site::{CONFIG, Site, json};

fn explain(role: &str, to: &str) -> String {
    Site::new(CONFIG).vmsgate(&["explain", "--role", role, "--to", to])
}

#[test]
fn an_allowed_target_names_its_rule() {
    for to in ["rec01:recording-server", "REC01.vms.local:7563", "192.168.10.21:7563/tcp"] {
        assert_eq!(
            explain("smart-client", to),
            "exit 0\n-- out\n\
             allowed  tcp/7563 on rec01 (192.168.10.21): recording-server\n  \
             by rule     smart-client: *:recording-server (built in)\n-- err\n"
        );
    }
}

#[test]
fn a_refused_target_names_the_nearest_rule() {
    assert_eq!(
        explain("smart-client", "mgmt:log-server"),
        "exit 1\n-- out\n\
         refused  tcp/22337 on mgmt (192.168.10.10): not-in-role\n  \
         because     role smart-client has no rule for it (built in)\n  \
         nearest is  role management-client: *:log-server\n-- err\n"
    );
}

#[test]
fn the_never_expose_list_is_named() {
    assert_eq!(
        explain("management-client", "mgmt:1433"),
        "exit 1\n-- out\n\
         refused  tcp/1433 on mgmt (192.168.10.10): never-exposed\n  \
         because     never-expose: SQL Server (built in)\n-- err\n"
    );
}

#[test]
fn a_service_of_many_ports_is_one_answer_per_verdict() {
    let outcome = explain("wide", "[fd00:10::21]:wide");
    assert_eq!(
        outcome,
        "exit 0\n-- out\n\
         allowed  tcp/8000-8010 on rec01 (fd00:10::21): wide\n  by rule     wide: rec01:wide (gateway.toml:25)\n\
         allowed  udp/8000 on rec01 (fd00:10::21): wide\n  by rule     wide: rec01:wide (gateway.toml:25)\n-- err\n"
    );
}

#[test]
fn what_needs_a_post_quantum_session_says_so() {
    let site = Site::new(&format!("{CONFIG}require-post-quantum = true\n"));
    let outcome = site.vmsgate(&["explain", "--role", "wide", "--to", "rec01:8000"]);
    assert_eq!(
        outcome,
        "exit 0\n-- out\n\
         allowed  tcp/8000 on rec01 (192.168.10.21): wide\n  by rule     wide: rec01:wide (gateway.toml:25)\n  \
         in a post-quantum session only    role wide: require-post-quantum\n-- err\n"
    );
}

#[test]
fn what_must_be_tls_says_so_with_the_words_that_require_it() {
    let service = "[service.recording-server]\nrequire-tls = true\n";
    let site = Site::new(&format!("{CONFIG}require-tls = true\n{service}"));
    let explain = |role: &str, to: &str| site.vmsgate(&["explain", "--role", role, "--to", to]);
    assert_eq!(
        explain("smart-client", "rec01:recording-server"),
        "exit 0\n-- out\n\
         allowed  tcp/7563 on rec01 (192.168.10.21): recording-server\n  \
         by rule     smart-client: *:recording-server (built in)\n  \
         TLS only    service recording-server: require-tls\n-- err\n"
    );
    assert_eq!(
        explain("wide", "[fd00:10::21]:wide"),
        "exit 0\n-- out\n\
         allowed  tcp/8000-8010 on rec01 (fd00:10::21): wide\n  by rule     wide: rec01:wide (gateway.toml:25)\n  \
         TLS only    role wide: require-tls\n\
         allowed  udp/8000 on rec01 (fd00:10::21): wide\n  by rule     wide: rec01:wide (gateway.toml:25)\n-- err\n"
    );
    let report = json(&site.vmsgate(&["explain", "--role", "wide", "--to", "rec01:8000", "--json"]));
    assert_eq!(report["answers"][0]["require_tls"], json!("role wide: require-tls"));
}

#[test]
fn places_that_are_no_server_have_their_own_reasons() {
    for (to, reason) in [
        ("8.8.8.8:53/udp", "unknown-destination"),
        ("10.99.7.7:443", "client-to-client"),
        ("10.99.0.1:22", "gateway-port"),
    ] {
        let outcome = explain("smart-client", to);
        assert!(outcome.starts_with("exit 1\n") && outcome.contains(&format!(": {reason}\n")), "{outcome}");
    }
    assert!(explain("smart-client", "[fd00:99::1]:53/udp").starts_with("exit 0\n"));
    assert!(explain("smart-client", "rec01:icmp").starts_with("exit 0\n"));
}

#[test]
fn a_misspelt_name_is_met_with_the_nearest() {
    for (role, to, error, hint) in [
        ("smart-cleint", "mgmt:443", "there is no role `smart-cleint`", "did you mean `smart-client`?"),
        ("wide", "mgtm:443", "there is no server `mgtm`", "did you mean `mgmt`?"),
        ("wide", "mgmt:wied", "`wied` is neither a service nor a port", "did you mean `wide`?"),
    ] {
        assert_eq!(explain(role, to), format!("exit 1\n-- out\n-- err\nerror: {error}\n\nhint: {hint}\n"));
    }
    for to in ["mgmt", ":443", "mgmt:", "fd00:10::21:443"] {
        let outcome = explain("wide", to);
        assert!(
            outcome.contains(&format!("error: `{to}` names no target\n\nhint: write SERVER:SERVICE")),
            "{outcome}"
        );
    }
    for to in ["mgmt:0", "mgmt:65536", "mgmt:443/icmp"] {
        assert!(explain("wide", to).starts_with("exit 1\n-- out\n-- err\nerror: "), "{to}");
    }
}

#[test]
fn either_a_role_or_a_client_is_needed() {
    let site = Site::new(CONFIG);
    assert!(site.vmsgate(&["explain", "--to", "mgmt:443"]).starts_with("exit 2\n"));
    let both = ["explain", "--to", "mgmt:443", "--role", "wide", "--client", "anna"];
    assert!(site.vmsgate(&both).starts_with("exit 2\n"));
}

#[tokio::test]
async fn a_clients_role_and_standing_come_from_the_registry() {
    let site = Site::new(CONFIG);
    let installation = site.initialise().await;
    let actor = Actor::current();

    let ask = ["explain", "--client", "anna-laptop", "--to", "rec01:recording-server"];
    assert!(site.vmsgate(&ask).starts_with("exit 0\n-- out\nallowed  tcp/7563 on rec01"));

    let mut change = installation.registry.change(&actor).await.unwrap();
    change.suspend("anna-laptop", None).await.unwrap();
    change.commit().await.unwrap();
    let outcome = site.vmsgate(&ask);
    assert!(outcome.starts_with("exit 1\n-- out\nrefused  client anna-laptop is suspended\n"), "{outcome}");
    let report = json(&site.vmsgate(&[&ask[..], &["--json"]].concat()));
    assert_eq!(report["client_refused"], json!("is suspended"));
    assert_eq!((&report["allowed"], &report["answers"][0]["allowed"]), (&json!(false), &json!(true)));

    let outcome = site.vmsgate(&["explain", "--client", "ana-laptop", "--to", "mgmt:443"]);
    assert_eq!(
        outcome,
        "exit 1\n-- out\n-- err\nerror: there is no client `ana-laptop`\n\nhint: did you mean `anna-laptop`?\n"
    );
}
