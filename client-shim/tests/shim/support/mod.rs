//! A gateway in a thread, made of the real state machine and the real TCP stack, on a loopback address. Behind it
//! are servers that greet with their address and echo what they are told.

mod gateway;
mod line;
pub mod registry;
pub mod relay;
mod serve;

pub use serve::HTTP;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::rustls::ServerConfig;
use vmsgate_exchange::Token;
use vmsgate_shim::Profile;
use vmsgate_tunnel::peer::Access;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

pub use line::Line;
use registry::{Command, Registry, Shared};

pub const GATEWAY: [&str; 2] = ["10.99.0.1", "fd00:99::1"];
pub const CLIENT: [&str; 2] = ["10.99.0.2", "fd00:99::2"];

/// Whom the gateway says to ask.
pub const CONTACT: &str = "VMS operations, +45 12 34 56 78";

/// One server that the client may reach, on one service.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: String,
    pub address: &'static str,
    pub ports: RangeInclusive<u16>,
    /// The names that the VMS gives it.
    pub hostnames: Vec<String>,
    pub speaks: Speaks,
}

/// What a server does with a connection.
#[derive(Debug, Clone)]
pub enum Speaks {
    /// Greets with its address, and echoes.
    Greeting,
    /// TLS with a certificate.
    Tls(Arc<ServerConfig>),
    /// Policy does not let anybody reach it, whatever the profile document says.
    Refusal,
}

/// Keys and the port, which outlive the gateway's process.
pub struct Site {
    pub gateway: StaticSecret,
    pub client: StaticSecret,
    pub preshared: [u8; 32],
    pub endpoint: SocketAddr,
    pub registry: Shared,
    /// Makes names unique: a server's name decides its loopback address, and tests run at the same time.
    tag: u32,
    folder: TempDir,
}

/// A running gateway; dropping it ends it, and every session with it.
pub struct Gateway {
    stop: Option<oneshot::Sender<()>>,
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// An address of this process and this call alone, and a port that the system lends nobody: between two runs of a gateway
/// it must not become another's.
pub fn own_endpoint() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 192 | high & 31, low, NEXT.fetch_add(1, Ordering::Relaxed));
    (address, 20_000).into()
}

impl Site {
    pub fn new() -> Self {
        let key = || {
            let mut bytes = [0; 32];
            fastrand::fill(&mut bytes);
            bytes
        };
        let endpoint = own_endpoint();
        let (gateway, client, preshared): (StaticSecret, StaticSecret, _) =
            (key().into(), key().into(), key());
        let registry = Registry {
            identities: vec![gateway.clone()],
            keys: vec![(PublicKey::from(&client), preshared)],
            access: Access::Active { until: None },
            invitation: None,
            used: None,
            interval: None,
            max_age: None,
            expires: None,
            clock_offset: SignedDuration::ZERO,
            newer_identity: None,
            role_is_gone: false,
            created: jiff::Timestamp::now(),
            lose: 0,
            busy: 0,
            asked: Vec::new(),
            endpoints: vec![endpoint.to_string()],
        };
        Self {
            gateway,
            client,
            preshared,
            endpoint,
            registry: Arc::new(Mutex::new(registry)),
            tag: fastrand::u32(..),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts a gateway that lets the client reach exactly these servers.
    pub fn start(&self, servers: &[Server]) -> Gateway {
        self.start_at(self.endpoint, servers)
    }

    /// The same at another address, with the same keys: a second gateway of the same registry.
    pub fn start_at(&self, listen: SocketAddr, servers: &[Server]) -> Gateway {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (commands, receiver) = mpsc::unbounded_channel();
        let settings = gateway::Settings {
            registry: self.registry.clone(),
            listen,
            servers: servers.to_vec(),
            commands: (commands.clone(), receiver),
        };
        let thread = std::thread::spawn(move || gateway::run(settings, &ready, stopped));
        is_ready.recv().expect("the gateway starts");
        Gateway { stop: Some(stop), commands, thread: Some(thread) }
    }

    /// A server whose name begins so, which no other site has.
    pub fn server(&self, name: &str, address: &'static str, ports: RangeInclusive<u16>) -> Server {
        let name = self.name(name);
        let hostnames = vec![name.clone(), format!("{name}.vms.local")];
        Server { name, address, ports, hostnames, speaks: Speaks::Greeting }
    }

    pub fn name(&self, name: &str) -> String {
        format!("{name}-{:08x}", self.tag)
    }

    /// The profile as it was given out, with another endpoint.
    pub fn profile_text_through(&self, endpoint: SocketAddr) -> String {
        self.profile_text().replace(&self.endpoint.to_string(), &endpoint.to_string())
    }

    pub fn profile_text(&self) -> String {
        let encode = |bytes: &[u8]| STANDARD.encode(bytes);
        format!(
            "[Interface]\nPrivateKey = {}\nAddress = {}\nDNS = {}\n\
             [Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {}\n\
             PersistentKeepalive = 25\n",
            encode(self.client.as_bytes()),
            CLIENT.join(", "),
            GATEWAY.join(", "),
            encode(PublicKey::from(&self.gateway).as_bytes()),
            encode(&self.preshared),
            self.endpoint,
        )
    }

    pub fn profile(&self) -> Profile {
        Profile::parse(&self.profile_text(), "alice.conf", "alice".to_owned()).unwrap()
    }

    /// The profile as a file that is the user's alone.
    pub fn profile_file(&self) -> PathBuf {
        self.profile_file_of(&self.profile_text())
    }

    /// The same with a text of the test's choice.
    pub fn profile_file_of(&self, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("alice.conf");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A folder for the run-time files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Gateway {
    /// Has it take over what changed in the registry.
    pub async fn apply(&self) {
        let (done, is_done) = oneshot::channel();
        self.commands.send(Command::Apply(done)).ok().unwrap();
        is_done.await.unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the gateway ends well");
        }
    }
}

/// Invites the client.
pub fn invite(site: &Site) -> Token {
    let expires = jiff::Timestamp::now().as_second() as u64 + 3600;
    let endpoint = site.endpoint.to_string().parse().unwrap();
    let seed = Zeroizing::new(std::array::from_fn(|_| fastrand::u8(..)));
    let gateway = PublicKey::from(&site.gateway);
    let token = Token::new(gateway, endpoint, "anna-laptop".to_owned(), expires, seed).unwrap();
    let mut registry = site.registry.lock().unwrap();
    (registry.invitation, registry.used) = (Some(token.keys()), None);
    drop(registry);
    token
}

/// An address of the recording network.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
