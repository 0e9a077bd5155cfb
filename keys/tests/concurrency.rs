//! Commands that run at the same time take turns: nothing is lost, nothing is handed out twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{collections::BTreeSet, process::Child};

use support::{Installation, Run};

fn finish(children: Vec<Child>) -> Vec<Run> {
    children.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect()
}

#[test]
fn twenty_adds_at_once_lose_nothing_and_share_no_address() {
    let installation = Installation::new();
    let add = |n: usize| {
        let name = format!("client-{n:02}");
        let arguments = ["client", "add", &name, "--role", "smart-client", "--operator", "Anna Berg"];
        installation.command(&arguments).spawn().unwrap()
    };

    let runs = finish((0..20).map(add).collect());

    for run in runs {
        run.succeeded();
    }
    let clients = installation.clients();
    let addresses: BTreeSet<String> =
        clients.iter().flat_map(|c| c["addresses"].as_array().unwrap()).map(ToString::to_string).collect();
    assert_eq!((clients.len(), addresses.len()), (20, 40));
    let records = installation.admin_records();
    let added: BTreeSet<_> = records
        .iter()
        .filter(|(kind, _)| kind == "admin.client.add")
        .map(|(_, record)| record["object"].to_string())
        .collect();
    assert_eq!((records.len(), added.len()), (21, 20));
}

#[test]
fn the_same_name_is_added_once() {
    let installation = Installation::new();
    let add = ["client", "add", "anna", "--role", "smart-client", "--operator", "Anna Berg"];

    let runs = finish((0..5).map(|_| installation.command(&add).spawn().unwrap()).collect());

    let (added, refused): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.status == 0);
    assert_eq!(added.len(), 1);
    for run in refused {
        run.refused("there is already a client `anna`");
    }
}

#[test]
fn different_changes_of_one_client_all_count() {
    let installation = Installation::with_clients(&["anna"]);
    let changes: [&[&str]; 3] = [
        &["client", "suspend", "anna", "--reason", "lost"],
        &["client", "expire", "anna", "2999-01-01"],
        &["passwd", "--new-passphrase-file", "passphrase"],
    ];

    for run in finish(changes.iter().map(|change| installation.command(change).spawn().unwrap()).collect()) {
        run.succeeded();
    }

    let anna = &installation.clients()[0];
    assert_eq!((&anna["state"], &anna["reason"]), (&"suspended".into(), &"lost".into()));
    assert_eq!(anna["expires"], "2999-01-01T00:00:00Z");
    assert_eq!(installation.admin_records().len(), 2 + 3);
}
