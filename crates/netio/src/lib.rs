//! Sockets, in batches: UDP with segmentation offload, and ICMP echo without privileges.
//!
//! Everything that crosses a process boundary per packet is slow; so datagrams come in trains ([`RecvBatch`], filled
//! by one `recvmmsg` with generic receive offload) and leave in trains ([`SendQueue`], generic segmentation offload).
//! This crate knows sockets and bytes, and nothing of tunnels, clients or roles. It is the only one in which `unsafe`
//! would be allowed; so far quinn-udp, socket2 and tokio have spared it.

#[cfg(target_os = "linux")]
mod icmp;
mod recv;
mod send;
mod socket;
mod source;

#[cfg(target_os = "linux")]
pub use icmp::{EchoError, EchoReply, EchoSocket};
pub use recv::{Datagram, RecvBatch};
pub use send::{SendQueue, SendStats};
pub use socket::{BindError, UdpSocket, WANTED_BUFFER_BYTES};
