//! A gateway that nobody has set up either makes what is missing or says what to do, and is asked for its health.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    process::{Command, Output},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use vmsgate_tests::{
    binaries,
    process::{InTime, PATIENCE, Process, capture},
};

#[test]
fn a_start_where_nothing_is_says_what_to_do_and_leaves_nothing_behind() {
    let volume = Volume::new();
    let failed = volume.refused(&mut volume.command("vmsgate", &["run"]));
    assert!(failed.contains("there is no configuration at "), "{failed}");
    assert!(failed.contains("set VMSGATE_ENDPOINT (or `run --endpoint`)"), "{failed}");

    let mut without_secret = volume.first_start();
    let failed = volume.refused(without_secret.env_remove("VMSGATE_PASSPHRASE_FILE"));
    assert!(failed.contains("the keystore's passphrase is needed"), "{failed}");
    assert!(failed.contains("VMSGATE_PASSPHRASE_FILE"), "{failed}");

    fs::write(volume.secret.path().join("passphrase"), "short\n").unwrap();
    let failed = volume.refused(&mut volume.first_start());
    assert!(failed.contains("hint: several random words"), "{failed}");
    assert_eq!(volume.files(), Vec::<String>::new());
}

#[test]
fn with_an_endpoint_the_first_start_makes_everything_and_the_next_finds_it() {
    let volume = Volume::new();
    let gateway = volume.run(volume.first_start());
    assert!(gateway.output().contains("first start: an installation was made"), "{}", gateway.output());
    assert_eq!(volume.health(&["--alive"]).1, "alive\n");
    let key = volume.public_key();
    let add = ["client", "add", "anna", "--role", "smart-client", "--operator", "Anna Berg"];
    let profile = capture(&mut volume.command("vmsgate-keys", &add)).unwrap();
    assert!(profile.contains("Endpoint = vpn.example.org:51820"), "{profile}");
    gateway.stop().unwrap();

    let mut elsewhere = volume.command("vmsgate", &["run", "--endpoint", "other.example.org:51820"]);
    let gateway = volume.run({
        elsewhere.env("RUST_LOG", "warn");
        elsewhere
    });
    assert!(gateway.output().contains("is for the first start alone"), "{}", gateway.output());
    assert_eq!(volume.public_key(), key);
    gateway.stop().unwrap();
}

#[test]
fn health_says_what_does_not_hold_and_whether_a_restart_would_help() {
    let volume = Volume::new();
    let (status, text) = volume.health(&[]);
    assert!(status == Some(1) && text.contains("no gateway is running"), "{status:?} {text}");

    let gateway = volume.run(volume.first_start());
    fs::write(volume.file("gateway.toml"), "nonsense\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while volume.health(&[]).0 == Some(0) {
        assert!(Instant::now() < deadline, "the broken configuration goes unnoticed");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, text) = volume.health(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &report["ok"]), (Some(1), &false.into()), "{report}");
    let broken = report["conditions"].as_array().unwrap().iter().find(|one| one["ok"] == false).unwrap();
    assert_eq!(broken["code"], "configuration-in-force", "{report}");
    let (status, text) = volume.health(&[]);
    assert!(status == Some(1) && text.contains(broken["text"].as_str().unwrap()), "{text}");
    assert_eq!(volume.health(&["--alive"]).0, Some(0), "its sessions go on: no restart");

    gateway.signal(Signal::SIGSTOP).unwrap();
    let (status, text) = volume.health(&["--alive"]);
    assert!(status == Some(2) && text.contains("did not answer within 5 s"), "{status:?} {text}");
    gateway.signal(Signal::SIGCONT).unwrap();
    gateway.stop().unwrap();
}

#[test]
fn what_was_lost_is_not_made_anew() {
    let volume = Volume::new();
    volume.run(volume.first_start()).stop().unwrap();
    fs::rename(volume.file("gateway.toml"), volume.file("kept.toml")).unwrap();
    let failed = volume.refused(&mut volume.first_start());
    assert!(failed.contains("but an installation in"), "{failed}");
    fs::rename(volume.file("kept.toml"), volume.file("gateway.toml")).unwrap();
    fs::remove_file(volume.file("keystore")).unwrap();
    let failed = volume.refused(&mut volume.first_start());
    assert!(failed.contains("there is no keystore at"), "{failed}");
    assert!(!volume.file("keystore").exists());
}

/// An empty volume, and a secret beside it.
struct Volume {
    folder: tempfile::TempDir,
    secret: tempfile::TempDir,
}

impl Volume {
    fn new() -> Self {
        let volume = Self { folder: tempfile::tempdir().unwrap(), secret: tempfile::tempdir().unwrap() };
        fs::write(volume.secret.path().join("passphrase"), "correct horse battery staple\n").unwrap();
        volume
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries::built().unwrap().join(program));
        command
            .args(arguments)
            .env_clear()
            .env("VMSGATE_CONFIG", self.file("gateway.toml"))
            .env("VMSGATE_DATA", self.folder.path())
            .env("VMSGATE_PASSPHRASE_FILE", self.secret.path().join("passphrase"))
            .env("VMSGATE_GATEWAY_LISTEN", "127.0.0.1:0")
            .env("VMSGATE_ADMIN_LISTEN", "127.0.0.1:0");
        command
    }

    fn first_start(&self) -> Command {
        let mut command = self.command("vmsgate", &["run"]);
        command.env("VMSGATE_ENDPOINT", "vpn.example.org:51820");
        command
    }

    /// Starts a gateway and waits until it says that it is healthy.
    fn run(&self, command: Command) -> Process {
        let mut gateway = Process::start("vmsgate run", command).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, text) = self.health(&[]);
            if status == Some(0) {
                assert_eq!(text, "ready\n");
                return gateway;
            }
            let runs = gateway.is_running().unwrap() && Instant::now() < deadline;
            assert!(runs, "{text}\n{}", gateway.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The exit status of `vmsgate health`, and all that it printed.
    fn health(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command("vmsgate", &[&["health"], arguments].concat()).output_in_time().unwrap();
        (output.status.code(), text(&output))
    }

    fn refused(&self, command: &mut Command) -> String {
        let output = command.output_in_time().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    }

    fn public_key(&self) -> String {
        let shown = capture(&mut self.command("vmsgate-keys", &["gateway", "show", "--json"])).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown.pointer("/identities/0/public_key").unwrap_or_else(|| panic!("{shown}")).to_string()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
