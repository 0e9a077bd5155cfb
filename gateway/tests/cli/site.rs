//! A directory with a configuration, in which commands are run and their outcome is written down.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;
use vmsgate_keys::{
    Actor, DataDir, Installation, NewClient, Passphrase, PresharedKey, PrivateKey, Settings, TunnelRanges,
};

pub(crate) const CONFIG: &str = r#"
[gateway]
name = "gw-1"
listen = "127.0.0.1:51820"
endpoint = "vpn.example.org:51820"
tunnel = ["10.99.0.0/16", "fd00:99::/64"]
data = "data"

[[server]]
name = "mgmt"
address = "192.168.10.10"
services = ["management-server", "event-server", "log-server"]

[[server]]
name = "rec01"
address = ["192.168.10.21", "fd00:10::21"]
hostnames = ["rec01.vms.local"]
services = ["recording-server", "wide"]

[service.wide]
tcp = ["8000-8010"]
udp = [8000]

[role.wide]
allow = ["rec01:wide"]
"#;

pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    pub(crate) fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("gateway.toml"), config).unwrap();
        std::fs::create_dir(directory.path().join("data")).unwrap();
        Self { directory }
    }

    /// Makes the registry and adds `anna-laptop` of Anna Berg with the role `smart-client`.
    pub(crate) async fn initialise(&self) -> Installation {
        let settings = Settings {
            name: "gw-1".to_owned(),
            endpoints: vec!["vpn.example.org:51820".parse().unwrap()],
            tunnel: TunnelRanges::new(vec!["10.99.0.0/16".parse().unwrap()]).unwrap(),
        };
        let passphrase = Passphrase::new(b"correct horse battery staple").unwrap();
        let actor = Actor::current();
        let installation = self.data().initialise(&passphrase, &settings, &actor).await.unwrap();
        let mut change = installation.registry.change(&actor).await.unwrap();
        let new = NewClient {
            name: "anna-laptop".parse().unwrap(),
            operator: "Anna Berg".parse().unwrap(),
            role: "smart-client".to_owned(),
            expires: None,
            public_key: PrivateKey::generate().public_key(),
            preshared_key: PresharedKey::generate(),
        };
        change.add_client(new, &settings.tunnel, &installation.master).await.unwrap();
        change.commit().await.unwrap();
        installation
    }

    pub(crate) fn data(&self) -> DataDir {
        DataDir::new(self.path("data"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `vmsgate -c gateway.toml ARGS` and writes down what came out of it.
    pub(crate) fn vmsgate(&self, args: &[&str]) -> String {
        self.plain_vmsgate(&[&["-c", "gateway.toml"], args].concat())
    }

    /// Runs `vmsgate ARGS`, without the environment of whoever runs the tests.
    pub(crate) fn plain_vmsgate(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmsgate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("VMSGATE_")) {
            command.env_remove(name);
        }
        let command = command.env_remove("RUST_LOG").current_dir(self.directory.path()).args(args);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        format!("exit {}\n-- out\n{stdout}-- err\n{stderr}", output.status.code().unwrap())
    }
}

/// The part of an outcome that went to stdout, as JSON.
pub(crate) fn json(outcome: &str) -> serde_json::Value {
    let (_, rest) = outcome.split_once("-- out\n").unwrap();
    let (out, _) = rest.split_once("-- err\n").unwrap();
    serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {outcome}"))
}

/// Replaces the policy version, which follows from the whole configuration and the catalogue.
pub(crate) fn without_policy(outcome: &str) -> String {
    let hex = |word: &str| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mark = |word: &str| {
        if hex(word.trim_end()) { word.replace(word.trim_end(), "[POLICY]") } else { word.to_owned() }
    };
    outcome.split_inclusive([' ', '\n']).map(mark).collect()
}
