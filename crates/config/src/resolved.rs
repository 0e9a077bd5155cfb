//! The configuration as programs use it: typed, complete and free of contradictions.
//!
//! A [`Config`] exists only if nothing in it is an error, so no reader has to check it again. Defaults are
//! filled in, names are looked up, and each role carries its permissions ready to be compared with a packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::{Endpoint, IpRange};
use crate::catalogue::Encryption;
use crate::finding::Finding;
use crate::ports::{PortRange, Protocol, ProtocolPorts};
use crate::ship::Ship;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub gateway: Gateway,
    /// In the order of the file.
    pub servers: Vec<Server>,
    /// The built-in services and the file's own, by name.
    pub services: BTreeMap<String, Service>,
    /// The built-in roles and the file's own, by name.
    pub roles: BTreeMap<String, Role>,
    pub proxy: Proxy,
    pub keys: Keys,
    pub limits: Limits,
    pub audit: Audit,
    /// In the order of the file.
    pub ships: Vec<Ship>,
    pub admin: Admin,
    pub dns: Dns,
    /// Which policy this is: 16 hexadecimal digits that audit records carry as the policy version. Equal for
    /// two files exactly when they allow and refuse the same things (host names, limits and descriptions are not part of it).
    pub version: String,
    /// SHA-256 of the file, and after it one line `VARIABLE=VALUE` for each environment variable that took the place
    /// of a value, in the order of their names. Without such variables it is what `sha256sum` prints of the file.
    pub hash: [u8; 32],
    /// The environment variables that took the place of values of the file.
    pub variables: Vec<String>,
    /// What does not prevent use but deserves a look.
    pub warnings: Vec<Finding>,
}

/// `[gateway]`
#[derive(Debug, Clone)]
pub struct Gateway {
    pub name: String,
    /// UDP addresses for tunnels; at least one, none of them overlapping.
    pub listen: Vec<SocketAddr>,
    /// What profiles tell clients to connect to, in order of preference; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Whom people ask about their access.
    pub contact: Option<String>,
    /// The ranges that client addresses come from: one IPv4 range, one IPv6 range, or one of each.
    pub tunnel: Vec<IpNet>,
    pub data: PathBuf,
    pub egress: Egress,
    /// Threads that move packets; 0 is one per processor core.
    pub workers: u8,
    /// The largest IP packet inside the tunnel, in bytes.
    pub mtu: u16,
    pub on_denied: OnDenied,
}

/// How allowed packets reach the recording network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    /// A userspace TCP/IP stack and ordinary sockets.
    Proxy,
    /// The kernel routes.
    Tun(Tun),
}

/// The kernel's side of egress `tun`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tun {
    /// The interface that the gateway makes.
    pub interface: String,
    /// Whether servers see the gateway's address instead of the client's.
    pub masquerade: bool,
}

impl Egress {
    /// As written in the file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Egress::Proxy => "proxy",
            Egress::Tun(_) => "tun",
        }
    }
}

/// What a client sees of a refused attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDenied {
    /// TCP RST, or ICMP administratively prohibited: the client fails at once.
    Reject,
    /// Silence.
    Drop,
}

/// `[[server]]`: a machine of the recording network.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    /// Every name that DNS answers for the server, lower-case: its own, its host names, and the
    /// single-label ones among them with the DNS suffix appended.
    pub names: Vec<String>,
    /// The services it runs.
    pub services: Vec<String>,
    /// Never-expose ports that a role may reach here all the same: the file's exceptions, and those of built-in
    /// services. They open nothing by themselves.
    pub expose_anyway: Vec<Exposure>,
}

/// One entry of `expose-anyway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    pub ports: ProtocolPorts,
    pub reason: String,
}

/// A named set of ports.
#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    pub description: String,
    pub ports: Vec<ProtocolPorts>,
    pub encryption: Encryption,
    /// Whether a TCP connection to it must be TLS.
    pub require_tls: bool,
}

