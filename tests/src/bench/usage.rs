//! What a process has used: processor time and memory, as the kernel counts them.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Ticks of /proc/PID/stat per second: USER_HZ, 100 on every Linux that runs Rust.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of a process so far.
///
/// # Errors
/// When the process is gone.
pub fn processor_time(id: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, in brackets, may contain anything; the fields after it are numbers. utime and stime are 14 and 15.
    let fields = stat.rsplit_once(')').context("no name in /proc/PID/stat")?.1;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks = ticks.sum::<Result<u32, _>>()?;
    Ok(Duration::from_secs_f64(f64::from(ticks) / TICKS_PER_SECOND))
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident_bytes(id: u32) -> Result<u64> {
    memory(id, "VmRSS:")
}

/// The most resident memory that a process has had, in bytes.
///
/// # Errors
/// When the process is gone.
pub fn largest_resident_bytes(id: u32) -> Result<u64> {
    memory(id, "VmHWM:")
}

/// How many descriptors a process has open.
///
/// # Errors
/// When the process is gone.
pub fn descriptors(id: u32) -> Result<u64> {
    Ok(u64::try_from(fs::read_dir(format!("/proc/{id}/fd"))?.count())?)
}

fn memory(id: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
