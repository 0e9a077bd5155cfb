//! The JSON bodies of the control requests about keys. Fields are only ever added; a reader ignores those it does not
//! know and refuses a [`SCHEMA_VERSION`] above its own. Keys are base64 as `wg` writes them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The version of these documents; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;
/// A request with an encapsulation key has about 1.7 KiB.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// `POST /v1/enroll` and `POST /v1/keys`: a new public key, and an offer for the pre-shared key that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    pub schema_version: u32,
    pub public_key: String,
    /// ML-KEM-768.
    pub encapsulation_key: String,
}

/// `POST /v1/psk`: an offer for a pre-shared key of the keys in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPresharedKey {
    pub schema_version: u32,
    pub encapsulation_key: String,
}

/// The answer to [`NewKey`] under `/v1/keys` and to [`NewPresharedKey`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub schema_version: u32,
    /// ML-KEM-768, for the request's encapsulation key.
    pub ciphertext: String,
}

/// The answer to [`NewKey`] under `/v1/enroll`: all that a WireGuard configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    pub schema_version: u32,
    pub ciphertext: String,
    pub client: String,
    pub operator: String,
    pub role: String,
    /// RFC 3339, if access ends.
    pub expires: Option<String>,
    /// The client's own addresses in the tunnel.
    pub addresses: Vec<IpAddr>,
    pub gateway_name: String,
    /// The identity to use; may be newer than the one that the invitation named.
    pub gateway_key: String,
    /// In order of preference.
    pub endpoints: Vec<String>,
    pub gateway_addresses: Vec<IpAddr>,
    pub dns_suffix: Option<String>,
    /// What else the client sends into the tunnel.
    pub reachable: Vec<IpNet>,
    pub mtu: u16,
}

/// The codes of the gateway's error documents that a shim acts upon.
pub mod code {
    /// Another device used the invitation.
    pub const INVITATION_USED: &str = "invitation-used";
    pub const INVITATION_EXPIRED: &str = "invitation-expired";
    /// The same client asked a moment ago.
    pub const TOO_OFTEN: &str = "too-often";
    /// The registry or the audit log cannot be written now; try again.
    pub const UNAVAILABLE: &str = "unavailable";
}
