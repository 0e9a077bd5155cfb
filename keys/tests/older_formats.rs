//! What earlier versions wrote opens, and what a later one wrote is refused and left alone.
//!
//! `fixtures/keystore` and `fixtures/registry.sql` are of the first version that had commands: an installation with the
//! client `anna`. `fixtures/keystore-stronger` has argon2id parameters that this version does not choose.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use support::{Installation, PASSPHRASE};
use tokio::task::block_in_place;
use vmsgate_audit::{Create, Database};
use vmsgate_keys::{Actor, ClientState, Keystore, Passphrase, Registry};

/// What the profile says that anna got then.
const PRESHARED_KEY: &str = "gsfTkkRHa/WuMNHsyeaT7Yj7evAGPklXkSna9cCvLNU=";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE.as_bytes()).unwrap()
}

/// An installation as the first version left it.
async fn of_the_first_version() -> Installation {
    let installation = Installation::empty();
    fs::create_dir(installation.data()).unwrap();
    fs::copy(fixture("keystore"), installation.data().join("keystore")).unwrap();
    let db = Database::open(&installation.database(), Create::Yes).await.unwrap();
    let mut first = sqlx::migrate!();
    first.migrations.to_mut().retain(|migration| migration.version == 1);
    db.migrate("registry", first).await.unwrap();
    let rows = fs::read_to_string(fixture("registry.sql")).unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(db.pool()).await.unwrap();
    db.close().await;
    installation
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_of_the_first_version_opens_and_its_client_is_intact() {
    let installation = of_the_first_version().await;
    let master = Keystore::read(&installation.data().join("keystore")).unwrap().open(&passphrase()).unwrap();

    let registry = Registry::open(&installation.database()).await.unwrap();
    let anna = registry.client("anna").await.unwrap();
    let [key] = &anna.keys[..] else { panic!("{anna:?}") };
    assert_eq!(key.preshared_key(&master).unwrap().to_base64().as_str(), PRESHARED_KEY);
    let addresses: Vec<_> = anna.addresses.iter().map(ToString::to_string).collect();
    assert_eq!((anna.operator.as_str(), anna.role.as_str()), ("Anna Berg", "smart-client"));
    assert_eq!(
        (anna.state, addresses),
        (ClientState::Active, vec!["10.99.0.2".into(), "fd00:99::2".to_owned()])
    );
    assert_eq!(anna.current_key(Timestamp::now()).unwrap().public_key, key.public_key);
    let holdings = registry.open_everything(&master).await.unwrap();
    assert_eq!((holdings.identities.len(), holdings.clients), (1, 1));

    // A gateway hears it, and everything that came later works on it.
    let mut change = registry.change(&Actor::current()).await.unwrap();
    let grace = SignedDuration::from_secs(30);
    change.confirm_key(anna.id, &key.public_key, grace).await.unwrap().expect("it was not heard before");
    change.commit().await.unwrap();
    registry.close().await;
    let commands: [&[&str]; 6] = [
        &["client", "rotate", "anna"],
        &["client", "invite", "anna"],
        &["gateway", "rotate"],
        &["gateway", "retire"],
        &["backup", "backup"],
        &["restore", "--dry-run", "backup"],
    ];
    for command in commands {
        block_in_place(|| installation.run(command)).succeeded();
    }
}

#[test]
fn a_keystore_with_other_parameters_opens_and_gets_this_version_s_with_a_new_passphrase() {
    let installation = Installation::new();
    let stronger = fs::read_to_string(fixture("keystore-stronger")).unwrap();
    assert!(stronger.contains("argon2id m=131072 t=4 p=2\n"), "{stronger}");

    let keystore = Keystore::read(&fixture("keystore-stronger")).unwrap();
    keystore.open(&passphrase()).unwrap();

    fs::write(installation.data().join("keystore"), stronger).unwrap();
    installation.run(&["passwd", "--new-passphrase-file", "passphrase"]).succeeded();
    let now = fs::read_to_string(installation.data().join("keystore")).unwrap();
    assert!(now.contains("argon2id m=65536 t=3 p=1\n"), "{now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_wrote_is_refused_and_left_alone() {
    let installation = block_in_place(|| Installation::with_clients(&["anna"]));
    let keystore = installation.data().join("keystore");
    let old = fs::read_to_string(&keystore).unwrap();
    let newer = old.replacen("vmsgate-keystore 1", "vmsgate-keystore 2", 1);
    fs::write(&keystore, &newer).unwrap();
    let add =
        block_in_place(|| installation.add("bert")).refused("a version that this program does not know");
    assert!(add.stderr.contains("use the version of the program that wrote it"), "{}", add.stderr);
    assert_eq!(fs::read_to_string(&keystore).unwrap(), newer);
    fs::write(&keystore, old).unwrap();

    let registry = Registry::open(&installation.database()).await.unwrap();
    let migration = "INSERT INTO _migrations_registry (version, description, installed_on, success, checksum, execution_time)
                     VALUES (9999, 'later', '2030-01-01 00:00:00', TRUE, x'00', 0)";
    sqlx::query(migration).execute(registry.database().pool()).await.unwrap();
    registry.close().await;
    let before = fs::read(installation.database()).unwrap();
    for command in [&["client", "list"][..], &["client", "suspend", "anna"], &["backup", "backup"]] {
        block_in_place(|| installation.run(command))
            .refused("was changed by a newer version of this program");
    }
    assert_eq!(fs::read(installation.database()).unwrap(), before);
}
