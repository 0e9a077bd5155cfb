//! `hosts` and `up --hosts`, with a hosts file of the test's own.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::command_line::{Up, command, run, servers};
use crate::support::Site;

const BEFORE: &str = "127.0.0.1\tlocalhost\r\n# ours\r\n192.168.10.9 printer";

fn hosts_file(site: &Site) -> PathBuf {
    let path = site.folder().join("hosts");
    fs::write(&path, BEFORE).unwrap();
    path
}

fn applied(site: &Site, block: &str) -> String {
    assert!(block.contains(&site.name("rec")), "{block}");
    format!("{BEFORE}\r\n{}", block.trim_end().replace('\n', "\r\n"))
}

#[test]
fn a_block_is_applied_checked_and_removed() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    let file = hosts_file(&site);
    let path = file.to_str().unwrap();
    let (up, _) = Up::start(&site);
    let (_, block, _) = run(&site, &["hosts", "--print"]);

    let (code, _, error) = run(&site, &["hosts", "--apply", "--file", path, "alice"]);
    assert_eq!((code, error), (0, format!("the names of alice are in {path}\n")));
    assert_eq!(fs::read_to_string(&file).unwrap(), applied(&site, &block));
    let (code, json, _) = run(&site, &["hosts", "--apply", "--file", path, "--json"]);
    let change: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &change["changed"], &change["profile"]), (0, &false.into(), &"alice".into()));

    // The system's own hosts file knows nothing of it.
    let (code, json, error) = run(&site, &["hosts", "--check", "--json"]);
    let checked: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, checked["names"].as_array().unwrap().len()), (1, 2), "{json}{error}");
    for name in checked["names"].as_array().unwrap() {
        assert_eq!((&name["verdict"], &name["resolved"]), (&"unresolved".into(), &Value::Array(Vec::new())));
        assert!(name["name"].as_str().unwrap().starts_with(&site.name("rec")), "{name}");
    }
    let (code, text, error) = run(&site, &["hosts", "--check"]);
    assert_eq!((code, text.lines().count()), (1, 3), "{text}");
    assert!(error.starts_with("hint: 2 of 2 names do not lead to the shim: "), "{error}");

    assert_eq!(up.terminate(), 0);
    let (code, _, error) = run(&site, &["hosts", "--remove", "--file", path]);
    assert_eq!((code, error), (0, format!("the names of alice are out of {path}\n")));
    assert_eq!(fs::read_to_string(&file).unwrap(), BEFORE);
    let (code, _, error) = run(&site, &["hosts", "--remove", "--file", path]);
    assert_eq!((code, error), (0, format!("there were none in {path}\n")));
}

#[test]
fn up_keeps_the_names_in_the_file_while_it_runs_also_after_it_was_killed() {
    let site = Site::new();
    let gateway = site.start(&servers(&site));
    site.profile_file();
    let file = hosts_file(&site);
    let hosts = format!("--hosts={}", file.display());

    let (up, _) = Up::start_with(&site, &[&hosts]);
    let (_, block, _) = run(&site, &["hosts"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), applied(&site, &block));
    drop(up);
    assert_eq!(fs::read_to_string(&file).unwrap(), applied(&site, &block), "it was killed");

    // Meanwhile the site has changed.
    drop(gateway);
    let _gateway =
        site.start(&[servers(&site), vec![site.server("new", "192.168.10.22", 7563..=7563)]].concat());
    let (up, _) = Up::start_with(&site, &[&hosts]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&site.name("new")), "{text}");
    assert_eq!(text.matches(">>>").count(), 1, "{text}");
    assert_eq!(up.terminate(), 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), BEFORE);
}

#[test]
fn a_broken_block_is_refused_with_its_lines_and_what_to_do() {
    let site = Site::new();
    let _gateway = site.start(&servers(&site));
    let file = hosts_file(&site);
    let path = file.to_str().unwrap();
    let broken = format!("{BEFORE}\n# >>> vmsgate-shim alice\n# >>> vmsgate-shim alice\n");
    fs::write(&file, &broken).unwrap();
    let expected = format!(
        "error: {path} was left as it is\n  \
         caused by: the block of `alice` is broken: it begins on lines 4, 5 and ends on no line\n\n\
         hint: take the lines of that block out with an editor\n"
    );
    let (_up, _) = Up::start(&site);
    for change in ["--apply", "--remove"] {
        let (code, _, error) = run(&site, &["hosts", change, "--file", path, "alice"]);
        assert_eq!((code, &error), (1, &expected));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), broken);
}

#[test]
fn a_block_from_standard_input_needs_no_shim_and_is_not_believed_blindly() {
    let site = Site::new();
    let file = hosts_file(&site);
    let path = file.to_str().unwrap();
    let apply = |block: &str| {
        let mut command = command(&site, &["hosts", "--apply", "--file", path, "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(block.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let block =
        |address: &str| format!("# >>> vmsgate-shim bob\n{address} mgmt.vms.local\n# <<< vmsgate-shim bob\n");
    let (code, error) = apply(&block("203.0.113.9"));
    assert_eq!(code, Some(1));
    assert!(error.contains("line 2 is no part of what `vmsgate-shim hosts --print` prints"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), BEFORE);

    assert_eq!(apply(&block("127.64.1.2")), (Some(0), format!("the names of bob are in {path}\n")));
    assert!(fs::read_to_string(&file).unwrap().contains("\r\n127.64.1.2      mgmt.vms.local\r\n"));
    let (code, _, error) = run(&site, &["hosts", "--remove", "-"]);
    assert_eq!((code, error.lines().last()), (1, Some("hint: vmsgate-shim hosts --apply -")));
    let (code, ..) = run(&site, &["hosts", "--print", "--file", path]);
    assert_eq!(code, 2, "a file is for changes");
}
