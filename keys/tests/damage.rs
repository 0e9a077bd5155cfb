//! Wrong passphrases and damaged files: one clear error, and nothing changes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;

use support::Installation;

#[test]
fn a_wrong_passphrase_opens_nothing_and_changes_nothing() {
    let installation = Installation::new();
    installation.write("wrong", "correct horse battery stapler\n");
    let wrong = ["--passphrase-file", "wrong"];

    let add = ["client", "add", "anna", "--role", "smart-client", "--operator", "Anna"];
    installation.run(&[&wrong, &add[..]].concat()).refused("the passphrase is wrong");
    let passwd = ["passwd", "--new-passphrase-file", "wrong"];
    installation.run(&[&wrong, &passwd[..]].concat()).refused("the passphrase is wrong");

    assert_eq!(installation.clients().len(), 0);
    installation.run(&add).succeeded();
}

#[test]
fn a_changed_passphrase_is_the_only_one_that_opens() {
    let installation = Installation::with_clients(&["anna"]);
    installation.write("new", "another good passphrase\n");

    installation.run(&["passwd", "--new-passphrase-file", "new"]).succeeded();

    installation.add("bert").refused("the passphrase is wrong");
    fs::copy(installation.path("new"), installation.path("passphrase")).unwrap();
    installation.add("bert").succeeded();
    assert_eq!(support::mode(&installation.data().join("keystore")), 0o600);
}

#[test]
fn a_truncated_or_edited_keystore_is_reported_as_such() {
    let installation = Installation::new();
    let keystore = installation.data().join("keystore");
    let good = fs::read(&keystore).unwrap();
    let mut edited = good.clone();
    edited[good.len() / 2] ^= 1;

    for damaged in [&good[..good.len() - 1], &good[..good.len() / 2], &edited] {
        fs::write(&keystore, damaged).unwrap();
        installation.add("anna").refused("it is truncated, or it was edited");
    }
    fs::write(&keystore, b"").unwrap();
    installation.add("anna").refused("it is not a keystore");
    fs::write(&keystore, [0xff; 200]).unwrap();
    installation.add("anna").refused("it is not a keystore");

    fs::write(&keystore, good).unwrap();
    installation.add("anna").succeeded();
}

#[test]
fn a_truncated_registry_is_refused_and_left_alone() {
    let installation = Installation::with_clients(&["anna"]);
    let good = fs::read(installation.database()).unwrap();

    for length in [0, 50, 100, 4096, good.len() / 2, good.len() - 4096] {
        fs::write(installation.database(), &good[..length]).unwrap();
        let run = installation.run(&["client", "suspend", "anna"]);
        run.refused("vmsgate.db");
        assert_eq!(fs::metadata(installation.database()).unwrap().len(), length as u64, "it is evidence");
    }

    fs::write(installation.database(), good).unwrap();
    installation.run(&["client", "suspend", "anna"]).succeeded();
}

#[test]
fn a_missing_installation_is_named() {
    let installation = Installation::empty();

    installation.run(&["client", "list"]).refused("there is no database at");
}

#[test]
fn the_keystore_of_another_installation_does_not_open_the_registry() {
    let one = Installation::new();
    let other = Installation::with_clients(&["anna"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    runtime.block_on(async {
        let passphrase = vmsgate_keys::Passphrase::from_file(&one.path("passphrase")).unwrap();
        let keystore = vmsgate_keys::Keystore::read(&one.data().join("keystore")).unwrap();
        let master = keystore.open(&passphrase).unwrap();
        let registry = vmsgate_keys::Registry::open(&other.database()).await.unwrap();

        let identity = registry.identities().await.unwrap().remove(0);
        let error = identity.private_key(&master).unwrap_err();
        assert!(error.to_string().starts_with("the private key of gateway identity"), "{error}");
        let client = registry.client("anna").await.unwrap();
        assert!(client.keys[0].preshared_key(&master).is_err());
    });
}
