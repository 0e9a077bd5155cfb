//! The registry as a gateway uses it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Instant;

use jiff::Timestamp;
use vmsgate_keys::{
    Actor, Backup, ClientState, DataDir, Installation, Keystore, NewClient, Passphrase, PresharedKey,
    PrivateKey, RegistryError, Settings, TunnelRanges,
};

struct Fixture {
    installation: Installation,
    ranges: TunnelRanges,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new(tunnel: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ranges = TunnelRanges::new(tunnel.iter().map(|range| range.parse().unwrap())).unwrap();
        let settings = Settings {
            name: "gw-1".to_owned(),
            endpoints: vec!["vpn.example.org:51820".parse().unwrap()],
            tunnel: ranges.clone(),
        };
        let passphrase = Passphrase::new(b"correct horse battery staple").unwrap();
        let data = DataDir::new(folder.path());
        let installation = data.initialise(&passphrase, &settings, &Actor::current()).await.unwrap();
        Self { installation, ranges, folder }
    }

    /// Adds clients in one change and returns the addresses of the last one.
    async fn add(&self, names: impl IntoIterator<Item = String>) -> Result<Vec<String>, RegistryError> {
        let mut change = self.installation.registry.change(&Actor::current()).await?;
        let mut addresses = Vec::new();
        for name in names {
            let new = NewClient {
                name: name.parse().unwrap(),
                operator: "Anna Berg".parse().unwrap(),
                role: "smart-client".to_owned(),
                expires: None,
                public_key: PrivateKey::generate().public_key(),
                preshared_key: PresharedKey::generate(),
            };
            let client = change.add_client(new, &self.ranges, &self.installation.master).await?;
            addresses = client.addresses.iter().map(ToString::to_string).collect();
        }
        change.commit().await?;
        Ok(addresses)
    }
}

#[tokio::test]
async fn a_reader_sees_exactly_what_changed_since_it_looked() {
    let fixture = Fixture::new(&["10.99.0.0/16", "fd00:99::/64"]).await;
    let registry = &fixture.installation.registry;
    fixture.add(["anna", "bert"].map(String::from)).await.unwrap();
    let known = registry.revision().await.unwrap();

    let nothing = registry.changes_since(known).await.unwrap();
    let mut change = registry.change(&Actor::current()).await.unwrap();
    change.suspend("bert", None).await.unwrap();
    let unseen = registry.changes_since(known).await.unwrap();
    change.commit().await.unwrap();
    let changes = registry.changes_since(known).await.unwrap();

    assert!(nothing.clients.is_empty() && !nothing.identities_changed);
    assert!(unseen.clients.is_empty(), "a change is visible when it is committed");
    let changed: Vec<_> = changes.clients.iter().map(|client| (client.name.as_str(), client.state)).collect();
    assert_eq!(changed, [("bert", ClientState::Suspended)]);
    assert!(!changes.identities_changed);
    assert!(registry.changes_since(changes.revision).await.unwrap().clients.is_empty());
    assert!(registry.changes_since(Default::default()).await.unwrap().identities_changed);
}

#[tokio::test]
async fn a_dropped_change_never_happened() {
    let fixture = Fixture::new(&["10.99.0.0/16"]).await;
    let registry = &fixture.installation.registry;
    fixture.add(["anna".to_owned()]).await.unwrap();
    let before = registry.revision().await.unwrap();

    let mut change = registry.change(&Actor::current()).await.unwrap();
    change.revoke("anna", None).await.unwrap();
    drop(change);

    assert_eq!(registry.client("anna").await.unwrap().state, ClientState::Active);
    assert_eq!(registry.revision().await.unwrap(), before);
}

