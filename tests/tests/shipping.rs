//! The log of a running gateway reaches other systems, over TLS only those that the host trusts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    net::{TcpListener as StdTcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
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

#[tokio::test]
async fn a_collector_is_served_over_https_and_none_with_another_authority_or_name() {
    if !has(&["openssl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (trusted, certificate) = tls(folder.path(), "trusted");
    let (stranger_tls, _) = tls(folder.path(), "stranger");
    let (misnamed_tls, other_certificate) = tls_for(folder.path(), "misnamed", "DNS:elsewhere.example");
    let authorities = folder.path().join("authorities.pem");
    let both = [&certificate, &other_certificate].map(|path| fs::read_to_string(path).unwrap());
    fs::write(&authorities, both.concat()).unwrap();
    let (collector, stranger, misnamed) = (listen().await, listen().await, listen().await);
    let to = |listener: &TcpListener| format!("otlp+https://{}", listener.local_addr().unwrap());
    let receivers = [("collector", to(&collector)), ("stranger", to(&stranger)), ("misnamed", to(&misnamed))];
    let installation = Installation::new(folder, &receivers);
    let mut run = installation.vmsgate(&["run"]);
    run.env("SSL_CERT_FILE", authorities);
    let gateway = Process::start("vmsgate run", run).unwrap();

    let refuse = async |listener: &TcpListener, tls: &TlsAcceptor| {
        let (stream, _) = listener.accept().await.unwrap();
        tls.accept(stream).await.unwrap_err().to_string()
    };
    let serve = async {
        let (stream, _) = collector.accept().await.unwrap();
        BufReader::new(trusted.accept(stream).await.unwrap())
    };
    let connected =
        async { tokio::join!(refuse(&stranger, &stranger_tls), refuse(&misnamed, &misnamed_tls), serve) };
    let (unknown, wrong_name, mut stream) = tokio::time::timeout(PATIENCE, connected).await.unwrap();
    assert!(unknown.contains("UnknownCA"), "{unknown}");
    assert!(
        wrong_name.contains("BadCertificate") || wrong_name.contains("CertificateUnknown"),
        "{wrong_name}"
    );
    let mut text = String::new();
    take_logs(&mut stream, &mut text, "gateway.started").await;
    let failing = |status: &Value, at: usize| status["shipping"][at]["state"] == "failing";
    let status = installation.status_when(|status| failing(status, 1) && failing(status, 2)).await;
    for (receiver, words) in [(1, "UnknownIssuer"), (2, "not valid for")] {
        let error = status["shipping"][receiver]["last_error"].as_str().unwrap();
        assert!(error.contains("invalid peer certificate") && error.contains(words), "{error}");
    }
    assert_eq!(status["shipping"][0]["state"], "connected");
    let (ended, ()) = tokio::join!(
        tokio::task::spawn_blocking(|| gateway.stop().unwrap()),
        take_logs(&mut stream, &mut text, "gateway.stopped"),
    );
    assert!(ended.unwrap().0.success());
}

#[tokio::test]
async fn a_reload_starts_and_stops_receivers_and_the_others_go_on_at_their_place() {
    let (first, second) = (listen().await, listen().await);
    let to = |listener: &TcpListener| format!("syslog+tcp://{}", listener.local_addr().unwrap());
    let (one, two) = (("one", to(&first)), ("two", to(&second)));
    let installation = Installation::new(tempfile::tempdir().unwrap(), std::slice::from_ref(&one));
    let gateway = Process::start("vmsgate run", installation.vmsgate(&["run"])).unwrap();
    let (mut of_one, mut before) = (accept(&first).await, String::new());
    read_until(&mut of_one, &mut before, "\"kind\":\"gateway.started\"").await;
    // Until it is known to be received, a record may come again.
    let served = |status: &Value| {
        let all = status["shipping"].as_array().unwrap();
        all.iter().all(|receiver| receiver["state"] == "connected" && receiver["behind"] == 0)
    };
    installation.status_when(served).await;
    let settled = places(&before);

    installation.configure(&[one, two.clone()]);
    gateway.signal(Signal::SIGHUP).unwrap();
    read_to_end(&mut of_one, &mut before).await;
    let (mut of_one, mut of_two) = tokio::join!(accept(&first), accept(&second));
    let (mut after, mut all) = (String::new(), String::new());
    read_until(&mut of_one, &mut after, "\"kind\":\"gateway.config\"").await;
    read_until(&mut of_two, &mut all, "\"kind\":\"gateway.config\"").await;
    installation.status_when(served).await;
    let of_the_first: BTreeSet<Place> = places(&before).union(&places(&after)).cloned().collect();
    without_a_gap(&of_the_first);
    assert!(settled.is_disjoint(&places(&after)), "twice: {settled:?} and {after}");
    let settled = places(&all);

    installation.configure(&[two]);
    gateway.signal(Signal::SIGHUP).unwrap();
    let mut rest = String::new();
    read_to_end(&mut of_one, &mut rest).await;
    read_to_end(&mut of_two, &mut all).await;
    let (mut of_two, mut last) = (accept(&second).await, String::new());
    let (ended, ()) = tokio::join!(
        tokio::task::spawn_blocking(|| gateway.stop().unwrap()),
        read_until(&mut of_two, &mut last, "\"kind\":\"gateway.stopped\""),
    );
    assert!(ended.unwrap().0.success());
    assert!(settled.is_disjoint(&places(&last)), "twice: {settled:?} and {last}");
    let of_the_second: BTreeSet<Place> = places(&all).union(&places(&last)).cloned().collect();
    without_a_gap(&of_the_second);
    assert!(of_the_first.is_subset(&of_the_second), "the new one has the whole log: {of_the_first:?}");
    let again = first.into_std().unwrap().accept().map(drop).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::WouldBlock, "the removed one is not called again");
}

/// Chain and sequence number of a record.
type Place = (String, u64);

/// The places of the records in what a syslog receiver was sent.
fn places(text: &str) -> BTreeSet<Place> {
    let place = |message: &str| {
        let parameter = |name: &str| Some(message.split(&format!(" {name}=\"")).nth(1)?.split_once('"')?.0);
        Some((parameter("chain")?.to_owned(), parameter("seq")?.parse().ok()?))
    };
    // The last one may not have arrived whole.
    text.split("[vmsgate@32473").skip(1).filter_map(place).collect()
}

/// Every chain begins at its first record and goes on.
fn without_a_gap(places: &BTreeSet<Place>) {
    let chains: BTreeSet<&String> = places.iter().map(|(chain, _)| chain).collect();
    assert_eq!(chains.len(), 2, "{places:?}");
    for chain in chains {
        let numbers: Vec<u64> = places.iter().filter(|(of, _)| of == chain).map(|(_, seq)| *seq).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{chain}");
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    tokio::time::timeout(PATIENCE, listener.accept()).await.expect("somebody connects").unwrap().0
}

async fn read_to_end(stream: &mut TcpStream, text: &mut String) {
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_string(text)).await;
    ended.expect("the gateway lets the receiver go").unwrap();
}

/// Answers requests as a collector that keeps everything, until one holds `wanted`.
async fn take_logs(stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin), text: &mut String, wanted: &str) {
    let take = async {
        while !text.contains(wanted) {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(stream.read_line(&mut head).await.unwrap() > 0, "the request ends early: {head}");
            }
            assert!(head.starts_with("POST /v1/logs HTTP/1.1\r\n"), "{head}");
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            text.push_str(std::str::from_utf8(&body).unwrap());
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            stream.flush().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, take).await.unwrap_or_else(|_| panic!("{wanted} does not arrive"));
}

