//! What people and scripts see of `vmsgate`: exit status, stdout and stderr of whole commands, on real files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod check;
mod explain;
mod export;
mod questions;
mod records;
mod report;
mod site;
mod status;
mod usage;
