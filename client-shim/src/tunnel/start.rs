//! From a profile to a running driver, and its handle.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use vmsgate_netio::{BindError, UdpSocket};
use vmsgate_pump::Stack;
use vmsgate_tunnel::client::{ClientKeys, ClientSettings};
use vmsgate_tunnel::netstack::{MemoryLimits, NetStack, StackConfig};

use super::connections::Connections;
use super::driver::{Driver, DriverParts, open_socket};
use super::endpoint::Resolver;
use super::kernel::Kernel;
use super::link::{Link, LinkState};
use super::mover::{Move, Mover};
use crate::profile::Profile;

/// Between attempts to resolve the gateway's name.
const RESOLVE_PAUSE: Duration = Duration::from_secs(3);

/// Buffers of all connections together, at most: enough for 300 of them, a wall of a hundred cameras and what else a
/// client opens. The system lends a page only when it is used.
const MEMORY_BYTES: usize = 2 << 30;

/// A tunnel that is opened and kept open. Dropping it ends it without farewell.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) connections: Connections,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) mover: Mover,
    stop: watch::Sender<bool>,
    driver: JoinHandle<()>,
}

impl Tunnel {
    /// Starts on the present thread, which must run a [`tokio::task::LocalSet`]. With a `kernel`, programs of this
    /// machine use the tunnel through it.
    pub(crate) fn open(profile: &Profile, keys: ClientKeys, kernel: Option<Kernel>) -> Self {
        let memory = MemoryLimits { per_owner_bytes: MEMORY_BYTES, total_bytes: MEMORY_BYTES };
        let config = StackConfig { mtu: profile.mtu, memory };
        let stack = Stack::new(NetStack::new(config, fastrand::u64(..), Instant::now()));
        let connect = if kernel.is_some() { Connections::beside_kernel } else { Connections::new };
        let connections = connect(stack, &profile.addresses, fastrand::u64(..));
        let (stop, stopping) = watch::channel(false);
        let (publisher, link) = watch::channel(Link::new(Timestamp::now()));
        let (mover, moves) = Mover::new();
        let settings = ClientSettings {
            keys,
            addresses: profile.addresses.clone(),
            persistent_keepalive: profile.persistent_keepalive,
        };
        let plan = Plan {
            settings,
            gateway_addresses: profile.gateway_addresses.clone(),
            mtu: profile.mtu,
            connections: connections.clone(),
            kernel,
            resolver: Resolver::new(profile.endpoint.clone()),
            link: publisher,
            moves,
        };
        let driver = spawn_local(run(plan, stopping));
        Self { connections, link, mover, stop, driver }
    }

    /// Tells the gateway about closed connections, and ends.
    pub(crate) async fn close(&mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.driver).await;
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// All that a driver needs but the gateway's address.
struct Plan {
    settings: ClientSettings,
    gateway_addresses: Vec<IpAddr>,
    mtu: u16,
    connections: Connections,
    kernel: Option<Kernel>,
    resolver: Resolver,
    link: watch::Sender<Link>,
    moves: mpsc::Receiver<Move>,
}

/// Finds the gateway's address, then runs the driver until `stop` becomes true.
async fn run(plan: Plan, mut stop: watch::Receiver<bool>) {
    let Plan { settings, gateway_addresses, mtu, connections, kernel, mut resolver, link, moves } = plan;
    let (endpoint, socket) = tokio::select! {
        found = first_socket(&mut resolver, &link) => found,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let parts = DriverParts {
        settings,
        gateway_addresses,
        mtu,
        connections,
        kernel,
        resolver,
        link,
        moves,
        endpoint,
        socket,
    };
    Driver::new(parts, fastrand::u64(..)).run(stop).await;
}

/// Tries until the gateway's name has an address, and the system a socket towards it: at log-in the network may not
/// be there yet.
async fn first_socket(resolver: &mut Resolver, link: &watch::Sender<Link>) -> (SocketAddr, UdpSocket) {
    loop {
        resolver.begin();
        let opened = match resolver.found().await {
            Ok(found) => open_first(&found).map_err(|error| error.to_string()),
            Err(trouble) => Err(trouble),
        };
        match opened {
            Ok(opened) => return opened,
            Err(trouble) => link.send_modify(|link| {
                if link.state != LinkState::NoAnswer {
                    (link.state, link.since) = (LinkState::NoAnswer, Timestamp::now());
                }
                link.trouble = Some(trouble);
            }),
        }
        tokio::time::sleep(RESOLVE_PAUSE).await;
    }
}

/// A socket towards the first address whose family the system has.
fn open_first(found: &[SocketAddr]) -> Result<(SocketAddr, UdpSocket), BindError> {
    let mut result = Err(BindError::AddressNotLocal { address: SocketAddr::from(([0, 0, 0, 0], 0)) });
    for endpoint in found {
        result = open_socket(*endpoint).map(|socket| (*endpoint, socket));
        if result.is_ok() {
            break;
        }
    }
    result
}
