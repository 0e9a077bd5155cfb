//! What scripts and people can rely on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{io::Read, process::Stdio};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use support::Installation;
use vmsgate_keys::{Registry, registry::Presence};

#[test]
fn a_misspelt_name_gets_the_right_one() {
    let installation = Installation::with_clients(&["anna-laptop"]);

    let client =
        installation.run(&["client", "show", "ana-laptop"]).refused("there is no client `ana-laptop`");
    let add = ["client", "add", "b", "--operator", "B", "--role", "smart-cleint"];
    let role = installation.run(&add).refused("there is no role `smart-cleint`");

    assert!(client.stderr.contains("hint: did you mean `anna-laptop`?"), "{}", client.stderr);
    assert!(
        role.stderr.contains("hint: did you mean `smart-client`? The roles are: smart-client,"),
        "{}",
        role.stderr
    );
}

#[test]
fn wrong_usage_is_exit_status_2() {
    let installation = Installation::new();

    let wrong: [&[&str]; 6] = [
        &[],
        &["client", "remove", "anna"],
        &["client", "add", "anna"],
        &["client", "add", "-anna", "--role", "smart-client", "--operator", "A"],
        &["client", "add", "anna", "--role", "smart-client", "--operator", "A\n[Peer]"],
        &["client", "expire", "anna", "soon"],
    ];
    for arguments in wrong {
        let run = installation.run(arguments);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?} {run:?}");
    }
    assert_eq!(installation.clients().len(), 0);
}

#[test]
fn a_closed_pipe_is_success() {
    let installation = Installation::with_clients(&["anna"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let mut child =
        installation.command(&["client", "list"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();

    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_profile_that_nobody_received_is_no_success() {
    let installation = Installation::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let add = ["client", "add", "anna", "--role", "smart-client", "--operator", "A"];
    let output = installation.command(&add).stdout(writer).output().unwrap();

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("hint: client `anna` was added; revoke it"), "{stderr}");
}

#[test]
fn the_state_of_a_client_is_what_was_asked_for() {
    let installation = Installation::with_clients(&["anna"]);
    let standing =
        || installation.run(&["client", "show", "ANNA", "--json"]).json()["client"]["standing"].clone();

    assert_eq!(standing(), "active");
    installation.run(&["client", "expire", "anna", "now"]).succeeded();
    assert_eq!(standing(), "expired");
    installation.run(&["client", "expire", "anna", "never"]).succeeded();
    let suspended = installation.run(&["client", "suspend", "anna", "--json"]).json();
    assert_eq!(
        (&suspended["changed"], &suspended["client"]["standing"]),
        (&true.into(), &"suspended".into())
    );
    let again = installation.run(&["client", "suspend", "anna", "--json"]).json();
    assert_eq!(again["changed"], false);
    installation.run(&["client", "resume", "anna"]).succeeded();
    assert_eq!(standing(), "active");
    installation.run(&["client", "revoke", "anna"]).succeeded();
    assert_eq!(standing(), "revoked");
    installation.run(&["client", "resume", "anna"]).refused("client `anna` is revoked");
    installation.add("Anna").refused("there is already a client `anna`");
}

#[test]
fn revoking_needs_neither_the_passphrase_nor_a_sound_configuration() {
    let installation = Installation::with_clients(&["anna"]);
    installation.write("gateway.toml", "nonsense");

    let revoke = ["-c", "gateway.toml", "--passphrase-file", "/nonexistent", "client", "revoke", "anna"];

    installation.run(&revoke).succeeded();
}

#[test]
fn a_broken_configuration_is_reported_with_its_line() {
    let installation = Installation::new();
    installation.write("gateway.toml", "[gateway]\nname = \"gw-1\"\nendpiont = \"vpn.example.org:51820\"\n");

    let add = ["-c", "gateway.toml", "client", "add", "a", "--role", "smart-client", "--operator", "A"];
    let run = installation.run(&add).refused("the configuration gateway.toml cannot be used");

    assert!(run.stderr.contains("gateway.toml:3: "), "{}", run.stderr);
    assert_eq!(installation.clients().len(), 0);
}

#[test]
fn keys_are_compatible_with_wg() {
    let installation = Installation::empty();
    let private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n"; // Alice of RFC 7748

    let public = installation.run_with_input(&["pubkey"], private).succeeded().stdout;
    let preshared = installation.run(&["genpsk"]).succeeded().stdout;

    assert_eq!(public, "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n");
    assert_eq!((preshared.len(), preshared.ends_with("=\n")), (45, true));
}

#[test]
fn a_list_tells_the_age_of_keys_and_post_quantum_sessions_in_lines_that_fit_a_screen() {
    let installation = Installation::new();
    for name in ["control-room-1", "anna-phone", "bo"] {
        let add = ["client", "add", name, "--role", "management-client", "--operator", "Anna Berg"];
        installation.run(&[&add[..], &["--expires", "13d"]].concat()).succeeded();
    }
    installation.run(&["client", "suspend", "control-room-1"]).succeeded();
    let clients = installation.clients();
    assert_eq!((&clients[0]["post_quantum"], &clients[0]["seen"]), (&Value::Null, &Value::Null));
    report_presence(&installation, &clients[..2]);

    let clients = installation.clients();
    let told = clients.iter().map(|client| client["post_quantum"].clone());
    assert_eq!(told.collect::<Vec<_>>(), [Value::Bool(true), Value::Bool(false), Value::Null]);
    assert_eq!(clients[0]["key_created"], clients[0]["keys"][0]["valid_from"]);
    let list = installation.run(&["client", "list"]).succeeded().stdout;
    let cells: Vec<Vec<&str>> = list.lines().map(|line| line.split("  ").map(str::trim).collect()).collect();
    let cells: Vec<Vec<&str>> =
        cells.into_iter().map(|row| row.into_iter().filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(cells[0][4..8], ["EXPIRES", "KEY AGE", "LAST SEEN", "PQ"]);
    assert_eq!((cells[1][4], cells[1][6], cells[1][7]), ("in 12d", "3h ago", "yes"), "{list}");
    assert!(cells[1][5].ends_with('s') || cells[1][5].ends_with('m'), "{list}");
    assert_eq!((cells[2][7], cells[3][6]), ("no", "never"), "{list}");
    assert!(list.lines().all(|line| line.chars().count() <= 120), "{list}");
    let show = installation.run(&["client", "show", clients[0]["name"].as_str().unwrap()]).succeeded().stdout;
    assert!(show.contains(" UTC, post-quantum\n") && show.contains("(in 12d)\n"), "{show}");
}

/// As a gateway that heard the first under an agreed pre-shared key, and the others not, three hours ago.
fn report_presence(installation: &Installation, clients: &[Value]) {
    let last_seen = Timestamp::now() - SignedDuration::from_hours(3) - SignedDuration::from_mins(5);
    let presence = clients.iter().enumerate().map(|(at, client)| {
        let key = client["keys"][0]["public_key"].as_str().unwrap().parse().unwrap();
        let client = client["id"].as_str().unwrap().parse().unwrap();
        Presence { client, key, identity: key, last_seen, post_quantum: at == 0 }
    });
    let presence: Vec<_> = presence.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let registry = Registry::open(&installation.database()).await.unwrap();
        registry.report_presence("gw-1", &presence).await.unwrap();
        registry.close().await;
    });
}
