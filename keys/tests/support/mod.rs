//! An installation of its own for each test, driven through the real program.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it, and is its only outside")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use vmsgate_audit::{Chain, Create, Database};

pub const PASSPHRASE: &str = "correct horse battery staple";

pub struct Installation {
    folder: tempfile::TempDir,
}

/// What one run of the program left.
#[derive(Debug)]
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Installation {
    /// An empty folder and a passphrase file.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        Self { folder }
    }

    /// A fresh installation without a configuration.
    pub fn new() -> Self {
        let installation = Self::empty();
        installation.run(&["init", "--endpoint", "vpn.example.org:51820"]).succeeded();
        installation
    }

    /// A fresh installation with clients.
    pub fn with_clients(names: &[&str]) -> Self {
        let installation = Self::new();
        for name in names {
            installation.add(name).succeeded();
        }
        installation
    }

    pub fn add(&self, name: &str) -> Run {
        self.run(&["client", "add", name, "--role", "smart-client", "--operator", "Anna Berg"])
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with_input(arguments, "")
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // The program may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    /// The program with an environment of nothing but this installation.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmsgate-keys"));
        command
            .args(arguments)
            .env_clear()
            .env("VMSGATE_DATA", self.data())
            .env("VMSGATE_PASSPHRASE_FILE", self.path("passphrase"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn database(&self) -> PathBuf {
        self.data().join("vmsgate.db")
    }

    pub fn clients(&self) -> Vec<Value> {
        let list = self.run(&["client", "list", "--json"]).succeeded().json();
        list["clients"].as_array().unwrap().clone()
    }

    /// The administrative records: kind and whole record, in order; the hash chain over them is checked.
    pub fn admin_records(&self) -> Vec<(String, Value)> {
        admin_records(&self.database())
    }
}

/// The administrative records of a database.
pub fn admin_records(database: &Path) -> Vec<(String, Value)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Database::open(database, Create::No).await.unwrap();
        let chain = Chain::admin();
        let entries = vmsgate_audit::entries(&db, &chain, 0, 10_000).await.unwrap();
        let head = vmsgate_audit::head(&db, &chain).await.unwrap();
        db.close().await;
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let records = entries.iter().map(|entry| read(&entry.text));
        let records = records.map(|record| (record["kind"].as_str().unwrap().to_owned(), record)).collect();
        assert_eq!(vmsgate_audit::chain::verify(&chain, chain.genesis(), entries).unwrap(), head);
        records
    })
}

impl Run {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.status, 0, "{self:#?}");
        self
    }

    /// One error, a hint, exit status 1, no panic, and nothing on stdout.
    #[track_caller]
    pub fn refused(self, error: &str) -> Self {
        assert_eq!(self.status, 1, "{self:#?}");
        assert!(self.stderr.starts_with("error: "), "{self:#?}");
        assert!(self.stderr.contains(error), "expected `{error}` in {self:#?}");
        assert_eq!(self.stderr.matches("error: ").count(), 1, "{self:#?}");
        assert!(self.stderr.contains("\n\nhint: "), "{self:#?}");
        assert_eq!(self.stdout, "", "{self:#?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        assert_eq!(value["schema_version"], 1, "{self:#?}");
        value
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The value of a setting of a profile.
#[track_caller]
pub fn setting<'a>(conf: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name} = ");
    let mut values = conf.lines().filter_map(|line| line.strip_prefix(&prefix));
    let value = values.next().unwrap_or_else(|| panic!("no {name} in\n{conf}"));
    assert_eq!(values.next(), None, "two {name} in\n{conf}");
    value
}

/// Permission bits of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