/// An installation that ships to the receivers, in a folder of its own.
struct Installation {
    folder: TempDir,
    /// The configuration without the receivers.
    base: String,
}

impl Installation {
    fn new(folder: TempDir, receivers: &[(&str, String)]) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let admin = StdTcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let data = folder.path().join("data").display().to_string();
        let base = format!(
            "[gateway]\nname = \"gw-1\"\nlisten = \"{udp}\"\nendpoint = \"{udp}\"\ntunnel = \"10.99.0.0/16\"\n\
             data = \"{data}\"\n[[server]]\nname = \"mgmt\"\naddress = \"192.168.10.10\"\n\
             services = [\"management-server\"]\n[admin]\nlisten = \"{admin}\"\n"
        );
        let installation = Self { folder, base };
        installation.configure(receivers);
        fs::write(installation.path("passphrase"), "correct horse battery staple\n").unwrap();
        capture(&mut installation.program("vmsgate-keys", &["init", "--endpoint", &udp.to_string()]))
            .unwrap();
        installation
    }

    fn configure(&self, receivers: &[(&str, String)]) {
        let mut config = self.base.clone();
        for (name, to) in receivers {
            config.push_str(&format!("[[ship]]\nname = \"{name}\"\nto = \"{to}\"\n"));
        }
        // In one step: the gateway looks at the file by itself too.
        fs::write(self.path("new.toml"), config).unwrap();
        fs::rename(self.path("new.toml"), self.path("gateway.toml")).unwrap();
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
    tls_for(folder, name, "IP:127.0.0.1")
}

/// The same with a certificate for another `subject`.
fn tls_for(folder: &Path, name: &str, subject: &str) -> (TlsAcceptor, PathBuf) {
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
        .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName={subject}")])
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
