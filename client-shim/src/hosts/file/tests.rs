use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::super::block::Entry;
use super::*;

fn block(names: &[&str]) -> Block {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Block { profile: "alice".to_owned(), entries: vec![Entry { address: [127, 64, 1, 2].into(), names }] }
}

fn folder_with(content: &[u8]) -> (tempfile::TempDir, HostsFile) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    fs::write(&path, content).unwrap();
    (folder, HostsFile::at(path))
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

const BEFORE: &[u8] = b"127.0.0.1 localhost\n# b\xfcro\n";

#[test]
fn a_block_comes_and_goes_and_nothing_else_changes() {
    let (folder, file) = folder_with(BEFORE);
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();

    assert!(file.apply(&block(&["mgmt"])).unwrap());
    let applied = fs::metadata(file.path()).unwrap();
    assert_eq!(file.profiles().unwrap(), ["alice"]);
    assert_eq!(applied.mode() & 0o777, 0o640);
    // What is as it should be is not written again.
    assert!(!file.apply(&block(&["mgmt"])).unwrap());
    assert_eq!(fs::metadata(file.path()).unwrap().ino(), applied.ino());

    assert!(file.remove("alice").unwrap());
    assert!(!file.remove("alice").unwrap());
    assert_eq!(fs::read(file.path()).unwrap(), BEFORE);
    assert_eq!(names(&folder), ["hosts"]);
}

#[test]
fn a_reader_finds_the_old_file_or_the_new_one() {
    let (_folder, file) = folder_with(BEFORE);
    let mut opened = File::open(file.path()).unwrap();
    file.apply(&block(&["mgmt"])).unwrap();
    let mut text = Vec::new();
    opened.read_to_end(&mut text).unwrap();
    assert_eq!(text, BEFORE, "the file was replaced and not written to");
}

#[test]
fn a_link_stays_a_link() {
    let (folder, file) = folder_with(BEFORE);
    let link = HostsFile::at(folder.path().join("link"));
    symlink(file.path(), link.path()).unwrap();
    link.apply(&block(&["mgmt"])).unwrap();
    assert!(fs::symlink_metadata(link.path()).unwrap().is_symlink());
    assert_eq!(file.profiles().unwrap(), ["alice"]);
}

#[test]
fn a_file_that_is_missing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = HostsFile::at(folder.path().join("hosts"));
    assert!(!file.remove("alice").unwrap());
    assert!(names(&folder).is_empty());
    file.apply(&block(&["mgmt"])).unwrap();
    assert_eq!(file.profiles().unwrap(), ["alice"]);
}

#[test]
fn in_place_a_shorter_content_leaves_nothing_of_the_longer_one() {
    let (_folder, file) = folder_with(b"a longer one\n");
    write_in_place(&mut open(file.path(), false).unwrap(), b"short\n").unwrap();
    assert_eq!(fs::read(file.path()).unwrap(), b"short\n");
}

#[test]
fn what_somebody_else_changed_meanwhile_is_not_lost() {
    let (_folder, file) = folder_with(BEFORE);
    let mut times = 0;
    let disturbed = std::cell::RefCell::new(&mut times);
    file.change(|text| {
        let mut times = disturbed.borrow_mut();
        **times += 1;
        if **times == 1 {
            fs::write(file.path(), b"10.0.0.1 other\n").unwrap();
        }
        edit::put(text, &block(&["mgmt"]))
    })
    .unwrap();
    assert_eq!(times, 2);
    assert!(fs::read(file.path()).unwrap().starts_with(b"10.0.0.1 other\n# >>> vmsgate-shim alice\n"));
}

#[test]
fn a_broken_block_is_left_alone() {
    let text = b"# >>> vmsgate-shim alice\n127.0.0.1 localhost\n";
    let (_folder, file) = folder_with(text);
    let error = file.apply(&block(&["mgmt"])).unwrap_err();
    assert!(matches!(error, HostsError::Broken { .. }), "{error}");
    assert_eq!(fs::read(file.path()).unwrap(), text);
}
