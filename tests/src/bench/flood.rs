//! What a flood costs: a client's stream beside it and without it, and the gateway's memory.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    bench::{
        report::Report,
        stream::{Heard, Source},
        usage::{processor_time, resident_bytes},
    },
    load::flood::{Flood, Recorded, Sent},
    raw::{Keys, RawClient},
    recording::RECORDER,
    site::Site,
    stock::StockClient,
    topology::{ClientHost, Family, PORT, Topology},
};

/// One more recorder, which is the stream's source.
const STREAM: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 31);
const SEED: u64 = 0xf100_d5ee;
/// Datagrams of a session that are recorded and played again.
const SESSION: usize = 64;

/// A site with a client who streams, and a crowd that will flood.
#[derive(Debug)]
pub struct Scene {
    client: StockClient,
    source: Source,
    stranger: Keys,
    recorded: Recorded,
    gateway: u32,
    /// Where everybody else is.
    pub crowd: ClientHost,
    /// More clients, who have not said anything yet.
    pub others: Vec<Keys>,
    /// The site.
    pub site: Site,
}

/// What was seen during one flood.
#[derive(Debug)]
pub struct Seen {
    /// The stream without a flood.
    pub calm: Heard,
    /// The stream beside it.
    pub flooded: Heard,
    /// The flood.
    pub sent: Sent,
    /// The gateway's resident memory before, and after.
    pub resident: (u64, u64),
    /// The gateway's processor time during the flood.
    pub processor: Duration,
    /// Datagrams that the gateway counted as dropped during the flood.
    pub dropped: u64,
}

/// Floods at several rates and reports what became of the stream.
///
/// # Errors
/// When something does not start, or a byte of the stream is lost.
pub fn all(report: &mut Report, repetitions: usize, time: Duration) -> Result<()> {
    let scene = Scene::build()?;
    for _ in 0..repetitions {
        for rate in [20_000, 100_000, 200_000] {
            let seen = scene.flood(rate, time)?;
            let case = format!("flood of {rate}/s");
            let mut add = |path: &str, quantity, value| report.add(&case, path, quantity, value);
            let seconds = seen.sent.time.as_secs_f64();
            add("flood", "datagrams/s sent", seen.sent.total() as f64 / seconds)?;
            add("gateway", "datagrams/s dropped", seen.dropped as f64 / seconds)?;
            add("gateway", "CPU-s/s", seen.processor.as_secs_f64() / seconds)?;
            let (before, after) = seen.resident;
            add("gateway", "MiB before", before as f64 / f64::from(1 << 20))?;
            add("gateway", "MiB after", after as f64 / f64::from(1 << 20))?;
            for (path, heard) in [("calm", &seen.calm), ("flooded", &seen.flooded)] {
                for (percent, quantity) in [(50, "ms p50"), (99, "ms p99")] {
                    add(path, quantity, heard.percentile(percent).as_secs_f64() * 1e3)?;
                }
                add(path, "pieces whole", heard.pieces() as f64)?;
            }
        }
    }
    Ok(())
}

impl Scene {
    /// Starts everything but the flood.
    ///
    /// # Errors
    /// When something does not start, or the client whose traffic is recorded is not let in.
    pub fn build() -> Result<Self> {
        Self::build_with(&[], 0)
    }

    /// The same with more recorders, at addresses of the recording network that the caller serves, and `others` more clients.
    ///
    /// # Errors
    /// As [`Scene::build`].
    pub fn build_with(more: &[Ipv4Addr], others: usize) -> Result<Self> {
        let mut site = Site::prepare(Family::V4)?;
        for address in [STREAM].iter().chain(more) {
            site.add_recorder(*address)?;
        }
        let source = Source::listen(&site.topology.recording, address())?;
        site.run()?;
        let mut others = site.register(1 + others)?;
        site.wait_for_clients(others.len() as u64)?;
        let stranger = others.pop().context("no keys")?;
        let crowd = site.topology.add_crowd()?;
        let recorded = record(&crowd, &stranger)?;
        let client = site.stock_client("anna", "smart-client")?;
        let gateway = site.gateway()?.id();
        Ok(Self { client, source, stranger, recorded, gateway, crowd, others, site })
    }

    /// Streams for `time`, and then again beside a flood of `rate` datagrams per second.
    ///
    /// # Errors
    /// When a byte of the stream is lost or altered.
    pub fn flood(&self, rate: u32, time: Duration) -> Result<Seen> {
        let id = self.gateway;
        let calm = self.source.play(&self.client.host.namespace, address(), time)?;
        let (resident, processor, dropped) = (resident_bytes(id)?, processor_time(id)?, self.dropped()?);
        let gateway = SocketAddr::new(Topology::gateway_address(Family::V4), PORT);
        let flood = Flood::start(&self.crowd, gateway, &self.stranger, self.recorded.clone(), rate, SEED)?;
        let flooded = self.source.play(&self.client.host.namespace, address(), time);
        let sent = flood.stop()?;
        Ok(Seen {
            calm,
            flooded: flooded.context("the stream beside the flood")?,
            sent,
            resident: (resident, resident_bytes(id)?),
            processor: processor_time(id)?.saturating_sub(processor),
            dropped: self.dropped()?.saturating_sub(dropped),
        })
    }

    /// Everything that the gateway has counted as worthless.
    fn dropped(&self) -> Result<u64> {
        let totals = self.site.status()?.totals;
        Ok(totals.drops.values().chain(totals.handshakes_rejected.values()).sum())
    }
}

/// A genuine handshake and some datagrams of its session, all of which the gateway has had.
fn record(crowd: &ClientHost, keys: &Keys) -> Result<Recorded> {
    let socket = crowd.namespace.run(|| -> std::io::Result<_> {
        let socket = UdpSocket::bind((crowd.v4, 0))?;
        socket.connect((Topology::gateway_address(Family::V4), PORT))?;
        Ok(socket)
    })??;
    let mut client = RawClient::over(socket, keys, Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)?;
    let session = (0..SESSION).map(|_| client.sealed(&[0; 64])).collect::<Result<Vec<_>>>()?;
    for datagram in &session {
        client.send_outside(datagram)?;
    }
    Ok(Recorded { initiation: client.initiation().to_vec(), session })
}

fn address() -> SocketAddr {
    SocketAddr::from((STREAM, RECORDER))
}
