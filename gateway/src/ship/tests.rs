//! Whole deliveries over loopback, to receivers that die, refuse, and come back.

mod collector;
mod log;
mod syslog;
