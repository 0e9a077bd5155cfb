//! What ends a running shim: Ctrl-C, and what else people and the system end programs with.

#[cfg(unix)]
#[path = "ending/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "ending/windows.rs"]
mod platform;

pub use platform::Ending;