/// What a client may reach.
#[derive(Debug, Clone)]
pub struct Role {
    pub name: String,
    pub description: String,
    /// The rules as written: `SERVER-PATTERN:SERVICE`.
    pub allow: Vec<String>,
    /// Whether ICMP echo is allowed to each server that the role reaches.
    pub icmp: bool,
    /// Whether everything that the role reaches over TCP must be TLS.
    pub require_tls: bool,
    /// How long after it was added a client may connect, unless something else is said then.
    pub expires: Option<Duration>,
    /// Whether servers are reached only under a pre-shared key agreed with ML-KEM.
    pub require_post_quantum: bool,
    /// Everything the role may reach over TCP and UDP; nothing else is reachable. Ordered by server,
    /// then as the rules are.
    pub permissions: Vec<Permission>,
    /// Where the file has the role; none for a built-in one.
    pub written: Option<WrittenRole>,
}

/// The lines of a role in the file, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenRole {
    /// Of its heading.
    pub line: usize,
    /// Of each rule, as `allow` has them.
    pub rules: Vec<usize>,
}

/// One thing a role may reach: some ports of one service on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub server: String,
    pub service: String,
    pub protocol: Protocol,
    pub ports: PortRange,
    pub addresses: Vec<IpAddr>,
    /// The rule of the role that grants it, as written.
    pub rule: String,
    /// The words of the file that let only TLS pass, e.g. `service recording-server: require-tls`; none over UDP.
    pub require_tls: Option<String>,
}

/// `[proxy]`
#[derive(Debug, Clone)]
pub struct Proxy {
    /// How long a server may take to answer a connection attempt.
    pub connect_timeout: Duration,
    /// LAN addresses that clients leave from, one each; empty = the host's own choice.
    pub source_pool: Vec<IpRange>,
    /// How long an established TCP flow may be silent.
    pub idle_tcp_established: Duration,
    /// How long a TCP flow may take to be established or, half closed, to end.
    pub idle_tcp_half_open: Duration,
    pub idle_udp: Duration,
    pub idle_icmp: Duration,
    /// The most buffer memory that the flows of one client may hold, in bytes.
    pub client_memory: u64,
    /// The most buffer memory that all flows may hold, in bytes.
    pub total_memory: u64,
}

/// `[keys]`
#[derive(Debug, Clone)]
pub struct Keys {
    /// The age at which a client's key is to be replaced.
    pub client_max_age: Option<Duration>,
    /// How often a fresh pre-shared key is agreed on.
    pub pq_interval: Duration,
}

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    pub flows_per_client: u32,
    pub flows_total: u32,
    /// New flows per second of one client, in the long run.
    pub new_flows_per_second: u32,
    /// Handshakes per second from one source (an IPv4 address, or an IPv6 /64) before it must prove its address.
    pub handshakes_per_source: u32,
    /// Handshakes per second in all before every source must prove its address.
    pub handshakes_total: u32,
}

/// `[audit]`
#[derive(Debug, Clone)]
pub struct Audit {
    /// How many records may wait to be written before new flows are refused.
    pub queue: u32,
    pub durability: Durability,
    pub on_failure: OnFailure,
    /// How long live flows go on while records cannot be written.
    pub failure_grace: Duration,
    pub retention: Retention,
}

/// `durability`: when the record of a new flow is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the flow's first packet is forwarded.
    BeforeForward,
    /// At most 200 ms later.
    Soon,
}

/// `on-failure`: what becomes of new flows while records cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Refuse,
    Continue,
}

/// How long records are kept, by what they tell of; none is for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    pub sessions: Option<Duration>,
    pub flows: Option<Duration>,
    pub denials: Option<Duration>,
    pub handshakes: Option<Duration>,
    pub gateway: Option<Duration>,
    pub admin: Option<Duration>,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// TCP address of `/healthz`, `/readyz` and `/metrics`.
    pub listen: SocketAddr,
}

/// `[dns]`
#[derive(Debug, Clone)]
pub struct Dns {
    /// Lower-case, without dots at its ends.
    pub suffix: Option<String>,
    pub ttl: Duration,
}

impl Config {
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }
}

impl Gateway {
    /// The gateway's own tunnel addresses: in each range the one after the network address, which in IPv6
    /// belongs to every router (RFC 4291, section 2.6.1).
    pub fn tunnel_addresses(&self) -> Vec<IpAddr> {
        let first = |range: &IpNet| range.hosts().find(|address| *address != range.network());
        self.tunnel.iter().filter_map(first).collect()
    }
}

impl Role {
    /// Every server address that the role reaches.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.permissions.iter().flat_map(|permission| permission.addresses.iter().copied()).collect()
    }
}
