use crate::site::{CONFIG, Site};

#[test]
fn an_unknown_command_is_wrong_usage() {
    let outcome = Site::new(CONFIG).vmsgate(&["chekc"]);
    assert!(
        outcome.starts_with("exit 2\n-- out\n-- err\nerror: unrecognized subcommand 'chekc'"),
        "{outcome}"
    );
    assert!(outcome.contains("a similar subcommand exists: 'check'"), "{outcome}");
}

#[test]
fn help_goes_to_stdout_and_is_no_failure() {
    let outcome = Site::new(CONFIG).plain_vmsgate(&["--help"]);
    assert!(outcome.starts_with("exit 0\n-- out\nVPN gateway for video management systems\n"), "{outcome}");
    assert!(outcome.ends_with("  2  wrong usage, or a fault\n-- err\n"), "{outcome}");
}

#[test]
fn a_missing_configuration_is_said_with_what_to_do() {
    let outcome =
        Site::new(CONFIG).plain_vmsgate(&["-c", "missing.toml", "explain", "--role", "x", "--to", "y:1"]);
    assert_eq!(
        outcome,
        "exit 1\n-- out\n-- err\n\
         error: missing.toml: the configuration cannot be read: No such file or directory (os error 2)\n\n\
         hint: name the file with `-c FILE`, or write a first one with `vmsgate-keys init -c FILE`\n"
    );
}

#[test]
fn run_without_an_installation_says_how_to_make_one() {
    let outcome = Site::new(CONFIG).vmsgate(&["run"]);
    assert!(
        outcome.starts_with(
            "exit 1\n-- out\n-- err\nerror: there is no installation in data\n\nhint: set VMSGATE_ENDPOINT"
        ),
        "{outcome}"
    );
}

#[test]
fn run_without_a_passphrase_says_how_to_give_one() {
    let outcome = Site::new(CONFIG).vmsgate(&["run", "--endpoint", "vpn.example.org:51820"]);
    assert!(
        outcome.starts_with("exit 1\n-- out\n-- err\nerror: the keystore's passphrase is needed\n"),
        "{outcome}"
    );
    assert!(outcome.contains("--passphrase-file FILE"), "{outcome}");
}
