//! The configuration of a gateway: the file, the built-in catalogue, and the rules that hold between them.
//!
//! A configuration is one TOML file. It passes through two stages. Reading finds sections, keys and values, each
//! with its line; resolving gives them their meaning, looks up names, fills in defaults and checks that nothing
//! contradicts anything else. Both go on after a problem, so that one run reports as many as it can, and what
//! comes out is either a [`Config`] without errors or [`ConfigErrors`] that say what is wrong, where, and what
//! to do. Programs read a [`Config`] and never have to check it again.
//!
//! ```
//! let config = vmsgate_config::Config::from_str(
//!     r#"
//!     [gateway]
//!     name = "gw-1"
//!     endpoint = "vpn.example.org:51820"
//!     tunnel = "10.99.0.0/16"
//!
//!     [[server]]
//!     name = "rec01"
//!     address = "192.168.10.21"
//!     services = ["recording-server"]
//!     "#,
//!     "gateway.toml",
//! )?;
//! let role = &config.roles["smart-client"];
//! assert_eq!(role.permissions[0].ports.to_string(), "7563");
//! # Ok::<(), vmsgate_config::ConfigErrors>(())
//! ```
//!
//! The same table of keys drives reading, the environment and `docs/configuration.md`.

pub mod address;
pub mod catalogue;
mod file;
mod finding;
mod load;
mod names;
mod ports;
pub mod profile;
mod reference;
mod resolve;
mod resolved;
mod ship;
mod starter;
mod version;

pub use catalogue::{NEVER_EXPOSE, NeverExpose, never_expose};
pub use file::environment::Environment;
pub use finding::{ConfigErrors, Finding, Severity};
pub use load::load;
pub use names::nearest;
pub use ports::{PortRange, Protocol, ProtocolPorts};
pub use reference::reference;
pub use resolved::{
    Admin, Audit, Config, Dns, Durability, Egress, Exposure, Gateway, Keys, Limits, OnDenied, OnFailure,
    Permission, Proxy, Retention, Role, Server, Service, Tun, WrittenRole,
};
pub use ship::{Receiver, ReceiverError, Ship, Transport};
pub use starter::starter_config;
