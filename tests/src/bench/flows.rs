//! Throughput of TCP flows and what it costs the gateway: stock client, shim, and the reference, side by side.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    bench::{
        blast::{Direction, Flows, Server},
        report::Report,
        usage::processor_time,
    },
    netns::Netns,
    recording::RECORDER,
    reference::Reference,
    relay::{Path, Relay},
    shim::ShimClient,
    site::Site,
    stock::StockClient,
    topology::{Family, PORT, Topology},
};

/// The blast server, as one more recorder.
pub(super) const RECORDER_ADDRESS: &str = "192.168.10.30";
/// Lets windows grow before the measurement begins.
const WARM_UP: Duration = Duration::from_secs(2);
/// Half of the round trip of a long path: an operator on another continent.
const FAR: Duration = Duration::from_millis(40);
const SEED: u64 = 7563;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How often each case.
    pub repetitions: usize,
    /// How long each time.
    pub time: Duration,
}

/// One way to the server.
pub(super) struct Way<'a> {
    pub(super) name: &'static str,
    pub(super) client: &'a Netns,
    pub(super) server: &'a Server,
    pub(super) address: SocketAddr,
    pub(super) gateway: u32,
    /// The client's process where it is a program of the client's user, whose cost is shown too.
    pub(super) program: Option<u32>,
}

/// One and sixteen flows, both directions, over a short path.
///
/// # Errors
/// When something does not start or connect.
pub fn near(report: &mut Report, effort: Effort) -> Result<()> {
    let (site, reference) = (BenchSite::start()?, BenchReference::start()?);
    let stock = site.site.stock_client("stock", "smart-client")?;
    let shim = ShimClient::up(&site.site, "shim", "smart-client")?;
    let plain = StockClient::up(reference.topology.add_client()?, reference.gateway.profile())?;
    let ways = [site.way(&stock), site.shim_way(&shim)?, reference.way(&plain)?];
    for _ in 0..effort.repetitions {
        for (case, count, direction) in [
            ("down 1 flow", 1, Direction::Down),
            ("down 16 flows", 16, Direction::Down),
            ("up 1 flow", 1, Direction::Up),
            ("up 16 flows", 16, Direction::Up),
        ] {
            for way in &ways {
                way.measure(report, case, count, direction, effort.time)?;
            }
        }
    }
    Ok(())
}

/// One flow down at 80 ms round trip, without loss, with 0.5 % and with 1 %.
///
/// # Errors
/// When something does not start or connect.
pub fn far(report: &mut Report, effort: Effort) -> Result<()> {
    for (case, loss) in [("80 ms, no loss", 0.0), ("80 ms, 0.5 % loss", 0.005), ("80 ms, 1 % loss", 0.01)] {
        let (site, reference) = (BenchSite::start()?, BenchReference::start()?);
        let path = Path { delay: FAR, loss, seed: SEED };
        let relays = [relay(&site.site.topology, 4500, path)?, relay(&site.site.topology, 4501, path)?];
        let plain_relay = relay(&reference.topology, 4500, path)?;
        let profile = site.site.add_client("stock", "smart-client")?.through(relays[0].address());
        let stock = StockClient::up(site.site.topology.add_client()?, &profile)?;
        let profile = site.site.add_client("shim", "smart-client")?.through(relays[1].address());
        let shim = ShimClient::up_with(&site.site, &profile, "shim", &[])?;
        let profile = reference.gateway.profile().through(plain_relay.address());
        let plain = StockClient::up(reference.topology.add_client()?, &profile)?;
        let ways = [site.way(&stock), site.shim_way(&shim)?, reference.way(&plain)?];
        for _ in 0..effort.repetitions {
            for way in &ways {
                way.measure(report, case, 1, Direction::Down, effort.time)?;
            }
        }
    }
    Ok(())
}

