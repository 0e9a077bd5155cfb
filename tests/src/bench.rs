//! Benchmarks: how fast, at what cost. `cargo run --release --bin vmsgate-bench -- --help`.
//!
//! Everything is compared with stock WireGuard and kernel routing ([`crate::reference`]) measured in the same run: times on
//! one machine are noisy, ratios less so. Cases take turns, repetition by repetition, and the median counts. Each
//! measurement is one line of JSON; the table is made from them.

pub mod blast;
pub mod client;
pub mod flood;
pub mod flows;
pub mod keys;
pub mod limited;
pub mod memory;
pub mod openings;
pub mod report;
pub mod restart;
pub mod soak;
pub mod stream;
pub mod usage;
