//! What a gateway tells a client about itself: the body of `GET /v1/profile`.
//!
//! The gateway serves it on its tunnel addresses, the shim reads it, and site scripts may. It repeats
//! nothing secret: a stock profile file (`.conf`) already holds the keys, this adds the names, services
//! and limits that such a file has no place for. It lists only what the caller's role may reach.
//!
//! Fields are only ever added. A reader must ignore the ones it does not know and refuse a
//! [`SCHEMA_VERSION`] above its own.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ports::{PortRange, Protocol};

/// The version of this document; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;
/// How long before its end people are warned that an access ends, by every program.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);

/// The longest `contact`.
pub const MAX_CONTACT_CHARS: usize = 100;

/// The answer to `GET /v1/profile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub schema_version: u32,
    /// The name of the device, as `vmsgate-keys client list` shows it.
    pub client: String,
    /// The person it belongs to.
    pub operator: String,
    pub role: String,
    /// When the client's access ends (RFC 3339), if it does.
    pub expires: Option<String>,
    /// The client's own addresses in the tunnel, as host routes.
    pub addresses: Vec<IpNet>,
    pub gateway: GatewayInfo,
    /// The servers that the role may reach, in the order of the configuration.
    pub servers: Vec<ProfileServer>,
    /// Of the key pair that the tunnel runs under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<ProfileKeys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_quantum: Option<ProfilePostQuantum>,
    /// What the person who uses the client should know, a sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The client's key pair, and when it is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileKeys {
    /// When it was registered (RFC 3339).
    pub created: String,
    /// How old it may get before the client makes a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
}

/// Pre-shared keys that are agreed with ML-KEM-768 through the tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfilePostQuantum {
    /// How often the client asks for a new one.
    pub interval_seconds: u64,
    /// Whether the role reaches servers only under one.
    pub required: bool,
    /// Whether the session that asked is under one.
    pub in_force: bool,
}

/// The gateway that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayInfo {
    pub name: String,
    /// The gateway's clock when it answered (RFC 3339, milliseconds). Smart Client misbehaves when
    /// clocks differ, so the shim compares.
    pub server_time: String,
    /// Where a tunnel can be opened, as `host:port`, in order of preference.
    pub endpoints: Vec<String>,
    /// The static public keys that the gateway answers to, base64, newest first. Two during a rotation.
    pub identities: Vec<String>,
    /// The gateway's own addresses in the tunnel: where DNS and this document are served.
    pub addresses: Vec<IpAddr>,
    /// The largest IP packet that the tunnel carries, in bytes.
    pub mtu: u16,
    /// The site's DNS suffix, if it has one.
    pub dns_suffix: Option<String>,
    /// Whom people ask about their access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// One server, reduced to what the role may reach on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileServer {
    pub name: String,
    /// Every name the gateway's DNS answers for this server.
    pub hostnames: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub services: Vec<ProfileService>,
}

/// The ports of one service over one protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileService {
    pub name: String,
    pub protocol: Protocol,
    pub ports: Vec<PortRange>,
}
