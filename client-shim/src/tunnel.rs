//! The tunnel as the rest of the shim sees it: connections into the site, and how the link is.
//!
//! ```text
//! program ── loopback listener ── carrier ── pump ──┐
//!                                                    NetStack ── ClientState ── UDP ── gateway
//! control service ──── hyper ─────────────────────────┘
//! ```
//!
//! In mode `tun` the programs' packets come from this machine's kernel and go to it: see [`crate::tun`].
//!
//! One task, the `driver`, owns the UDP socket and the WireGuard state and moves batches between them and the
//! userspace TCP stack. Everybody else opens connections through [`Connections`], sends datagrams through
//! [`Datagrams`], and watches the [`Link`].

mod connections;
mod datagrams;
mod driver;
mod echo;
mod echoes;
mod endpoint;
mod kernel;
mod link;
mod mover;
mod outbox;
mod reminders;
mod start;
mod supervisor;
mod way;

pub use connections::{Connections, DialError};
pub use datagrams::{Arrived, Datagrams, UdpPort};
pub(crate) use echoes::Echoes;
pub(crate) use kernel::{Device, Kernel};
pub use link::{InUse, Link, LinkState};
pub(crate) use mover::Mover;
pub(crate) use start::Tunnel;
pub use way::Way;
