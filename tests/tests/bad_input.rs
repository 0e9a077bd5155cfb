//! Bad input is answered by one clear error: what is wrong, where, what to do; status 1; and nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use vmsgate_tests::binaries;

/// An initialised installation with one client, in a folder of its own. Nothing of it runs.
struct Installation {
    folder: TempDir,
    /// A UDP port that is taken.
    taken: UdpSocket,
}

const CONFIG: &str = "[gateway]
name = \"gw-test\"
listen = \"127.0.0.1:PORT\"
endpoint = \"127.0.0.1:PORT\"
tunnel = [\"10.99.0.0/16\", \"fd00:99::/64\"]
data = \"DATA\"

[[server]]
name = \"mgmt\"
address = \"192.168.10.10\"
services = [\"management-server\"]

[[server]]
name = \"rec01\"
address = \"192.168.10.21\"
services = [\"recording-server\"]

[admin]
listen = \"127.0.0.1:19586\"
";

#[test]
fn an_unknown_configuration_key_is_named_with_its_line_and_the_nearest_valid_one() {
    let installation = Installation::new();
    installation.replace("listen = \"127.0.0.1:PORT\"\nendpoint", "lisen = \"127.0.0.1:PORT\"\nendpoint");
    for command in ["check", "run"] {
        installation.refuses(command, &["gateway.toml:3", "lisen", "listen"]);
    }
}

#[test]
fn overlapping_tunnel_ranges_are_named_with_their_line() {
    let installation = Installation::new();
    installation.replace("\"fd00:99::/64\"", "\"10.99.128.0/17\"");
    for command in ["check", "run"] {
        installation.refuses(command, &["gateway.toml:5", "10.99.0.0/16", "10.99.128.0/17"]);
    }
}

#[test]
fn a_server_inside_a_tunnel_range_is_named_with_its_line() {
    let installation = Installation::new();
    installation.replace("192.168.10.21", "10.99.10.21");
    for command in ["check", "run"] {
        installation.refuses(command, &["gateway.toml:15", "10.99.10.21", "10.99.0.0/16"]);
    }
}

#[test]
fn a_role_that_names_an_unknown_service_is_named_with_its_line() {
    let installation = Installation::new();
    installation.append("\n[role.guard]\nallow = [\"rec*:recording-sever\"]\n");
    for command in ["check", "run"] {
        installation.refuses(command, &["gateway.toml:22", "recording-sever", "recording-server"]);
    }
}

#[test]
fn a_client_with_an_unknown_role_is_refused_and_the_known_ones_are_named() {
    let installation = Installation::new();
    let add = ["client", "add", "new", "--role", "smart-cient", "--operator", "New"];
    let output = installation.keys(&add).output().unwrap();
    let error = refused(&output);
    assert!(error.contains("smart-cient") && error.contains("smart-client"), "{error}");
    let list = installation.keys(&["client", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&list.stdout).contains("new"), "{list:?}");
}

#[test]
fn a_port_that_must_never_be_exposed_is_refused_with_its_line() {
    let installation = Installation::new();
    let with_database = CONFIG.replace("[\"management-server\"]", "[\"management-server\", \"database\"]");
    installation.write(&format!(
        "{with_database}\n[service.database]\ntcp = [1433]\n\n[role.dba]\nallow = [\"mgmt:database\"]\n"
    ));
    for command in ["check", "run"] {
        installation.refuses(command, &["gateway.toml:25", "1433", "expose-anyway"]);
    }
}

#[test]
fn a_missing_configuration_file_is_named() {
    let installation = Installation::new();
    fs::remove_file(installation.config()).unwrap();
    for command in ["check", "run"] {
        installation.refuses(command, &["gateway.toml"]);
    }
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_loses_nothing() {
    let installation = Installation::new();
    fs::write(installation.path("passphrase"), "not the one it was made with\n").unwrap();
    installation.refuses("run", &["passphrase"]);
    let output =
        installation.keys(&["client", "add", "new", "--role", "smart-client", "--operator", "N"]).output();
    assert!(refused(&output.unwrap()).contains("passphrase"));
}

#[test]
fn a_truncated_registry_is_refused_and_left_as_it_is() {
    let installation = Installation::new();
    let database = installation.path("data/vmsgate.db");
    let whole = fs::read(&database).unwrap();
    for length in [0, 50, 4096, whole.len() / 2] {
        fs::write(&database, &whole[..length]).unwrap();
        installation.refuses("run", &["vmsgate.db"]);
        let list = installation.keys(&["client", "list"]).output().unwrap();
        assert!(refused(&list).contains("vmsgate.db"), "{length} bytes");
        assert_eq!(fs::read(&database).unwrap(), whole[..length], "{length} bytes");
    }
    fs::write(&database, &whole).unwrap();
    let list = installation.keys(&["client", "list"]).output().unwrap();
    assert!(list.status.success(), "{list:?}");
}

#[test]
fn a_port_that_is_already_in_use_is_named() {
    let installation = Installation::new();
    let taken = installation.taken.local_addr().unwrap();
    let text = fs::read_to_string(installation.config()).unwrap();
    let free = format!("127.0.0.1:{}", installation.port());
    fs::write(installation.config(), text.replace(&free, &taken.to_string())).unwrap();
    installation.refuses("run", &[&taken.port().to_string(), "already in use", "listen"]);
}

#[test]
fn an_admin_address_that_is_already_in_use_is_named() {
    let installation = Installation::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    installation.replace("127.0.0.1:19586", &address);
    installation.refuses("run", &[&address]);
}

impl Installation {
    fn new() -> Self {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let installation = Self { folder: tempfile::tempdir().unwrap(), taken };
        fs::write(installation.path("passphrase"), "correct horse battery staple\n").unwrap();
        installation.write(CONFIG);
        let endpoint = format!("127.0.0.1:{}", installation.port());
        for arguments in [
            &["init", "--endpoint", &endpoint][..],
            &["client", "add", "anna", "--role", "smart-client", "--operator", "Anna"],
        ] {
            let output = installation.keys(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        }
        let check = installation.vmsgate("check").output().unwrap();
        assert!(check.status.success(), "the configuration is good to begin with: {check:?}");
        installation
    }

    /// The command fails as it should, its error contains every one of `named`, and no file has changed.
    fn refuses(&self, command: &str, named: &[&str]) {
        let before = contents(self.folder.path());
        let output = self.vmsgate(command).output().unwrap();
        let error = refused(&output);
        for word in named {
            assert!(error.contains(word), "`{command}` does not name `{word}`:\n{error}");
        }
        assert_eq!(contents(self.folder.path()), before, "`{command}` changed something");
    }

    fn replace(&self, from: &str, to: &str) {
        assert!(CONFIG.contains(from), "{from}");
        self.write(&CONFIG.replace(from, to));
    }

    fn append(&self, text: &str) {
        self.write(&format!("{CONFIG}{text}"));
    }

    fn write(&self, text: &str) {
        let data = self.path("data").display().to_string();
        let text = text.replace("PORT", &self.port().to_string()).replace("DATA", &data);
        fs::write(self.config(), text).unwrap();
    }

    /// A port next to the taken one; nothing listens on it in these tests.
    fn port(&self) -> u16 {
        self.taken.local_addr().unwrap().port() - 1
    }

    fn config(&self) -> PathBuf {
        self.path("gateway.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn vmsgate(&self, command: &str) -> Command {
        self.program("vmsgate", &[command])
    }

    fn keys(&self, arguments: &[&str]) -> Command {
        self.program("vmsgate-keys", arguments)
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries::built().unwrap().join(name));
        command
            .args(arguments)
            .env("VMSGATE_CONFIG", self.config())
            .env("VMSGATE_PASSPHRASE_FILE", self.path("passphrase"))
            .env_remove("RUST_BACKTRACE");
        command
    }
}

/// What a command that must fail wrote to standard error: one error, and no panic.
fn refused(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    // `check` reports its findings as data.
    let error = String::from_utf8_lossy(&output.stdout).into_owned() + &error;
    assert_eq!(output.status.code(), Some(1), "{error}");
    let errors = error.lines().filter(|line| line.contains("error: ")).count();
    assert_eq!(errors, 1, "not one clear error:\n{error}");
    assert!(!error.contains("panicked") && !error.contains("RUST_BACKTRACE"), "{error}");
    error
}

/// Every file and what is in it. SQLite's files beside the database come and go with its readers.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.to_str().unwrap().ends_with("-shm") && !path.to_str().unwrap().ends_with("-wal") {
            let content = fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}
