//! What `up` says when it cannot work: one clear line, exit status 1, and what to do.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::command_line::run;
use crate::support::{Site, own_endpoint};

/// Runs `up`, which must end by itself with one error: that, and its hint.
fn refused(site: &Site, profile: &Path, more: &[&str]) -> (String, String) {
    let (code, output, error) = run(site, &[&["up", profile.to_str().unwrap(), "--quiet"], more].concat());
    assert_eq!((code, output.as_str()), (1, ""), "{error}");
    let (message, hint) = error.split_once("\n\n").expect("a hint after a blank line");
    let message = message.rsplit_once("error: ").expect("an error").1.to_owned();
    assert_eq!(error.matches("error: ").count(), 1, "{error}");
    (message, hint.strip_prefix("hint: ").expect("a hint").to_owned())
}

#[test]
fn a_profile_without_its_key_is_told() {
    let site = Site::new();
    let text = site.profile_text();
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("PrivateKey"))
        .fold(String::new(), |text, line| text + line + "\n");
    let path = site.profile_file_of(&without);
    let (message, hint) = refused(&site, &path, &[]);
    assert_eq!(message, format!("{}: `PrivateKey` is missing in section `[Interface]`", path.display()));
    assert!(hint.contains("ask your administrator for a new profile"), "{hint}");
}

#[test]
fn a_profile_that_others_can_use_is_refused() {
    let site = Site::new();
    let path = site.profile_file();
    for mode in [0o644, 0o620] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        for command in ["up", "rotate"] {
            let file = path.to_str().unwrap();
            let expected = format!(
                "error: {file} holds your private key, and others may use it (mode {mode:03o})\n\n\
                 hint: make it yours alone: chmod 600 {file}\n"
            );
            assert_eq!(run(&site, &[command, file]), (1, String::new(), expected));
        }
    }
}

#[test]
fn a_forward_to_a_port_that_is_taken_is_told_before_anything_is_begun() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let forward = format!("{port}=rec:7563");
    let (message, hint) = refused(&site, &site.profile_file(), &["--forward", &forward]);
    let expected =
        format!("cannot forward 127.0.0.1:{forward}: port {port} of 127.0.0.1 is used by another program");
    assert_eq!(message, expected);
    assert_eq!(hint, "end that program, or choose another local port\n");
}

#[test]
fn an_endpoint_where_nothing_listens_is_told() {
    let site = Site::new();
    let (message, hint) = refused(&site, &site.profile_file(), &[]);
    let endpoint = site.endpoint;
    assert_eq!(message, format!("there is no gateway at {endpoint}: nothing listens on that UDP port"));
    assert!(hint.starts_with("compare `Endpoint`"), "{hint}");
}

#[test]
fn an_endpoint_that_is_something_else_than_a_gateway_is_told() {
    let site = Site::new();
    // Takes what comes and understands nothing of it.
    let _other = UdpSocket::bind(site.endpoint).unwrap();
    let (message, hint) = refused(&site, &site.profile_file(), &[]);
    assert_eq!(message, format!("no answer from {}", site.endpoint));
    assert!(hint.contains("does this network let UDP out?"), "{hint}");
}

#[test]
fn a_profile_that_was_revoked_while_it_was_up_says_so_at_the_next_start() {
    let site = Site::new();
    let _silent = UdpSocket::bind(site.endpoint).unwrap();
    let path = site.profile_file();
    let known = serde_json::json!({
        "schema_version": 1, "endpoint": site.endpoint.to_string(), "addresses": crate::support::CLIENT,
        "refused": "revoked",
    });
    std::fs::write(format!("{}.known", path.display()), known.to_string()).unwrap();
    let (message, hint) = refused(&site, &path, &[]);
    assert_eq!(message, "access with this profile was revoked, and the gateway is silent");
    assert!(hint.starts_with("ask your administrator"), "{hint}");
}

#[test]
fn a_profile_whose_end_was_told_says_so_when_it_is_over() {
    let site = Site::new();
    let _silent = UdpSocket::bind(site.endpoint).unwrap();
    let path = site.profile_file();
    let known = serde_json::json!({
        "schema_version": 1, "endpoint": site.endpoint.to_string(), "addresses": crate::support::CLIENT,
        "endpoints": [own_endpoint().to_string()], "expires": "2026-01-31T12:00:00Z", "contact": "VMS operations",
    });
    std::fs::write(format!("{}.known", path.display()), known.to_string()).unwrap();
    let (message, hint) = refused(&site, &path, &[]);
    assert_eq!(
        message,
        "access with this profile expired at 2026-01-31 12:00:00 UTC, and the gateway is silent"
    );
    assert_eq!(hint, "ask VMS operations; when it is given back, this profile works again\n");
}
