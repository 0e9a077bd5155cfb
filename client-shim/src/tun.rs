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
//! - `objection`: what this machine's own network needs, and so must not be routed (pure);
//! - `linux`: the interface, and the process that alone keeps the right to change routes;
//! - `windows`: Wintun's interface, and the thread that changes routes;
//! - `keeper`: keeps the one in line with the other;
//! - `elsewhere`: in place of both on systems without such an interface.

mod allowed;
#[cfg(not(any(target_os = "linux", windows)))]
mod elsewhere;
mod keeper;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(target_os = "linux", windows))]
mod objection;
mod plan;
mod routing;
#[cfg(windows)]
mod windows;
mod wish;

#[cfg(not(any(target_os = "linux", windows)))]
use elsewhere as platform;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(windows)]
use windows as platform;

pub(crate) use allowed::Allowed;
pub(crate) use keeper::Keeper;
pub use platform::Adapter;
#[cfg(any(target_os = "linux", windows))]
pub use platform::OpenError;
#[cfg(target_os = "linux")]
pub use platform::{HelperError, keep_routes};
pub(crate) use routing::{Routing, RoutingState};
pub use wish::{Names, NamesState, Outcome, Wish};
