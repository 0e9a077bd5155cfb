//! One file per command, or per group of commands that share all but a verb.

pub mod client_add;
pub mod client_change;
pub mod client_report;
pub mod gateway_show;
pub mod init;
pub mod passwd;
pub mod raw_keys;
