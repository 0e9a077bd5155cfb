//! The gateway's side for its own host: probes and metrics on a loopback TCP address, and the control socket.
//!
//! | where | who may ask | what |
//! | --- | --- | --- |
//! | `[admin] listen`, TCP | anybody on the host (or in the pod) | `/healthz`, `/readyz`, `/metrics`: no names, no addresses of people |
//! | `control.sock` in the data directory | the gateway's own user (mode 0600) | `/v1/status`, `/v1/configuration/difference`, `/v1/configuration/reload`, and both probes |
//!
//! Neither is reachable through the tunnel: the gateway never forwards a client to its own host.

pub mod changes;
mod exposition;
mod metrics;
mod page;
mod probes;
mod process;
mod socket;
pub mod status;

pub use probes::{HealthReport, serve_probes};
pub use process::ProcessStatus;
pub use socket::ControlSocket;
