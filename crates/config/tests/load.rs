//! Files that cannot be read at all.

use std::path::{Path, PathBuf};

use vmsgate_config::load;

fn written(name: &str, content: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).expect("the test folder is writable");
    path
}

/// What loading `path` reports, with its folder left out.
fn report(path: &Path) -> String {
    let folder = format!("{}/", env!("CARGO_TARGET_TMPDIR"));
    load(path).expect_err("the file is no good").to_string().replace(&folder, "")
}

#[test]
fn a_missing_file_says_how_to_make_one() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing.toml");
    assert_eq!(
        report(&path),
        "missing.toml: the configuration cannot be read: No such file or directory (os error 2)\n  \
         hint: name the file with `-c FILE`, or write a first one with `vmsgate-keys init -c FILE`"
    );
}

#[test]
fn a_folder_is_no_file() {
    let report = report(Path::new(env!("CARGO_TARGET_TMPDIR")));
    assert!(report.contains("the configuration cannot be read: Is a directory"), "{report}");
}

#[test]
fn bytes_that_are_no_text_are_found_on_their_line() {
    let path = written("binary.toml", b"[gateway]\nname = \"gw-\xff\"\n");
    assert_eq!(report(&path), "binary.toml:2: the file is not UTF-8 text\n  hint: save it as UTF-8");
}

#[test]
fn a_huge_file_is_not_read_to_its_end() {
    let path = written("huge.toml", &vec![b'#'; (1 << 20) + 1]);
    assert_eq!(
        report(&path),
        "huge.toml: the file is larger than 1 MiB\n  hint: name the configuration file with `-c FILE`"
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_accepted() {
    let text = "\u{feff}[gateway]\r\nname = \"gw-1\"\r\nendpoint = \"h:1\"\r\ntunnel = \"10.99.0.0/16\"\r\nmtu = 1\r\n";
    let path = written("windows.toml", text.as_bytes());
    assert_eq!(
        report(&path),
        "windows.toml:5: `mtu` in [gateway] is out of range\n  hint: it may be 1280 to 9000"
    );
}
