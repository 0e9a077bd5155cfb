//! The key that signs the audit log: made with the installation, or later for one that has none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use support::{Installation, PASSPHRASE};
use vmsgate_keys::{Actor, Keystore, MasterKey, Passphrase, Registry};

fn master(installation: &Installation) -> MasterKey {
    let passphrase = Passphrase::new(PASSPHRASE.as_bytes()).unwrap();
    Keystore::read(&installation.data().join("keystore")).unwrap().open(&passphrase).unwrap()
}

#[tokio::test]
async fn init_makes_it_and_show_tells_its_public_half() {
    let installation = Installation::new();
    let registry = Registry::open(&installation.database()).await.unwrap();
    let key = registry.audit_signing_key(&master(&installation), &Actor::current()).await.unwrap();
    registry.close().await;

    let report = installation.run(&["gateway", "show", "--json"]).succeeded().json();
    assert_eq!(report["audit_key"]["public_key"], key.verifying_key().to_string());
    assert_eq!(report["audit_key"]["fingerprint"], key.verifying_key().fingerprint().to_string());
    let text = installation.run(&["gateway", "show"]).succeeded().stdout;
    assert!(text.contains(&format!("audit key  {}", key.verifying_key())), "{text}");
}

#[tokio::test]
async fn an_installation_without_one_gets_one_on_first_use_and_on_record() {
    let installation = Installation::new();
    let registry = Registry::open(&installation.database()).await.unwrap();
    sqlx::query("DELETE FROM audit_key").execute(registry.database().pool()).await.unwrap();
    assert_eq!(registry.audit_public_key().await.unwrap(), None);

    let (master, actor) = (master(&installation), Actor::current());
    let made = registry.audit_signing_key(&master, &actor).await.unwrap();
    let again = registry.audit_signing_key(&master, &actor).await.unwrap();
    registry.close().await;
    assert_eq!(made.verifying_key(), again.verifying_key());
    let added = |(kind, _): &&(String, serde_json::Value)| kind == "admin.audit-key.add";
    tokio::task::spawn_blocking(move || {
        let records = installation.admin_records();
        let added: Vec<_> = records.iter().filter(added).collect();
        assert_eq!(added.len(), 1, "{records:?}");
        assert_eq!(added[0].1["after"]["public_key"], made.verifying_key().to_string());
    })
    .await
    .unwrap();
}
