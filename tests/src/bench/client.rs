//! The shim against onetun, the other program that forwards local ports into a tunnel: the same work, taking turns.

use std::{fs, net::SocketAddr};

use anyhow::{Context, Result};

use crate::{
    bench::{
        blast::Direction,
        flows::{BenchSite, Effort, RECORDER_ADDRESS, Way},
        report::Report,
    },
    process::{Process, User, command},
    recording::RECORDER,
    require::find,
    shim::ShimClient,
    topology::ClientHost,
};

/// What it needs installed: `cargo install onetun --locked`.
pub const PROGRAM: &str = "onetun";

/// One and sixteen flows down, each through a local port of the shim and of onetun, to one server behind one gateway.
///
/// # Errors
/// When something does not start or connect.
pub fn compare(report: &mut Report, effort: Effort) -> Result<()> {
    let site = BenchSite::start()?;
    let shim = ShimClient::up(&site.site, "shim", "smart-client")?;
    let onetun = Onetun::up(&site)?;
    let ways = [site.shim_way(&shim)?, onetun.way(&site)];
    for _ in 0..effort.repetitions {
        for (case, count) in [("down 1 flow", 1), ("down 16 flows", 16)] {
            for way in &ways {
                way.measure(report, case, count, Direction::Down, effort.time)?;
            }
        }
    }
    Ok(())
}

/// onetun on a client's machine, run by its ordinary user, with one port for the server.
struct Onetun {
    process: Process,
    host: ClientHost,
    listen: SocketAddr,
}

impl Onetun {
    fn up(site: &BenchSite) -> Result<Self> {
        let profile = site.site.add_client("onetun", "smart-client")?;
        let host = site.site.topology.add_client()?;
        let listen = SocketAddr::from(([127, 0, 0, 1], RECORDER));
        let addresses = profile.values("Address");
        let address = addresses.iter().find(|address| address.contains('.')).context("no IPv4 address")?;
        // cargo installs it where only its own user can run it.
        let program = site.site.folder().join(PROGRAM);
        fs::copy(find(PROGRAM).context("onetun is not installed")?, &program)?;
        let mut onetun = command(&host.namespace, User::Client, program);
        onetun
            .arg(format!("{listen}:{RECORDER_ADDRESS}:{RECORDER}"))
            .env("ONETUN_PRIVATE_KEY", profile.value("PrivateKey")?)
            .env("ONETUN_ENDPOINT_PUBLIC_KEY", profile.value("PublicKey")?)
            .env("ONETUN_ENDPOINT_ADDR", profile.value("Endpoint")?)
            .env("ONETUN_SOURCE_PEER_IP", address.split('/').next().unwrap_or(address))
            .env("ONETUN_MTU", profile.values("MTU").first().unwrap_or(&"1420"));
        for key in profile.values("PresharedKey") {
            onetun.env("ONETUN_PRESHARED_KEY", key);
        }
        let process = Process::start(PROGRAM, onetun)?;
        process.wait_for_line("onetun to listen", |line| line.contains("Tunneling TCP"))?;
        Ok(Self { process, host, listen })
    }

    fn way<'a>(&'a self, site: &'a BenchSite) -> Way<'a> {
        Way {
            name: "onetun",
            client: &self.host.namespace,
            server: &site.server,
            address: self.listen,
            gateway: site.gateway,
            program: Some(self.process.id()),
        }
    }
}