#[tokio::test]
async fn revoked_clients_keep_their_addresses_until_the_range_is_used_up() {
    let fixture = Fixture::new(&["192.0.2.0/29"]).await;
    let registry = &fixture.installation.registry;
    for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let addresses = fixture.add([name.to_owned()]).await.unwrap();
        assert_eq!(addresses, [format!("192.0.2.{}", index + 2)]);
        let mut change = registry.change(&Actor::current()).await.unwrap();
        change.revoke(name, None).await.unwrap();
        change.commit().await.unwrap();
    }

    let error = fixture.add(["f".to_owned()]).await.unwrap_err();

    assert_eq!(error.to_string(), "tunnel range 192.0.2.0/29 has no address left");
    assert_eq!(registry.clients().await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_widened_range_hands_out_no_address_twice() {
    let mut fixture = Fixture::new(&["192.0.2.0/29"]).await;
    fixture.add(["a", "b"].map(String::from)).await.unwrap();

    fixture.ranges = TunnelRanges::new(["192.0.2.0/24".parse().unwrap()]).unwrap();

    assert_eq!(fixture.add(["c".to_owned()]).await.unwrap(), ["192.0.2.4"]);
}

#[tokio::test]
async fn revocation_ends_the_keys_as_well() {
    let fixture = Fixture::new(&["10.99.0.0/16"]).await;
    let registry = &fixture.installation.registry;
    fixture.add(["anna".to_owned()]).await.unwrap();
    assert!(registry.client("anna").await.unwrap().keys[0].is_valid(Timestamp::now()));

    let mut change = registry.change(&Actor::current()).await.unwrap();
    change.revoke("anna", Some("stolen".parse().unwrap())).await.unwrap();
    change.commit().await.unwrap();

    let client = registry.client("anna").await.unwrap();
    assert!(!client.keys[0].is_valid(Timestamp::now()));
    assert_eq!(client.reason.unwrap().as_str(), "stolen");
}

#[tokio::test]
async fn edited_rows_are_refused_by_name() {
    let fixture = Fixture::new(&["10.99.0.0/16"]).await;
    let registry = &fixture.installation.registry;
    fixture.add(["anna", "bert"].map(String::from)).await.unwrap();
    let pool = registry.database().pool();

    let moved = "UPDATE registry_client_key SET sealed_preshared_key =
        (SELECT sealed_preshared_key FROM registry_client_key k WHERE k.client <> registry_client_key.client)
        WHERE client = (SELECT id FROM registry_client WHERE name = 'anna')";
    sqlx::query(moved).execute(pool).await.unwrap();
    let anna = registry.client("anna").await.unwrap();
    let error = anna.keys[0].preshared_key(&fixture.installation.master).unwrap_err();
    assert!(error.to_string().starts_with("the pre-shared key of client key"), "{error}");

    for (column, value) in
        [("state", "'king'"), ("name", "'a b'"), ("expires_ms", "9223372036854775807"), ("id", "'x'")]
    {
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("PRAGMA defer_foreign_keys = ON").execute(&mut *tx).await.unwrap();
        let edit =
            sqlx::AssertSqlSafe(format!("UPDATE registry_client SET {column} = {value} WHERE name = 'anna'"));
        sqlx::query(edit).execute(&mut *tx).await.unwrap();
        if column == "id" {
            sqlx::query("UPDATE registry_client_key SET client = 'x' WHERE client NOT IN (SELECT id FROM registry_client)")
                .execute(&mut *tx)
                .await
                .unwrap();
            sqlx::query("UPDATE registry_address SET client = 'x' WHERE client NOT IN (SELECT id FROM registry_client)")
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        let error = registry.clients().await.unwrap_err();
        assert!(matches!(error, RegistryError::Malformed { .. }), "{column}: {error}");
        let undo = "UPDATE registry_client SET state = 'active', name = 'anna', expires_ms = NULL WHERE name_key = 'anna'";
        sqlx::query(undo).execute(pool).await.unwrap();
    }
}

#[tokio::test]
async fn ten_thousand_clients_load_at_once() {
    let fixture = Fixture::new(&["10.99.0.0/16", "fd00:99::/64"]).await;
    let registry = &fixture.installation.registry;
    fixture.add((0..10_000).map(|n| format!("client-{n}"))).await.unwrap();

    let start = Instant::now();
    let clients = registry.clients().await.unwrap();
    let opened = clients.iter().map(|client| client.keys[0].preshared_key(&fixture.installation.master));
    let opened = opened.collect::<Result<Vec<_>, _>>().unwrap().len();
    let taken = start.elapsed();
    let start = Instant::now();
    registry.changes_since(registry.revision().await.unwrap()).await.unwrap();
    eprintln!("10,000 clients loaded and unsealed in {taken:?}; an idle poll takes {:?}", start.elapsed());

    assert_eq!((clients.len(), opened), (10_000, 10_000));

    let start = Instant::now();
    let keystore = Keystore::read(&fixture.folder.path().join("keystore")).unwrap();
    let backup = Backup::make(registry, keystore, &fixture.installation.master).await.unwrap();
    let (bytes, made) = (backup.bytes(), start.elapsed());
    let passphrase = Passphrase::new(b"correct horse battery staple").unwrap();
    let restored = backup.open(&passphrase).unwrap().rehearse(&Actor::current()).await.unwrap();
    eprintln!("backed up in {made:?} as {bytes} bytes; restored after {:?}", start.elapsed());
    assert_eq!(restored.clients, 10_000);
}
