//! The log of a running gateway reaches other systems, over TLS only those that the host trusts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{TcpListener as StdTcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use vmsgate_tests::{
    binaries,
    process::{PATIENCE, Process, capture},
    require::has,
};

#[tokio::test]
async fn the_log_of_a_running_gateway_reaches_its_receivers_but_none_that_the_host_does_not_trust() {
    if !has(&["openssl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (trusted, certificate) = tls(folder.path(), "trusted");
    let (untrusted, _) = tls(folder.path(), "untrusted");
    let (plain, siem, stranger) = (listen().await, listen().await, listen().await);
    let installation = Installation::new(
        folder,
        &[
            ("plain", format!("syslog+tcp://{}", plain.local_addr().unwrap())),
            ("siem", format!("syslog+tls://{}", siem.local_addr().unwrap())),
            ("stranger", format!("syslog+tls://{}", stranger.local_addr().unwrap())),
        ],
    );
    let mut run = installation.vmsgate(&["run"]);
    run.env("SSL_CERT_FILE", certificate);
    let gateway = Process::start("vmsgate run", run).unwrap();

    let refuse = async {
        let (stream, _) = stranger.accept().await.unwrap();
        untrusted.accept(stream).await.unwrap_err()
    };
    let serve = async {
        let (plain, _) = plain.accept().await.unwrap();
        let (siem, _) = siem.accept().await.unwrap();
        (plain, trusted.accept(siem).await.unwrap())
    };
    let (refusal, (mut plain, mut siem)) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(refuse, serve) }).await.unwrap();
    assert!(refusal.to_string().contains("UnknownCA"), "{refusal}");
    let (mut in_clear, mut over_tls) = (String::new(), String::new());
    read_until(&mut plain, &mut in_clear, "\"kind\":\"gateway.started\"").await;
    read_until(&mut siem, &mut over_tls, "\"kind\":\"gateway.started\"").await;

    let status = installation.status_when(|status| status["shipping"][2]["state"] == "failing").await;
    let error = status["shipping"][2]["last_error"].as_str().unwrap();
    assert!(error.contains("invalid peer certificate"), "{error}");
    let warns = |condition: &Value| {
        let text = condition["text"].as_str().unwrap();
        condition["code"] == "audit-shipping" && text.starts_with("warning: ") && text.contains("`stranger`")
    };
    let conditions = |status: &Value| status["conditions"].as_array().unwrap().clone();
    let status = installation.status_when(|status| conditions(status).iter().any(warns)).await;
    assert!(conditions(&status).iter().all(|condition| condition["ok"] == true), "it stays ready: {status}");

    let (ended, (), ()) = tokio::join!(
        tokio::task::spawn_blocking(|| gateway.stop().unwrap()),
        read_until(&mut plain, &mut in_clear, "\"kind\":\"gateway.stopped\""),
        read_until(&mut siem, &mut over_tls, "\"kind\":\"gateway.stopped\""),
    );
    assert!(ended.unwrap().0.success());
    for text in [in_clear, over_tls] {
        assert!(
            text.contains("\"kind\":\"admin.installation.init\"") || text.contains("\"chain\":\"admin\"")
        );
    }
}

/// An installation that ships to the receivers, in a folder of its own.
struct Installation {
    folder: TempDir,
}

impl Installation {
    fn new(folder: TempDir, receivers: &[(&str, String)]) -> Self {
        let installation = Self { folder };
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let admin = StdTcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let data = installation.path("data").display().to_string();
        let mut config = format!(
            "[gateway]\nname = \"gw-1\"\nlisten = \"{udp}\"\nendpoint = \"{udp}\"\ntunnel = \"10.99.0.0/16\"\n\
             data = \"{data}\"\n[[server]]\nname = \"mgmt\"\naddress = \"192.168.10.10\"\n\
             services = [\"management-server\"]\n[admin]\nlisten = \"{admin}\"\n"
        );
        for (name, to) in receivers {
            config.push_str(&format!("[[ship]]\nname = \"{name}\"\nto = \"{to}\"\n"));
        }
        fs::write(installation.path("gateway.toml"), config).unwrap();
        fs::write(installation.path("passphrase"), "correct horse battery staple\n").unwrap();
        capture(&mut installation.program("vmsgate-keys", &["init", "--endpoint", &udp.to_string()]))
            .unwrap();
        installation
    }

    /// What the gateway says of itself, once it is as wanted.
    async fn status_when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let ask = || capture(&mut self.vmsgate(&["status", "--json"])).unwrap();
        let reached = async {
            loop {
                let status = serde_json::from_str(&ask()).unwrap();
                if wanted(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("not reached: {}", ask()))
    }

    fn vmsgate(&self, arguments: &[&str]) -> Command {
        self.program("vmsgate", arguments)
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binaries::built().unwrap().join(name));
        command
            .args(arguments)
            .env("VMSGATE_CONFIG", self.path("gateway.toml"))
            .env("VMSGATE_PASSPHRASE_FILE", self.path("passphrase"))
            .env_remove("RUST_BACKTRACE");
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &mut String, wanted: &str) {
    let read = async {
        while !text.contains(wanted) {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the stream ends before {wanted}: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{wanted} does not arrive"));
}

/// A TLS server for 127.0.0.1 with a new self-signed certificate, and that certificate's file.
fn tls(folder: &Path, name: &str) -> (TlsAcceptor, PathBuf) {
    let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
    let mut request = Command::new("openssl");
    request
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    capture(&mut request).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&certificate).unwrap()],
            PrivateKeyDer::from_pem_file(&key).unwrap(),
        )
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certificate)
}
