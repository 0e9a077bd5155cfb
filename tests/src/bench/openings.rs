//! What the audit log costs a new connection: with its record on disk before the first packet, and up to 200 ms later.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    bench::{report::Report, usage::processor_time},
    process::PATIENCE,
    site::Site,
    stock::StockClient,
    topology::{Family, Server},
};

const PORT: u16 = 8000;
const DURABILITIES: [&str; 2] = ["before-forward", "200ms"];
/// One after the other.
const ALONE: usize = 100;
const AT_ONCE: usize = 32;
const EACH: usize = 200;

/// Measures both, taking turns.
///
/// # Errors
/// When something does not start or connect.
pub fn both(report: &mut Report, repetitions: usize) -> Result<()> {
    for _ in 0..repetitions {
        for durability in DURABILITIES {
            one(report, durability)?;
        }
    }
    Ok(())
}

fn one(report: &mut Report, durability: &'static str) -> Result<()> {
    let mut site = Site::prepare(Family::V4)?;
    site.configure(&format!(
        "\n[service.management-server]\ntcp = [80, {PORT}]\n\n[audit]\ndurability = \"{durability}\"\n"
    ))?;
    site.run()?;
    let client = site.stock_client("anna-laptop", "smart-client")?;
    let address = SocketAddr::new(Server::Mgmt.v4().into(), PORT);
    let listener = site.topology.recording.run(|| TcpListener::bind(address))??;
    // Ends with the process.
    thread::spawn(move || listener.incoming().for_each(drop));

    connect(&client, address, 1, 1)?;
    let alone = connect(&client, address, 1, ALONE)?;
    report.add("one connection", durability, "ms to open", alone.as_secs_f64() * 1000.0 / ALONE as f64)?;
    let gateway = site.gateway()?.id();
    let before = processor_time(gateway)?;
    let burst = connect(&client, address, AT_ONCE, EACH)?;
    let spent = processor_time(gateway)?.saturating_sub(before);
    let flows = (AT_ONCE * EACH) as f64;
    let case = format!("{AT_ONCE} at a time");
    report.add(&case, durability, "flows/s", flows / burst.as_secs_f64())?;
    report.add(&case, durability, "CPU-ms/flow", spent.as_secs_f64() * 1000.0 / flows)?;
    site.stop()?;
    let bytes = std::fs::metadata(site.data().join("vmsgate.db"))?.len();
    report.add(&case, durability, "KiB/flow on disk", bytes as f64 / 1024.0 / (flows + ALONE as f64))
}

/// Opens and closes connections, so many threads so many each, and answers how long that took.
fn connect(client: &StockClient, address: SocketAddr, threads: usize, each: usize) -> Result<Duration> {
    let work = || {
        let started = Instant::now();
        let all = || (0..each).try_for_each(|_| TcpStream::connect_timeout(&address, PATIENCE).map(drop));
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(all)).collect();
            running.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?.context("cannot connect")
            })
        })?;
        Ok(started.elapsed())
    };
    client.host.namespace.run(work)?
}
