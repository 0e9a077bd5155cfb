//! Vmsgate's client for people: reaches a site's servers through a WireGuard tunnel without any privileges.
//!
//! There is no network interface and no route, unless mode [`tun`] is asked for. Programs on this machine connect to loopback addresses; the shim ends
//! those connections, speaks TCP anew in userspace and sends it through the tunnel ([`tunnel`]). Which servers there
//! are the gateway says itself, in band ([`site`]); [`loopback`] turns that into listeners, or programs name them to the
//! [`proxy`]. [`keys`] come by invitation and change while it runs. [`Shim`] puts it together.
//!
//! Everything runs on one thread: tasks share their state without locks, and one of them owns the socket.

pub mod carrier;
mod control;
pub mod doctor;
mod files;
pub mod forward;
pub mod hosts;
pub mod keys;
pub mod loopback;
pub mod memory;
pub mod profile;
pub mod proxy;
pub mod report;
mod shim;
pub mod site;
pub mod target;
pub mod tun;
pub mod tunnel;

pub use control::ControlError;
pub use forward::Forward;
pub use profile::Profile;
pub use report::Report;
pub use shim::{Event, Shim};
