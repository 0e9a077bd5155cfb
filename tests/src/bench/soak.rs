//! Hours of everyday life in a hurry: what a gateway holds must not grow with time.
//!
//! Round after round a client watches a camera to the end, a crowd comes, talks to a recorder and leaves, somebody tries what
//! is refused, the configuration is read again, a client is suspended and resumed, and strangers send worthless datagrams.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;

use super::{
    flood::Scene,
    memory::socket,
    report::Report,
    usage::{descriptors, resident_bytes},
};
use crate::{
    load::conversations::{self, Conversation},
    packets::syn,
    process::capture,
    raw::{Keys, RawClient},
    recording::RECORDER,
    topology::ClientHost,
};

/// Of each round.
const STREAM: Duration = Duration::from_secs(5);
/// Clients that come and go in each round.
const CROWD: usize = 20;
/// Worthless datagrams per second.
const FLOOD: u32 = 2_000;
/// Ports that the role does not have.
const REFUSED: u16 = 40;
const TALK: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 32);
/// The second half may hold so much more than the first: pages of the audit log's database and the allocator's slack.
const SLACK: u64 = 4 << 20;
/// Sockets of connections that are just ending.
const SPARE_DESCRIPTORS: u64 = 64;

/// Runs for `time`, reports every minute, and holds the second half against the first.
///
/// # Errors
/// When a byte of the stream is lost, something does not work any more, or memory or descriptors have grown.
pub fn run(report: &mut Report, time: Duration) -> Result<()> {
    let mut scene = Scene::build_with(&[TALK], CROWD)?;
    conversations::serve(&scene.site.topology.recording, (TALK, RECORDER).into())?;
    let id = scene.site.gateway()?.id();
    let (began, mut samples, mut told) = (Instant::now(), Vec::new(), 0);
    while began.elapsed() < time {
        let round = samples.len();
        administer(&mut scene, round)?;
        thread::scope(|scope| {
            let visitors = scope.spawn(|| visit(&scene.crowd, &scene.others));
            let seen = scene.flood(FLOOD, STREAM)?;
            ensure!(seen.calm.pieces() == seen.flooded.pieces(), "the stream is short");
            visitors.join().map_err(|_| anyhow!("the crowd's thread panicked"))?
        })
        .with_context(|| format!("in round {round}"))?;
        samples.push((resident_bytes(id)?, descriptors(id)?));
        let minute = began.elapsed().as_secs() / 60;
        if minute > told || samples.len() == 1 {
            told = minute;
            tell(report, &format!("after {minute} min"), &samples[samples.len() - 1..])?;
        }
    }
    let (first, second) = samples.split_at(samples.len() / 2);
    tell(report, "first half, largest", first)?;
    tell(report, "second half, largest", second)?;
    report.add("soak", "gateway", "minutes", began.elapsed().as_secs_f64() / 60.0)?;
    report.add("soak", "gateway", "rounds", samples.len() as f64)?;
    let ((bytes_before, open_before), (bytes, open)) = (largest(first), largest(second));
    ensure!(bytes <= bytes_before + SLACK, "memory grew from {bytes_before} to {bytes} bytes");
    ensure!(open <= open_before + SPARE_DESCRIPTORS, "descriptors grew from {open_before} to {open}");
    Ok(())
}

fn largest(samples: &[(u64, u64)]) -> (u64, u64) {
    let memory = samples.iter().map(|(bytes, _)| *bytes).max();
    (memory.unwrap_or(0), samples.iter().map(|(_, open)| *open).max().unwrap_or(0))
}

fn tell(report: &mut Report, path: &str, samples: &[(u64, u64)]) -> Result<()> {
    let (bytes, open) = largest(samples);
    report.add("soak", path, "MiB", bytes as f64 / f64::from(1 << 20))?;
    report.add("soak", path, "descriptors", open as f64)
}

/// What people with the right to do so do to a running gateway.
fn administer(scene: &mut Scene, round: usize) -> Result<()> {
    let name = format!("client-{}", round % CROWD);
    capture(&mut scene.site.keys(&["client", "suspend", &name]))?;
    scene.site.gateway()?.signal(Signal::SIGHUP)?;
    capture(&mut scene.site.keys(&["client", "resume", &name]))?;
    capture(&mut scene.site.vmsgate(&["denials", "--json"]))?;
    Ok(())
}

/// Every one of the crowd comes from somewhere, talks, tries what it may not, and is gone without a word.
fn visit(host: &ClientHost, crowd: &[Keys]) -> Result<()> {
    for (i, keys) in (1_u32..).zip(crowd) {
        let v4 = keys.v4.context("a client without an IPv4 address")?;
        let mut client = RawClient::over(socket(host, i)?, keys, v4, Ipv6Addr::UNSPECIFIED)?;
        for port in 1..=REFUSED {
            client.send(&syn((v4, 50_000).into(), SocketAddr::from((TALK, port))))?;
        }
        let mut conversation = Conversation::open(client, v4, (TALK, RECORDER).into())?;
        conversation.ask()?;
        conversation.hear()?;
        conversation.leave(i % 2 == 0)?;
    }
    Ok(())
}
