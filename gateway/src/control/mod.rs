//! Control services: DNS and a small HTTP interface on the gateway's own tunnel addresses.
//!
//! They are spoken over the userspace stack, never over a socket of the host, so a client cannot reach
//! anything else here. Who asks is known before the first byte arrives: the tunnel address belongs to
//! exactly one client, and the decrypted packet came from it.

pub mod ask;
mod caller;
pub mod dns;
mod dns_tcp;
mod exchange;
pub mod facts;
mod http;
pub mod requests;
mod speed;
mod state;
pub mod warnings;
mod zone;

pub use caller::Caller;
pub use dns_tcp::serve_dns_tcp;
pub use http::serve_http;
pub use state::ControlState;
