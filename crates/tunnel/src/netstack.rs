//! Userspace TCP/IP: turns the TCP packets of a tunnel into byte streams and back.
//!
//! The gateway *accepts*: a client's SYN, once policy allowed it and the server was dialled, becomes a stream whatever
//! address the SYN names. The shim *connects*: a program's connection becomes TCP packets for the tunnel. TCP itself
//! (handshake, sequence numbers, buffers, closing) is smoltcp's; this module adds what a gateway needs around it:
//!
//! - **One interface and one socket per connection.** smoltcp walks all sockets of an interface for every packet and
//!   poll; with one each, a packet costs the same with ten thousand other connections open. The caller's flow table
//!   maps packets to a [`ConnectionId`].
//! - **Ready queue and deadlines.** [`NetStack::poll_transmit`] visits only connections with something to do, in turn,
//!   a few packets each, so that a bulk transfer cannot starve a video stream.
//! - **A memory budget** (`budget.rs`): buffers give windows of 4 MiB while memory is plentiful and halve as an owner's
//!   share or the total fills, down to 64 KiB; then new connections are refused.
//! - **A truthful end** ([`Broken`]): a reset is told apart from an orderly close.
//! - **Repairs** for what smoltcp lacks on long or lossy paths (`sender.rs`) and against hostile peers (`receiver.rs`).
//!
//! Order of calls, in the manner of quinn: any number of [`NetStack::handle_packet`] (a batch), then
//! [`NetStack::poll_transmit`] until it answers `false`, then wait for [`NetStack::poll_timeout`], the next packet or a
//! stream that was used. All of a batch's packets are taken in before anything is sent, so one acknowledgement
//! answers many segments.

mod bbr;
mod budget;
mod connection;
mod delivery;
mod device;
mod error;
mod outlet;
mod pacer;
mod receiver;
mod rounds;
mod rtt;
mod schedule;
mod scoreboard;
mod segment;
mod sender;
mod stack;
mod stream;
#[cfg(test)]
mod tests;
mod time_wait;

pub use budget::{MemoryLimits, OwnerId};
pub use error::{AcceptError, Broken, ConnectError, PacketError};
pub use outlet::Outlet;
pub use stack::{ConnectionId, NetStack, StackConfig};
pub use stream::Readable;
