//! The dependency rules of the architecture: who may know whom, and what stays out of the pure parts.
//!
//! Dependencies are asked from `cargo tree`, so an indirect one counts too. What no dependency shows (a clock, a file,
//! `unsafe`, SQL) is looked for in the source, without comments and test code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use vmsgate_tests::checkout;

/// Crates that open sockets, files or threads, or that need an operating system's clock or database.
const IO_CRATES: [&str; 11] = [
    "tokio",
    "mio",
    "socket2",
    "quinn-udp",
    "tun-rs",
    "hyper",
    "axum",
    "sqlx",
    "sqlx-core",
    "rustix",
    "tempfile",
];

/// What reaches outside a process or into its environment, as it looks in source.
const IMPURE: [&str; 14] = [
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "std::io::stdin",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "OsRng",
    "thread_rng",
];

#[test]
fn the_tunnel_depends_on_nothing_that_does_input_or_output() {
    let dependencies = dependencies("vmsgate-tunnel");
    let found: Vec<_> = IO_CRATES.iter().filter(|name| dependencies.contains(**name)).collect();
    assert!(found.is_empty(), "vmsgate-tunnel depends on {found:?}");
    assert!(dependencies.contains("boringtun") && dependencies.contains("smoltcp"), "{dependencies:?}");
}

#[test]
fn tunnel_netio_netsetup_and_windows_know_no_roles_no_keys_and_no_configuration() {
    for package in ["vmsgate-tunnel", "vmsgate-netio", "vmsgate-netsetup", "vmsgate-windows"] {
        let ours = ours(package);
        assert_eq!(ours, BTreeSet::from([package.to_owned()]), "{package} knows other parts of the product");
    }
}

#[test]
fn keys_knows_neither_tunnel_nor_netio_and_config_and_audit_know_nobody() {
    let keys = ours("vmsgate-keys");
    for other in ["vmsgate-tunnel", "vmsgate-netio", "vmsgate-pump", "vmsgate", "vmsgate-shim"] {
        assert!(!keys.contains(other), "vmsgate-keys depends on {other}");
    }
    for package in ["vmsgate-config", "vmsgate-audit", "vmsgate-cli", "vmsgate-nss"] {
        assert_eq!(ours(package), BTreeSet::from([package.to_owned()]), "{package} knows other parts");
    }
}

/// Both ends of a tunnel and the invitation's maker speak it, so it may know none of them.
#[test]
fn exchange_knows_the_configuration_alone_and_does_no_input_or_output() {
    let expected = ["vmsgate-config", "vmsgate-exchange"].map(ToOwned::to_owned);
    assert_eq!(ours("vmsgate-exchange"), BTreeSet::from(expected));
    expect_nowhere(&sources("crates/exchange/src"), &IMPURE, |_| false);
}

#[test]
fn the_shim_knows_no_registry_and_no_audit_log() {
    let shim = ours("vmsgate-shim");
    for other in ["vmsgate-keys", "vmsgate-audit", "vmsgate"] {
        assert!(!shim.contains(other), "vmsgate-shim depends on {other}");
    }
}

/// boringtun reads the clock and the system's randomness by itself; its adapter is where that may show.
#[test]
fn the_tunnel_touches_no_clock_file_socket_or_thread_outside_the_boringtun_adapter() {
    let files = sources("crates/tunnel/src");
    assert!(files.len() > 10, "only {files:?}");
    expect_nowhere(&files, &IMPURE, |path| path.ends_with("noise.rs"));
    let calls_boringtun = |path: &Path| code(path).contains("boringtun::");
    let callers: Vec<_> = files.iter().filter(|path| calls_boringtun(path)).collect();
    assert_eq!(callers, [&checkout().join("crates/tunnel/src/noise.rs")], "boringtun belongs in one file");
}

#[test]
fn audit_records_and_the_chain_touch_no_clock_file_socket_or_thread() {
    let pure = [
        "canonical.rs",
        "chain.rs",
        "checkpoint.rs",
        "event.rs",
        "record.rs",
        "retention.rs",
        "signing.rs",
        "subject.rs",
        "text.rs",
        "tombstone.rs",
    ];
    let files: Vec<_> = pure.iter().map(|name| checkout().join("crates/audit/src").join(name)).collect();
    expect_nowhere(&files, &IMPURE, |_| false);
    expect_nowhere(&files, &["sqlx"], |_| false);
}

