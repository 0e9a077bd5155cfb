//! The kernel's side of egress `tun`: what has to surround a TUN interface so that the kernel routes for clients.
//!
//! Somebody else opens the interface and moves its packets. [`apply`] makes the kernel use it, in this order:
//!
//! 1. checks, which change nothing: `CAP_NET_ADMIN`, the interface, forwarding, routes that already lead elsewhere;
//! 2. MTU, up, and no link-local address of its own (an interface that no neighbour hears needs none);
//! 3. the gateway's tunnel addresses as single hosts, so that the kernel has a source for its ICMP errors;
//! 4. the tunnel ranges as routes into the interface;
//! 5. if asked for, one nftables table that masquerades what comes out of the interface.
//!
//! Nothing outlives the process, however it ends. Addresses and routes go with the interface, which goes with its
//! last descriptor. The table is *owned*: the kernel removes it when the netlink socket inside [`Kernel`] is closed.
//! Host-wide settings are checked and never changed: whether a machine is a router is its administrator's decision.
//!
//! No other program is called, because the gateway's image holds none; everything is netlink.
//!
//! Afterwards [`drop_capabilities`] gives up every right for good. Capabilities belong to threads and new threads
//! inherit them, so everything here is synchronous: set up, drop, and only then start a runtime. Each step is one
//! system call that the kernel answers before it returns.

mod capabilities;
mod error;
mod interface;
mod kernel;
mod masquerade;
mod netlink;
mod plan;
mod route;
mod sysctl;

pub use capabilities::{CapabilityError, drop_capabilities, has_net_admin};
pub use error::SetupError;
pub use kernel::{Kernel, apply};
pub use plan::Plan;
