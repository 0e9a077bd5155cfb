//! What has to surround a TUN interface in the kernel: at the gateway so that the kernel routes for clients (egress
//! `tun`), at a client so that the servers' addresses lead into the tunnel.
//!
//! Somebody else opens the interface and moves its packets. [`apply`] makes the kernel use it, in this order:
//!
//! 1. checks, which change nothing: `CAP_NET_ADMIN`, the interface, forwarding, routes that already lead elsewhere;
//! 2. MTU, up, and no link-local address of its own (an interface that no neighbour hears needs none);
//! 3. the gateway's tunnel addresses as single hosts, so that the kernel has a source for its ICMP errors;
//! 4. the tunnel ranges as routes into the interface;
//! 5. if asked for, one nftables table that masquerades what comes out of the interface.
//!
//! At a client [`bring_up`] does 2 and 3; [`HostRoutes`] leads single addresses into the interface and follows them as
//! they change, [`Surroundings`] tells which must stay out of it, and [`Changes`] when that may have changed.
//!
//! Nothing outlives the process, however it ends. Addresses and routes go with the interface, which goes with its
//! last descriptor. The table is *owned*: the kernel removes it when the netlink socket inside [`Kernel`] is closed.
//! Host-wide settings are checked and never changed: whether a machine is a router is its administrator's decision.
//!
//! No other program is called, because the gateway's image holds none; everything is netlink.
//!
//! Afterwards [`drop_capabilities`] gives up every right for good (a client's routes change while it runs, so one
//! process there keeps `CAP_NET_ADMIN`). Capabilities belong to threads and new threads
//! inherit them, so everything here is synchronous: set up, drop, and only then start a runtime. Each step is one
//! system call that the kernel answers before it returns.

mod capabilities;
mod changes;
mod error;
mod host_routes;
mod interface;
mod kernel;
mod masquerade;
mod netlink;
mod plan;
mod route;
mod surroundings;
mod sysctl;

pub use capabilities::{
    CapabilityError, become_user, drop_all_but_net_admin, drop_capabilities, has_net_admin,
};
pub use changes::Changes;
pub use error::SetupError;
pub use host_routes::HostRoutes;
pub use kernel::{Kernel, apply, bring_up};
pub use plan::Plan;
pub use surroundings::Surroundings;
pub use sysctl::has_ipv6;
