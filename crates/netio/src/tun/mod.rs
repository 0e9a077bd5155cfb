//! One queue of a TUN interface, with segmentation offload both ways.
//!
//! The kernel's cost of a packet hardly depends on its size, so the kernel is given and gives *trains*: one IP packet
//! of up to 64 KiB that stands for many of the same flow. A `virtio_net_hdr` in front of it says where to cut (TCP
//! segmentation offload TSO, UDP segmentation offload USO) and whose checksum is still to be completed.
//!
//! ```text
//! kernel ─read─► Frame ─next_segment─► single packets, in place ─► encrypt
//! kernel ◄writev─ TunBatch ◄──push──── single packets, in place ◄─ decrypt
//! ```
//!
//! [`Frame`] cuts: each packet's header is written in front of its payload, over the packet before, which has left by
//! then. [`TunBatch`] joins: packets are decrypted into its arena, and a train is a list of places in it. Neither
//! copies a payload.
//!
//! What the kernel says is checked like anything else that comes from outside: a LAN host's packet is in it.

mod batch;
mod checksum;
mod device;
mod frame;
mod layout;
mod merge;
mod queue;
#[cfg(test)]
mod reference;
mod virtio;

pub use batch::{TunBatch, UdpTrains, WriteStats};
pub use checksum::Sum;
pub use device::{TunDevice, TunError, TunQueueFd};
pub use frame::{Frame, ReadStats, Segment};
pub use queue::TunQueue;
