//! Every command that changes something leaves exactly one administrative record; the others leave none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use support::Installation;

#[test]
fn every_change_is_recorded_with_who_what_before_and_after() {
    let installation = Installation::new();
    installation.add("anna").succeeded();
    let changes: [(&[&str], &str); 6] = [
        (&["client", "suspend", "anna", "--reason", "on leave"], "admin.client.suspend"),
        (&["client", "resume", "anna"], "admin.client.resume"),
        (&["client", "expire", "anna", "90d"], "admin.client.expire"),
        (&["client", "expire", "anna", "never"], "admin.client.expire"),
        (&["client", "revoke", "anna", "--reason", "laptop stolen"], "admin.client.revoke"),
        (&["passwd", "--new-passphrase-file", "passphrase"], "admin.keystore.passwd"),
    ];
    for (command, _) in changes {
        installation.run(command).succeeded();
    }

    let records = installation.admin_records();

    let kinds: Vec<&str> = records.iter().map(|(kind, _)| kind.as_str()).collect();
    let first = ["admin.registry.init", "admin.client.add"];
    assert_eq!(kinds, first.into_iter().chain(changes.map(|(_, kind)| kind)).collect::<Vec<_>>());
    for (kind, record) in &records {
        assert!(record["actor"].as_str().unwrap().contains("uid "), "{kind}: {record}");
    }
    let (_, revoked) = &records[6];
    assert_eq!(
        (&revoked["before"]["state"], &revoked["after"]["state"]),
        (&"active".into(), &"revoked".into())
    );
    assert_eq!((&revoked["object"], &revoked["after"]["reason"]), (&"anna".into(), &"laptop stolen".into()));
}

#[test]
fn commands_that_change_nothing_leave_no_record() {
    let installation = Installation::with_clients(&["anna"]);
    installation.run(&["client", "revoke", "anna"]).succeeded();
    let before = installation.admin_records().len();

    let silent: [(&[&str], i32); 10] = [
        (&["client", "list"], 0),
        (&["client", "show", "anna"], 0),
        (&["gateway", "show"], 0),
        (&["genkey"], 0),
        (&["genpsk"], 0),
        (&["client", "revoke", "anna"], 0),
        (&["client", "suspend", "anna"], 1),
        (&["client", "resume", "nobody"], 1),
        (&["client", "add", "anna", "--role", "smart-client", "--operator", "A"], 1),
        (&["init", "--endpoint", "vpn.example.org:51820"], 1),
    ];
    for (command, status) in silent {
        assert_eq!(installation.run(command).status, status, "{command:?}");
    }

    assert_eq!(installation.admin_records().len(), before);
}