#[test]
fn unsafe_code_is_denied_everywhere_and_allowed_beside_system_calls_alone() {
    let manifest = fs::read_to_string(checkout().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""));
    for member in members() {
        let manifest = fs::read_to_string(member.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} has other lints", member.display());
    }
    let files: Vec<_> = members().iter().flat_map(sources).collect();
    let opens = |path: &PathBuf| code(path).contains("(unsafe_code");
    let openers: Vec<_> = files.iter().filter(|path| opens(path)).collect();
    let allowed = ["crates/netio", "crates/nss", "crates/windows"].map(|folder| checkout().join(folder));
    assert!(openers.iter().all(|path| allowed.iter().any(|folder| path.starts_with(folder))), "{openers:?}");
}

#[test]
fn only_the_stores_contain_sql() {
    let files: Vec<_> = members().iter().flat_map(sources).collect();
    let stores =
        ["crates/audit/src", "keys/src/registry.rs", "keys/src/registry"].map(|store| checkout().join(store));
    let statements =
        ["\"SELECT ", "\"INSERT INTO ", "\"DELETE FROM ", "\"CREATE TABLE ", "\"PRAGMA ", "sqlx::"];
    expect_nowhere(&files, &statements, |path| {
        stores.iter().any(|store| path.starts_with(store)) || path.starts_with(checkout().join("tests"))
    });
}

#[test]
fn a_rule_that_is_broken_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clock.rs");
    fs::write(&file, "// Instant::now in a comment\nfn f() {}\n#[cfg(test)]\nmod tests { Instant::now }")
        .unwrap();
    expect_nowhere(std::slice::from_ref(&file), &IMPURE, |_| false);
    fs::write(&file, "fn f() { Instant::now(); }\n").unwrap();
    let broken = std::panic::catch_unwind(|| expect_nowhere(&[file], &IMPURE, |_| false));
    assert!(broken.is_err());
    assert!(dependencies("vmsgate-netio").contains("tokio"), "cargo tree names what is there");
}

fn expect_nowhere(files: &[PathBuf], words: &[&str], exempt: impl Fn(&Path) -> bool) {
    let mut found = Vec::new();
    for path in files.iter().filter(|path| !exempt(path)) {
        for (number, line) in code(path).lines().enumerate() {
            let word = words.iter().find(|word| line.contains(**word));
            found.extend(word.map(|word| format!("{}:{}: {word}", path.display(), number + 1)));
        }
    }
    assert!(found.is_empty(), "the architecture forbids\n{}", found.join("\n"));
}

/// The text of a source file up to its tests, which stand last, with comments blanked.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect()
}

/// Every source file below a folder but those that hold tests only.
fn sources(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(checkout().join(folder)).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "tests" || name == "tests.rs" || name == "target" || name.starts_with('.') {
            continue;
        }
        if entry.is_dir() {
            found.extend(sources(entry));
        } else if name.ends_with(".rs") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// The packages of the product that a package depends on, itself included.
fn ours(package: &str) -> BTreeSet<String> {
    dependencies(package).into_iter().filter(|name| name.starts_with("vmsgate")).collect()
}

/// Everything that goes into a package on this platform, itself included; tests and build scripts apart.
fn dependencies(package: &str) -> BTreeSet<String> {
    let tree = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--locked", "--package", package, "--edges", "normal", "--prefix", "none"])
        .current_dir(checkout())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let names = String::from_utf8(tree.stdout).unwrap();
    names.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn members() -> Vec<PathBuf> {
    let members =
        ["gateway", "client-shim", "keys", "fuzz", "tests", "crates"].map(|name| checkout().join(name));
    let (crates, programs): (Vec<_>, Vec<_>) = members.into_iter().partition(|path| path.ends_with("crates"));
    let crates =
        crates.iter().flat_map(|path| fs::read_dir(path).unwrap()).map(|entry| entry.unwrap().path());
    programs.into_iter().chain(crates).collect()
}
