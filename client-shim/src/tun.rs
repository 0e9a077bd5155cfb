//! Mode `tun`: the servers' own addresses lead into the tunnel, by a network interface of this machine.
//!
//! ```text
//! program ── kernel ── TUN interface ─┐
//!                                     ├─ ClientState ── UDP ── gateway
//! control service ─ hyper ─ NetStack ─┘
//! ```
//!
//! Nothing is routed but single addresses: those of the role's servers and of the gateway inside the tunnel, so that
//! everything else goes where it went before, also in a home network with the numbers of the recording network.
//!
//! - `plan`: what shall be routed and which names the gateway shall answer (pure);
//! - `linux`: the interface, and the process that alone keeps the right to change routes;
//! - `keeper`: keeps the one in line with the other;
//! - `elsewhere`: in their place on systems without such an interface.

#[cfg(target_os = "linux")]
mod allowed;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod plan;
mod routing;
mod wish;

#[cfg(target_os = "linux")]
pub(crate) use allowed::Allowed;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Keeper;
#[cfg(target_os = "linux")]
pub(crate) use keeper::Keeper;
#[cfg(target_os = "linux")]
pub use linux::{Adapter, HelperError, OpenError, keep_routes};
pub(crate) use routing::{Routing, RoutingState};
pub use wish::{Names, NamesState, Outcome, Wish};
