//! The hosts file of this machine: it makes programs find the site's servers by name in loopback mode.
//!
//! A profile has one block in it, between two marks, and nothing outside the block is ever touched:
//!
//! ```text
//! # >>> vmsgate-shim alice
//! 127.125.208.243 rec01 rec01.vms.local
//! # <<< vmsgate-shim alice
//! ```
//!
//! - `block`: what stands between the marks, from the report of a running shim or from another program's output;
//! - `edit`: the block put into and taken out of a file's bytes (pure);
//! - `file`: the file itself, replaced as a whole;
//! - `check`: where the names lead in fact.

mod block;
mod check;
mod edit;
mod file;

pub use block::{Block, BlockError, literal_addresses};
pub use check::{NameCheck, Verdict, check};
pub use edit::Broken;
pub use file::{HostsError, HostsFile};
