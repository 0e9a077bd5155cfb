//! The shim's proxy: what programs of the same machine say to it.

#[path = "../../client-shim/src/proxy/destination.rs"]
#[allow(dead_code, reason = "the shim's, of which not all is used here")]
mod destination;
pub(crate) mod socks;
