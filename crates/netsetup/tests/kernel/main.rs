//! What the kernel does after the set-up, seen from outside: by `ip`, `nft` and packets.
//!
//! Needs root for network namespaces; `VMSGATE_REQUIRE_NETNS=1` turns a skip into a failure.

#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod capabilities;
mod client;
mod interface;
mod leftovers;
mod masquerade;
mod namespace;
mod refusals;
