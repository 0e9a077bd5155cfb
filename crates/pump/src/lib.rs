//! The glue between userspace TCP and the operating system's: shared by the gateway (client's stream to server's
//! socket) and the shim (program's socket to tunnel stream).
//!
//! - [`Stack`] shares one [`NetStack`] among the tasks of a thread and wakes the loop that owns it whenever a stream
//!   has made work, so that the loop can drain it.
//! - [`Stream`] is one connection as tokio's [`AsyncRead`](tokio::io::AsyncRead) and
//!   [`AsyncWrite`](tokio::io::AsyncWrite), for protocols that end here.
//! - [`pump()`] joins a stream and a TCP socket until both are done, without a buffer of its own.
//!
//! Everything belongs to one thread ([`tokio::task::spawn_local`]): workers share nothing, so nothing is locked.
//!
//! [`NetStack`]: vmsgate_tunnel::netstack::NetStack

mod pump;
mod stack;
mod stream;

pub use pump::{PumpEnd, Traffic, pump};
pub use stack::Stack;
pub use stream::Stream;
