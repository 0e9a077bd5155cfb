//! Loopback mode: every server has an address of its own on this machine, with the server's own ports.
//!
//! A VMS client opens many servers on the same port (every recorder is tcp/7563), so one loopback address cannot stand
//! for them all. The shim gives each server one of 127.64.0.0/10, and the names-to-addresses block of
//! `vmsgate-shim hosts` makes the client find it by the name that the VMS hands out. No address is added to an
//! interface and no route is changed, so nothing here needs privileges, except ports below 1024 where the system
//! reserves them.
//!
//! - `addresses`: which server has which address, the same in every run;
//! - `plan`: which listeners the gateway's answer and the forwards ask for (pure);
//! - `listeners`: the listeners themselves, brought in line with the plan as it changes.

mod addresses;
mod listeners;
mod plan;

pub use addresses::Addresses;
pub(crate) use listeners::try_listen;
pub use listeners::{Listeners, Trouble, probe};
pub use plan::{Origin, Plan, Planned, plan};