impl Way<'_> {
    pub(super) fn measure(
        &self,
        report: &mut Report,
        case: &str,
        count: usize,
        direction: Direction,
        time: Duration,
    ) -> Result<()> {
        let flows = Flows::start(self.client, self.address, self.server, count, direction)?;
        thread::sleep(WARM_UP);
        let processes = [Some(self.gateway), self.program];
        let used = || processes.map(|id| id.map(processor_time).transpose());
        let (began, bytes, before) = (Instant::now(), flows.arrived(), used());
        thread::sleep(time);
        let (elapsed, bytes, after) = (began.elapsed(), flows.arrived() - bytes, used());
        drop(flows);
        let gigabytes = bytes as f64 / 1e9;
        report.add(case, self.name, "Gbit/s", gigabytes * 8.0 / elapsed.as_secs_f64())?;
        for (quantity, (before, after)) in
            ["gateway CPU-s/GB", "client CPU-s/GB"].into_iter().zip(before.into_iter().zip(after))
        {
            if let (Some(before), Some(after)) = (before?, after?) {
                report.add(
                    case,
                    self.name,
                    quantity,
                    after.saturating_sub(before).as_secs_f64() / gigabytes,
                )?;
            }
        }
        Ok(())
    }
}

/// The product with one more recorder, which is the blast server.
pub(super) struct BenchSite {
    pub(super) server: Server,
    pub(super) gateway: u32,
    pub(super) site: Site,
}

impl BenchSite {
    pub(super) fn start() -> Result<Self> {
        let mut site = Site::prepare(Family::V4)?;
        site.configure(&format!(
            "\n[[server]]\nname = \"blast\"\naddress = \"{RECORDER_ADDRESS}\"\nservices = [\"recording-server\"]\n"
        ))?;
        let server = serve(&site.topology)?;
        site.run()?;
        let gateway = site.gateway()?.id();
        Ok(Self { server, gateway, site })
    }

    fn way<'a>(&'a self, client: &'a StockClient) -> Way<'a> {
        let address = SocketAddr::from(([192, 168, 10, 30], RECORDER));
        let client = &client.host.namespace;
        Way { name: "stock", client, server: &self.server, address, gateway: self.gateway, program: None }
    }

    pub(super) fn shim_way<'a>(&'a self, client: &'a ShimClient) -> Result<Way<'a>> {
        let address = client.listens_for("blast", RECORDER)?;
        let program = Some(client.process().id());
        let client = &client.machine.host.namespace;
        Ok(Way { name: "shim", client, server: &self.server, address, gateway: self.gateway, program })
    }
}

struct BenchReference {
    server: Server,
    gateway: Reference,
    topology: Topology,
}

impl BenchReference {
    fn start() -> Result<Self> {
        let topology = Topology::build()?;
        let server = serve(&topology)?;
        let gateway = Reference::start(&topology, Family::V4)?;
        Ok(Self { server, gateway, topology })
    }

    fn way<'a>(&'a self, client: &'a StockClient) -> Result<Way<'a>> {
        let address = SocketAddr::from(([192, 168, 10, 30], RECORDER));
        let (client, gateway) = (&client.host.namespace, self.gateway.id());
        Ok(Way { name: "reference", client, server: &self.server, address, gateway, program: None })
    }
}

fn serve(topology: &Topology) -> Result<Server> {
    topology.recording.ip(&format!("addr add {RECORDER_ADDRESS}/24 dev eth0"))?;
    Server::start(&topology.recording, SocketAddr::new(RECORDER_ADDRESS.parse()?, RECORDER))
}

/// A relay on the internet between one client and the gateway.
fn relay(topology: &Topology, port: u16, path: Path) -> Result<Relay> {
    let bind = |port: u16| topology.internet.run(|| UdpSocket::bind(("198.51.100.1", port)));
    let inner = bind(port)??;
    let upstream = std::sync::Mutex::new(Some(bind(0)??));
    let open = move || {
        let socket = upstream.lock().ok().and_then(|mut upstream| upstream.take());
        socket.ok_or_else(|| std::io::Error::other("this relay keeps its address"))
    };
    let gateway = SocketAddr::new(Topology::gateway_address(Family::V4), PORT);
    Relay::start(inner, gateway, Box::new(open), path)
}
