//! What happens on a terminal: `script`, which every Debian has, provides one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use support::{Installation, PASSPHRASE};

/// Runs the program on a terminal where a person types `input`; returns its exit status and what the person saw.
fn on_terminal(installation: &Installation, arguments: &str, input: &str) -> (i32, String) {
    let command = format!("'{}' {arguments}", env!("CARGO_BIN_EXE_vmsgate-keys"));
    let mut child = Command::new("/usr/bin/script")
        .args(["-qec", &command, "/dev/null"])
        .env_clear()
        .env("VMSGATE_DATA", installation.data())
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn init_asks_twice_and_the_passphrase_works() {
    let installation = Installation::empty();
    let init = "init --endpoint vpn.example.org:51820";

    let (differing, said) = on_terminal(&installation, init, "correct horse\ncorrect house\n");
    assert_eq!(differing, 1, "{said}");
    assert!(said.contains("error: the two passphrases differ"), "{said}");
    assert!(!installation.data().exists());

    let (status, said) = on_terminal(&installation, init, &format!("{PASSPHRASE}\n{PASSPHRASE}\n"));
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains("New passphrase for the keystore: ") && said.contains("The same again: "),
        "{said}"
    );
    installation.add("anna").succeeded();
}

#[test]
fn revoking_asks_and_only_yes_means_yes() {
    let installation = Installation::with_clients(&["anna"]);
    let state = || installation.clients()[0]["state"].clone();

    let (status, said) = on_terminal(&installation, "client revoke anna", "\n");
    assert_eq!((status, state()), (1, "active".into()), "{said}");
    assert!(said.contains("Revoke `anna` of Anna Berg for good? [y/N]"), "{said}");

    let (status, said) = on_terminal(&installation, "client revoke anna", "y\n");
    assert_eq!((status, state()), (0, "revoked".into()), "{said}");
}

#[test]
fn yes_is_not_asked_for_twice() {
    let installation = Installation::with_clients(&["anna"]);

    let (status, said) = on_terminal(&installation, "client revoke anna --yes", "");

    assert_eq!(status, 0, "{said}");
    assert!(!said.contains("[y/N]"), "{said}");
}

#[test]
fn a_qr_code_is_dark_on_light_whatever_the_terminal() {
    let installation = Installation::new();
    let passphrase = installation.path("passphrase");
    let add = "client add phone --role web-mobile --operator Anna --qr";

    let (status, said) =
        on_terminal(&installation, &format!("--passphrase-file '{}' {add}", passphrase.display()), "");

    assert_eq!(status, 0, "{said}");
    assert!(said.contains("\u{1b}[30;107m    █▀▀▀▀▀█"), "{said}");
}
