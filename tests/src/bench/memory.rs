//! What an idle client costs in memory: registered only, and with an open session.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

use anyhow::{Context, Result};

use crate::{
    bench::{report::Report, usage::resident_bytes},
    raw::{Keys, RawClient},
    site::{SOURCES, Site},
    topology::Family,
};

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

/// Opens a session for each, from an address of its own, and leaves.
fn connect(site: &Site, clients: &[Keys]) -> Result<()> {
    let host = site.topology.add_crowd()?;
    for (i, keys) in (1_u32..).zip(clients) {
        let source = Ipv4Addr::from_bits(SOURCES.to_bits() + i);
        let socket = host.namespace.run(|| -> std::io::Result<_> {
            let socket = UdpSocket::bind((source, 0))?;
            socket.connect("198.51.100.10:51820")?;
            Ok(socket)
        })??;
        RawClient::over(socket, keys, Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
            .with_context(|| format!("client {i} of {}", clients.len()))?;
    }
    Ok(())
}
