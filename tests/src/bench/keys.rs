//! What the life of keys costs with ten thousand clients: handshakes while the gateway has one identity and two, the
//! commands that walk the registry, and how fast a revoked client is cut off.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    bench::{report::Report, usage::processor_time},
    curl::Download,
    load::handshakes,
    process::capture,
    raw::Keys,
    site::{SOURCES, Site},
    topology::{ClientHost, Family, PORT, Topology},
};

const CLIENTS: usize = 10_000;
/// First handshakes for one measurement.
const HANDSHAKES: usize = 2_000;
/// Of them in flight.
const WINDOW: usize = 64;
const CUTS: usize = 50;

/// Measures everything, so many times.
///
/// # Errors
/// When something does not start, or a client is not let in or not cut off.
pub fn all(report: &mut Report, repetitions: usize) -> Result<()> {
    for _ in 0..repetitions {
        let mut site = Site::prepare(Family::V4)?;
        let mut clients = site.register(CLIENTS)?;
        site.run()?;
        site.wait_for_clients(CLIENTS as u64)?;
        let crowd = site.topology.add_crowd()?;

        let mut groups = clients.chunks_exact_mut(HANDSHAKES);
        let mut next = || groups.next().context("too few clients");
        handshakes(report, &mut site, &crowd, "one", next()?)?;
        let (rotating, rotated) = timed(&mut site.keys(&["gateway", "rotate", "--json"]))?;
        site.wait_for_identities(2)?;
        handshakes(report, &mut site, &crowd, "the old of two", next()?)?;
        let (new, group) = (new_identity(&rotated)?, next()?);
        group.iter_mut().for_each(|keys| keys.gateway = new);
        handshakes(report, &mut site, &crowd, "the new of two", group)?;

        let case = format!("{CLIENTS} clients");
        report.add(&case, "gateway rotate", "s", rotating.as_secs_f64())?;
        let listing = timed(&mut site.keys(&["client", "list"]))?.0;
        report.add(&case, "client list", "s", listing.as_secs_f64())?;
        for i in 0..CUTS {
            cut(report, &site, &case, &format!("thief-{i}"))?;
        }
    }
    Ok(())
}

/// The public key in the answer of `gateway rotate --json`.
fn new_identity(rotated: &str) -> Result<[u8; 32]> {
    let rotated: Value = serde_json::from_str(rotated)?;
    let key = rotated["identity"]["public_key"].as_str().context("no key in the answer")?;
    STANDARD.decode(key)?.try_into().map_err(|_| anyhow!("not a key: {key}"))
}

fn handshakes(
    report: &mut Report,
    site: &mut Site,
    crowd: &ClientHost,
    path: &str,
    clients: &[Keys],
) -> Result<()> {
    let gateway = (Topology::gateway_address(Family::V4), PORT).into();
    let id = site.gateway()?.id();
    let before = processor_time(id)?;
    let outcome = crowd.namespace.run(|| handshakes::run(clients, gateway, SOURCES, WINDOW))??;
    let spent = processor_time(id)?.saturating_sub(before);
    let outcome = serde_json::to_value(outcome)?;
    let number = |name: &str| outcome[name].as_f64().with_context(|| format!("no `{name}` in {outcome}"));
    report.add("first handshakes, identities", path, "per second", number("per_second")?)?;
    let each = spent.as_secs_f64() * 1e6 / number("completed")?;
    report.add("first handshakes, identities", path, "CPU-us each", each)
}

/// Revokes a client during a download.
fn cut(report: &mut Report, site: &Site, case: &str, name: &str) -> Result<()> {
    let client = site.stock_client(name, "smart-client")?;
    let download = Download::start(client.command("curl"), "http://192.168.10.10/steady")?;
    download.wait_for(1_000_000)?;
    let revoke = ["client", "revoke", name, "--yes", "--json"];
    let proof: Value = serde_json::from_str(&timed(&mut site.keys(&revoke))?.1)?;
    let proof = &proof["gateways"][0];
    let cut = proof["cut_ms"].as_f64().with_context(|| format!("not cut off: {proof}"))?;
    report.add(case, "revoke until cut off", "ms", cut)?;
    // None: no packet was forwarded after the command.
    let last = proof["last_packet_ms"].as_f64().unwrap_or(0.0);
    report.add(case, "revoke until the last packet", "ms", last)
}

fn timed(command: &mut Command) -> Result<(Duration, String)> {
    let began = Instant::now();
    let output = capture(command)?;
    Ok((began.elapsed(), output))
}
