//! A copy of the database reveals no secret.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use base64::{Engine, engine::general_purpose::STANDARD};
use support::{Installation, PASSPHRASE, setting};

#[test]
fn no_secret_is_in_the_data_directory() {
    let installation = Installation::new();
    let conf = installation.add("anna").succeeded().stdout;
    installation.run(&["client", "suspend", "anna"]).succeeded();
    let private_key = setting(&conf, "PrivateKey");
    let preshared_key = setting(&conf, "PresharedKey");

    let mut files = Vec::new();
    for entry in std::fs::read_dir(installation.data()).unwrap() {
        files.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }

    let holds = |needle: &[u8]| files.windows(needle.len()).any(|window| window == needle);
    let public_key = installation.clients()[0]["keys"][0]["public_key"].as_str().unwrap().to_owned();
    assert!(holds(public_key.as_bytes()), "the search itself works");
    for secret in [private_key, preshared_key] {
        assert!(!holds(secret.as_bytes()));
        assert!(!holds(&STANDARD.decode(secret).unwrap()));
    }
    assert!(!holds(PASSPHRASE.as_bytes()));
}

#[test]
fn a_stored_secret_opens_with_the_passphrase_only() {
    let installation = Installation::new();
    let conf = installation.add("anna").succeeded().stdout;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let stored = runtime.block_on(async {
        let passphrase = vmsgate_keys::Passphrase::new(PASSPHRASE.as_bytes()).unwrap();
        let keystore = vmsgate_keys::Keystore::read(&installation.data().join("keystore")).unwrap();
        let master = keystore.open(&passphrase).unwrap();
        let registry = vmsgate_keys::Registry::open(&installation.database()).await.unwrap();
        let identity = registry.identities().await.unwrap().remove(0);
        assert_eq!(identity.private_key(&master).unwrap().public_key(), identity.public_key);
        registry.client("anna").await.unwrap().keys[0].preshared_key(&master).unwrap()
    });

    assert_eq!(stored.to_base64().as_str(), setting(&conf, "PresharedKey"));
}

#[test]
fn verbose_logs_and_errors_show_no_secret() {
    let installation = Installation::new();
    let add = ["-vv", "client", "add", "anna", "--role", "smart-client", "--operator", "Anna"];

    let run = installation.run(&add).succeeded();

    for name in ["PrivateKey", "PresharedKey"] {
        assert!(!run.stderr.contains(setting(&run.stdout, name)), "{}", run.stderr);
    }
    assert!(!run.stderr.contains(PASSPHRASE));
    let private = installation.run(&["genkey"]).stdout;
    let bad =
        installation.run_with_input(&["pubkey"], &private[1..]).refused("stdin does not hold a private key");
    assert!(!bad.stderr.contains(&private[1..20]), "{}", bad.stderr);
}
