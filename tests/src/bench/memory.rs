//! What a client costs in memory: registered only, with an open session, and with a connection that carries something.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

use anyhow::{Context, Result};

use crate::{
    bench::{
        limited::Limited,
        report::Report,
        usage::{largest_resident_bytes, resident_bytes},
    },
    load::conversations::{self, Conversation},
    raw::{Keys, RawClient},
    recording::RECORDER,
    site::{SOURCES, Site},
    topology::{ClientHost, Family},
};

/// One more recorder, which answers requests.
const TALK: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 32);
/// What the gateway may use in all with active clients.
const LIMIT: u64 = 128 << 20;
/// Requests of each client.
const ROUNDS: usize = 5;

/// Measures with so many clients.
///
/// # Errors
/// When something does not start, or a client is not let in.
pub fn idle_clients(report: &mut Report, count: usize) -> Result<()> {
    let mut site = Site::prepare(Family::V4)?;
    site.run()?;
    let id = site.gateway()?.id();
    let empty = resident_bytes(id)?;
    let clients = site.register(count)?;
    site.wait_for_clients(count as u64)?;
    let registered = resident_bytes(id)?;
    connect(&site, &clients)?;
    let connected = resident_bytes(id)?;
    let case = format!("{count} idle clients");
    let mut add =
        |path: &str, bytes: u64| report.add(&case, path, "KiB/client", bytes as f64 / 1024.0 / count as f64);
    add("registered", registered.saturating_sub(empty))?;
    add("connected", connected.saturating_sub(empty))?;
    report.add(&case, "connected", "MiB in total", connected as f64 / f64::from(1 << 20))
}

/// Measures with so many clients, each with an open session and one connection that carries a request and its answer, round
/// after round, all at once; how much the gateway holds at most. The kernel lets it have 128 MiB and kills it beyond.
///
/// # Errors
/// When something does not start, or a client is not served.
pub fn active_clients(report: &mut Report, count: usize) -> Result<()> {
    let mut site = Site::prepare(Family::V4)?;
    site.add_recorder(TALK)?;
    let server = (TALK, RECORDER).into();
    conversations::serve(&site.topology.recording, server)?;
    site.run()?;
    let id = site.gateway()?.id();
    let empty = resident_bytes(id)?;
    let _limited = Limited::to(LIMIT - empty, id)?;
    let clients = site.register(count)?;
    site.wait_for_clients(count as u64)?;
    let host = site.topology.add_crowd()?;
    let mut tunnels = Vec::new();
    for (i, keys) in (1_u32..).zip(&clients) {
        let v4 = keys.v4.context("a client without an IPv4 address")?;
        tunnels.push((RawClient::over(socket(&host, i)?, keys, v4, Ipv6Addr::UNSPECIFIED)?, v4));
    }
    let idle = resident_bytes(id)?;
    let mut open = Vec::new();
    for (client, v4) in tunnels {
        open.push(Conversation::open(client, v4, server)?);
    }
    for _ in 0..ROUNDS {
        // All of them at once: every answer is on its way before the first is taken.
        open.iter_mut().try_for_each(Conversation::ask)?;
        open.iter_mut().try_for_each(Conversation::hear)?;
    }
    let largest = largest_resident_bytes(id)?;
    let case = format!("{count} active clients");
    let mut add =
        |path: &str, bytes: u64| report.add(&case, path, "KiB/client", bytes as f64 / 1024.0 / count as f64);
    add("idle", idle.saturating_sub(empty))?;
    add("active", largest.saturating_sub(empty))?;
    report.add(&case, "active", "MiB in total", largest as f64 / f64::from(1 << 20))
}

/// Opens a session for each, from an address of its own, and leaves.
fn connect(site: &Site, clients: &[Keys]) -> Result<()> {
    let host = site.topology.add_crowd()?;
    for (i, keys) in (1_u32..).zip(clients) {
        RawClient::over(socket(&host, i)?, keys, Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
            .with_context(|| format!("client {i} of {}", clients.len()))?;
    }
    Ok(())
}

/// A socket of the crowd's client number `i`.
pub(super) fn socket(host: &ClientHost, i: u32) -> Result<UdpSocket> {
    let source = Ipv4Addr::from_bits(SOURCES.to_bits() + i);
    Ok(host.namespace.run(|| -> std::io::Result<_> {
        let socket = UdpSocket::bind((source, 0))?;
        socket.connect("198.51.100.10:51820")?;
        Ok(socket)
    })??)
}
