//! The gateway's outside: its UDP sockets, and for egress `tun` the interface with everything around it.
//!
//! All that needs rights happens here, before the first thread starts; then the rights are given up for good.

use std::net::SocketAddr;

use ipnet::IpNet;
use vmsgate_cli::CliError;
use vmsgate_config::{Config, Egress, Tun};
use vmsgate_netio::{BoundSocket, TunDevice, TunQueueFd};
use vmsgate_netsetup::{Kernel, Plan, apply, drop_capabilities};
use vmsgate_tunnel::gateway::shard::MAX_WORKERS;

use super::manager::{self, Handed};
use crate::hinted::hinted;
use crate::worker::steering;

/// What the workers move packets through.
pub struct Network {
    /// One group per listen address.
    pub sockets: Vec<Vec<BoundSocket>>,
    pub listening: Vec<SocketAddr>,
    /// Kernel receive buffers, as granted.
    pub receive_buffers: Vec<usize>,
    pub queues: Vec<TunQueueFd>,
    /// Undoes what was set up in the kernel.
    pub kernel: Option<Kernel>,
}

/// How many workers a configuration asks for: as many as there are sockets for, if some were handed over, or cores.
pub fn workers(config: &Config, handed: &Handed) -> u8 {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let sockets = config.gateway.listen.iter().map(|address| handed.count(*address)).find(|count| *count > 0);
    match config.gateway.workers {
        0 => u8::try_from(sockets.unwrap_or_else(cores)).unwrap_or(MAX_WORKERS).min(MAX_WORKERS),
        workers => workers,
    }
}

/// Opens everything. An error leaves nothing behind.
pub fn open(config: &Config, workers: u8, mut handed: Handed) -> Result<Network, CliError> {
    let sockets: Result<Vec<_>, CliError> =
        config.gateway.listen.iter().map(|address| listen(*address, workers, &mut handed)).collect();
    let sockets = sockets?;
    handed.give_back();
    let all = || sockets.iter().flatten();
    let listening = sockets.iter().filter_map(|group| group.first()?.local_addr().ok()).collect();
    let receive_buffers = all().filter_map(|socket| socket.receive_buffer_bytes().ok()).collect();
    let (queues, kernel) = match &config.gateway.egress {
        Egress::Proxy => (Vec::new(), None),
        Egress::Tun(tun) => {
            let (queues, kernel) = route(config, tun, workers)?;
            (queues, Some(kernel))
        }
    };
    Ok(Network { sockets, listening, receive_buffers, queues, kernel })
}

fn listen(address: SocketAddr, workers: u8, handed: &mut Handed) -> Result<Vec<BoundSocket>, CliError> {
    let group = match handed.claim(address, workers)? {
        Some(group) => group,
        None => {
            let hint = "free the port, or set `listen` in the section `[gateway]`";
            let group = BoundSocket::group(address, workers.into());
            let group = group.map_err(|error| CliError::user(error).hint(hint))?;
            manager::keep(address, &group);
            group
        }
    };
    if let (Some(first), true) = (group.first(), workers > 1)
        && let Err(error) = first.steer(&steering(workers))
    {
        tracing::warn!(%error, "the kernel does not steer datagrams: workers hand over more to each other");
    }
    Ok(group)
}

/// Makes the interface, lets the kernel route, and gives up the rights for it.
fn route(config: &Config, tun: &Tun, workers: u8) -> Result<(Vec<TunQueueFd>, Kernel), CliError> {
    let device = TunDevice::create(&tun.interface, workers.into());
    let device = device.map_err(|error| hinted(error, |e| e.hint().to_owned()))?;
    let plan = Plan {
        interface: device.name,
        mtu: config.gateway.mtu.into(),
        addresses: config.gateway.tunnel_addresses().into_iter().map(IpNet::from).collect(),
        routes: config.gateway.tunnel.clone(),
        masquerade: tun.masquerade,
    };
    let kernel = apply(&plan).map_err(|error| hinted(error, |e| e.hint().to_owned()))?;
    drop_capabilities().map_err(|error| hinted(error, |e| e.hint().to_owned()))?;
    Ok((device.queues, kernel))
}
