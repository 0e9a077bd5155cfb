//! The shim from outside: as a library against a gateway, and as the program that people start.

#![allow(unreachable_pub, reason = "a test has no outside: `pub` means for the other modules")]
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails the test")]

mod bad_profile;
mod command_line;
mod doctor;
mod end_to_end;
mod failover;
mod hosts;
mod http_proxy;
mod keys;
#[cfg(unix)]
mod live_view;
mod refusal;
mod socks;
mod support;
