//! Sockets and TUN queues, in batches: UDP and TUN with segmentation offload, and ICMP echo without privileges.
//!
//! Everything that crosses a process boundary per packet is slow; so datagrams come in trains ([`RecvBatch`], filled
//! by one `recvmmsg` with generic receive offload) and leave in trains ([`SendQueue`], generic segmentation offload).
//! The same holds for packets that the kernel routes ([`TunQueue`], [`Frame`], [`TunBatch`]).
//! This crate knows sockets and bytes, and nothing of tunnels, clients or roles. `unsafe` is allowed
//! in it: for the calls that make a TUN interface, for socket options that no crate knows, for sockets that the process
//! was started with, and for the processor's wide registers in a checksum.

mod group;
#[cfg(target_os = "linux")]
mod icmp;
#[cfg(target_os = "linux")]
mod inherited;
mod recv;
mod send;
mod send_now;
mod socket;
mod source;
#[cfg(target_os = "linux")]
mod tun;
#[cfg(target_os = "linux")]
mod unacknowledged;

pub use group::{BoundSocket, Instruction};
#[cfg(target_os = "linux")]
pub use icmp::{EchoError, EchoReply, EchoSocket};
#[cfg(target_os = "linux")]
pub use inherited::Inherited;
pub use recv::{Datagram, RecvBatch};
pub use send::{SendQueue, SendStats};
pub use send_now::send_now;
pub use socket::{BindError, UdpSocket, WANTED_BUFFER_BYTES};
#[cfg(target_os = "linux")]
pub use tun::{
    Frame, ReadStats, Segment, Sum, TunBatch, TunDevice, TunError, TunQueue, TunQueueFd, UdpTrains,
    WriteStats,
};
#[cfg(target_os = "linux")]
pub use unacknowledged::unacknowledged;
