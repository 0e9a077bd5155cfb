//! Runs one hot function of the packet path a number of times, so that a simulator can count its instructions.
//!
//! Unlike times, instruction counts repeat on a noisy machine. Callgrind collects only inside [`measured`]:
//!
//! ```sh
//! valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured*' --callgrind-out-file=/dev/null \
//!     target/release/vmsgate-instructions open 100
//! ```
//!
//! What it prints as collected, divided by the rounds, is the figure. Everything that a round needs, such as the
//! datagram to open, is made outside. `tests/tests/instructions.rs` compares the figures with stored ones.

mod crypto;
mod offload;
mod packets;
mod path;
mod wire;
mod world;

use std::env;

use anyhow::{Result, bail};

/// A case: its name, and the function that runs it so many times.
type Case = (&'static str, fn(u32) -> Result<()>);

const CASES: [Case; 13] = [
    ("seal", crypto::seal),
    ("open", crypto::open),
    ("handshake", path::handshake),
    ("inbound", path::inbound),
    ("outbound", path::outbound),
    ("outbound-train-of-44", path::outbound_train),
    ("parse", packets::parse),
    ("decide", packets::decide),
    ("find-and-follow", packets::find_and_follow),
    ("checksum", packets::checksum),
    ("split-train-of-44", offload::split),
    ("merge-train-of-44", offload::merge),
    ("write-single", offload::single),
];

#[expect(clippy::print_stdout, reason = "the list is the program's output")]
fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => CASES.iter().for_each(|(name, _)| println!("{name}")),
        ["processor"] => println!("{}", processor()),
        [name, rounds] => match CASES.iter().find(|(case, _)| case == name) {
            Some((_, run)) => run(rounds.parse()?)?,
            None => bail!("no case `{name}`; `list` names them"),
        },
        _ => bail!("usage: vmsgate-instructions list | processor | CASE ROUNDS"),
    }
    Ok(())
}

/// The only function inside which instructions are counted.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// The instruction sets that decide which code the cryptography and the checksum run, as this process sees them: fewer
/// under a simulator that does not know them all.
#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    let sets = [
        ("ssse3", is_x86_feature_detected!("ssse3")),
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("adx", is_x86_feature_detected!("adx")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    let present: Vec<_> = sets.iter().filter(|(_, present)| *present).map(|(name, _)| *name).collect();
    format!("x86_64 {}", present.join(" "))
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    env::consts::ARCH.to_owned()
}
