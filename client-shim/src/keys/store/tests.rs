use std::os::unix::fs::{MetadataExt, PermissionsExt};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;

const TEXT: &str = "\
# Anna's
[Interface]
PrivateKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= # mine
Address = 10.99.0.2/32
DNS = 10.99.0.1
PostUp = true
[Peer]
PublicKey = CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=
PresharedKey = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=
AllowedIPs = 0.0.0.0/0
Endpoint = 127.0.0.1:1
";

fn secret(byte: u8) -> StaticSecret {
    StaticSecret::from([byte; 32])
}

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.conf");
    fs::write(&path, TEXT).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    (folder, Store::new(path))
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn secret_in(path: &Path) -> [u8; 32] {
    Profile::read(path).unwrap().secret.to_bytes()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// From the first step to the last, what a process finds that starts after a crash behind each.
#[test]
fn after_every_step_a_usable_profile_lies_there() {
    let (folder, store) = store();
    let file = store.file().to_owned();
    let (old, new) = (secret(1), secret(3));

    store.prepare(&old, &new).unwrap();
    assert_eq!(names(&folder), ["alice.conf", "alice.conf.next"]);
    assert_eq!((secret_in(&file), mode(&store.next_file())), ([1; 32], 0o600));
    assert!(store.previous().is_none());

    let preshared = [4; 32];
    let keys = NewKeys { secret: Some(&new), preshared: Some(&preshared), gateway: Some([5; 32].into()) };
    store.install(&old, &keys).unwrap();
    assert_eq!(names(&folder), ["alice.conf", "alice.conf.previous"]);
    let profile = Profile::read(&file).unwrap();
    assert_eq!(profile.preshared.map(|key| *key), Some([4; 32]));
    assert_eq!((profile.secret.to_bytes(), profile.gateway), ([3; 32], [5; 32].into()));
    assert_eq!((mode(&file), mode(&store.previous_file())), (0o640, 0o600));
    assert_eq!(fs::read_to_string(store.previous_file()).unwrap(), TEXT);
    assert_eq!(store.previous().unwrap().secret.to_bytes(), [1; 32]);

    store.confirm().unwrap();
    assert_eq!(names(&folder), ["alice.conf"]);
}

#[test]
fn a_rotation_under_the_previous_key_keeps_that_and_replaces_the_other() {
    let (_folder, store) = store();
    let (old, lost, new) = (secret(1), secret(3), secret(6));
    store.install(&old, &NewKeys { secret: Some(&lost), ..NewKeys::default() }).unwrap();

    store.prepare(&old, &new).unwrap();
    store.install(&old, &NewKeys { secret: Some(&new), ..NewKeys::default() }).unwrap();

    assert_eq!(secret_in(store.file()), [6; 32]);
    assert_eq!(store.previous().unwrap().secret.to_bytes(), [1; 32]);
}

#[test]
fn a_key_that_was_prepared_in_vain_leaves_nothing() {
    let (folder, store) = store();
    store.prepare(&secret(1), &secret(3)).unwrap();
    store.abandon().unwrap();
    assert_eq!(names(&folder), ["alice.conf"]);
    assert_eq!(fs::read_to_string(store.file()).unwrap(), TEXT);
}

#[test]
fn the_identity_is_replaced_and_nothing_else() {
    let (_folder, store) = store();
    store.set_gateway(&secret(1), [7; 32].into()).unwrap();
    let expected = TEXT.replace(&STANDARD.encode([9; 32]), &STANDARD.encode([7; 32]));
    assert_eq!(fs::read_to_string(store.file()).unwrap(), expected);
}

#[test]
fn a_file_that_somebody_changed_is_left_alone() {
    let (folder, store) = store();
    let error = store.prepare(&secret(8), &secret(3)).unwrap_err();
    assert!(matches!(error, StoreError::Changed(_)), "{error}");
    let keys = NewKeys { secret: Some(&secret(3)), ..NewKeys::default() };
    assert!(matches!(store.install(&secret(8), &keys), Err(StoreError::Changed(_))));
    assert_eq!(names(&folder), ["alice.conf"]);
    assert_eq!(fs::read_to_string(store.file()).unwrap(), TEXT);
}

#[test]
fn a_file_that_may_not_be_written_is_not_rotated() {
    let (folder, store) = store();
    fs::set_permissions(store.file(), fs::Permissions::from_mode(0o400)).unwrap();
    let error = store.prepare(&secret(1), &secret(3)).unwrap_err();
    assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
    assert!(error.hint().contains("install -m 600"));
    assert_eq!(names(&folder), ["alice.conf"]);
}
