//! Measures throughput, cost and memory of a whole site in network namespaces. Needs root and the tests' programs.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use vmsgate_tests::{
    bench::{
        client, flood,
        flows::{self, Effort},
        keys, memory, openings,
        report::Report,
        restart, soak,
    },
    require::{can_run, has},
    site, stock,
};

/// Measure Vmsgate against stock WireGuard with kernel routing, in one run on this machine
///
/// Build with --release. Compare by ratio; other work on the machine spoils the numbers.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure [default: everything but the soak]
    subjects: Vec<Subject>,
    /// How often each case is measured
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long the soak takes
    #[arg(long, default_value_t = 120)]
    minutes: u64,
    /// Append each measurement to this file as one line of JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// One and sixteen TCP flows over a short path
    Near,
    /// One TCP flow at 80 ms round trip, with and without loss
    Far,
    /// The shim against onetun, if that is installed: one and sixteen TCP flows down through a local port
    Client,
    /// Memory per idle client, with 1,000 and 10,000 of them
    Memory,
    /// What the audit log costs a new connection
    Openings,
    /// The life of keys with 10,000 clients: handshakes with one identity and two, commands, 50 revocations
    Keys,
    /// How long clients are without service while the gateway is restarted
    Restart,
    /// A stream beside floods of up to 200,000 worthless datagrams per second from 65,534 sources
    Flood,
    /// Memory per client with a connection that carries something: 2,000 of them, and 128 MiB. Needs 10,000 open files
    Active,
    /// Everyday life in a hurry for `--minutes`: memory and descriptors must not grow. Only when asked for
    Soak,
}

#[expect(clippy::print_stdout, reason = "the table is the program's output")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS].concat();
    if !can_run(&programs) {
        return Ok(());
    }
    let wanted = |subject| arguments.subjects.is_empty() || arguments.subjects.contains(&subject);
    let effort = Effort { repetitions: arguments.repetitions, time: Duration::from_secs(arguments.seconds) };
    let mut report = Report::new(arguments.out.as_deref())?;
    if wanted(Subject::Near) {
        flows::near(&mut report, effort)?;
    }
    if wanted(Subject::Far) {
        flows::far(&mut report, effort)?;
    }
    if wanted(Subject::Client) && has(&[client::PROGRAM]) {
        client::compare(&mut report, effort)?;
    }
    if wanted(Subject::Memory) {
        for count in [1_000, 10_000] {
            memory::idle_clients(&mut report, count)?;
        }
    }
    if wanted(Subject::Openings) {
        openings::both(&mut report, arguments.repetitions)?;
    }
    if wanted(Subject::Keys) {
        keys::all(&mut report, arguments.repetitions)?;
    }
    if wanted(Subject::Restart) {
        restart::all(&mut report, arguments.repetitions)?;
    }
    if wanted(Subject::Flood) {
        flood::all(&mut report, arguments.repetitions, effort.time)?;
    }
    if wanted(Subject::Active) {
        memory::active_clients(&mut report, 2_000)?;
    }
    if arguments.subjects.contains(&Subject::Soak) {
        soak::run(&mut report, Duration::from_secs(60 * arguments.minutes))?;
    }
    println!("{}", report.table());
    Ok(())
}
