//! Support for the end-to-end tests and benchmarks: a whole VMS site in network namespaces, real peers, and the
//! measures that decide whether a claim holds.
//!
//! A test builds a [`topology::Topology`] (cables), puts servers into its recording network, starts the product on the
//! gateway's host and a client outside, and asks a question through it. Everything ends when it is dropped, in the
//! order of the fields: programs first, namespaces last. Nothing outside loopback and these namespaces is touched.

pub mod bench;
pub mod binaries;
pub mod carries;
pub mod container;
pub mod counted;
pub mod curl;
pub mod load;
pub mod manager;
pub mod netns;
pub mod packets;
pub mod process;
pub mod product;
pub mod profile;
pub mod proofs;
pub mod raw;
pub mod recording;
pub mod reference;
pub mod relay;
pub mod require;
pub mod resolved;
pub mod scapy;
pub mod shim;
pub mod site;
pub mod sniffer;
pub mod stock;
pub mod topology;
pub mod unit;
pub mod video;
pub mod web;
pub mod wine;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The checkout that the tests were built from.
#[must_use]
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

/// Writes to standard error past the test harness, which hides the output of passing tests.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}
