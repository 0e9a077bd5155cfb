//! From a profile to a running driver, and its handle.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use vmsgate_config::address::Endpoint;
use vmsgate_netio::{BindError, UdpSocket};
use vmsgate_pump::Stack;
use vmsgate_tunnel::client::{ClientKeys, ClientSettings};
use vmsgate_tunnel::netstack::{MemoryLimits, NetStack, StackConfig};

use super::connections::Connections;
use super::datagrams::Datagrams;
use super::driver::{Driver, DriverParts, open_socket};
use super::echoes::{Echoes, Question};
use super::endpoint::Resolver;
use super::kernel::Kernel;
use super::link::{Link, LinkState};
use super::mover::{Move, Mover};
use super::way::has_route;
use crate::profile::Profile;

/// Between attempts to resolve the gateway's name, and how long the preferred name may take where there are others.
const RESOLVE_PAUSE: Duration = Duration::from_secs(3);

/// Buffers of all connections together, at most: enough for 300 of them, a wall of a hundred cameras and what else a
/// client opens. The system lends a page only when it is used.
const MEMORY_BYTES: usize = 2 << 30;

/// A tunnel that is opened and kept open. Dropping it ends it without farewell.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) connections: Connections,
    pub(crate) datagrams: Datagrams,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) mover: Mover,
    /// The endpoints beside the profile's.
    pub(crate) others: watch::Sender<Vec<Endpoint>>,
    pub(crate) echoes: Echoes,
    stop: watch::Sender<bool>,
    driver: JoinHandle<()>,
}

impl Tunnel {
    /// Starts on the present thread, which must run a [`tokio::task::LocalSet`]. `others` are endpoints beside the
    /// profile's. With a `kernel`, programs of this machine use the tunnel through it.
    pub(crate) fn open(
        profile: &Profile,
        others: Vec<Endpoint>,
        keys: ClientKeys,
        kernel: Option<Kernel>,
    ) -> Self {
        let memory = MemoryLimits { per_owner_bytes: MEMORY_BYTES, total_bytes: MEMORY_BYTES };
        let config = StackConfig { mtu: profile.mtu, memory };
        let stack = Stack::new(NetStack::new(config, fastrand::u64(..), Instant::now()));
        let connect = if kernel.is_some() { Connections::beside_kernel } else { Connections::new };
        let connections = connect(stack, &profile.addresses, fastrand::u64(..));
        let datagrams = Datagrams::new(&profile.addresses, fastrand::u64(..));
        let (stop, stopping) = watch::channel(false);
        let (publisher, link) = watch::channel(Link::new(Timestamp::now()));
        let (mover, moves) = Mover::new();
        let mut resolver = Resolver::new(vec![profile.endpoint.clone()]);
        resolver.set_others(others.clone());
        let (others, others_changed) = watch::channel(others);
        let (echoes, questions) = Echoes::new();
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
            datagrams: datagrams.clone(),
            kernel,
            resolver,
            link: publisher,
            moves,
            others: others_changed,
            questions,
        };
        let driver = spawn_local(run(plan, stopping));
        Self { connections, datagrams, link, mover, others, echoes, stop, driver }
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
    datagrams: Datagrams,
    resolver: Resolver,
    link: watch::Sender<Link>,
    moves: mpsc::Receiver<Move>,
    others: watch::Receiver<Vec<Endpoint>>,
    questions: mpsc::Receiver<Question>,
}

/// Finds the gateway's address, then runs the driver until `stop` becomes true.
async fn run(plan: Plan, mut stop: watch::Receiver<bool>) {
    let Plan {
        settings,
        gateway_addresses,
        mtu,
        connections,
        datagrams,
        kernel,
        mut resolver,
        link,
        moves,
        others,
        questions,
    } = plan;
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
        datagrams,
        resolver,
        link,
        moves,
        others,
        questions,
        endpoint,
        socket,
    };
    Driver::new(parts, fastrand::u64(..)).run(stop).await;
}

/// Tries until there is an address of the gateway, and the system has a socket towards it: at log-in the network may
/// not be there yet.
async fn first_socket(resolver: &mut Resolver, link: &watch::Sender<Link>) -> (SocketAddr, UdpSocket) {
    loop {
        resolver.begin();
        let mut trouble = None;
        // The preferred endpoint's name is waited for, but not for ever where there is another endpoint.
        while resolver.preferred().is_empty() && resolver.is_busy() {
            let found = if resolver.addresses().is_empty() {
                resolver.found().await
            } else {
                let Ok(found) = tokio::time::timeout(RESOLVE_PAUSE, resolver.found()).await else { break };
                found
            };
            trouble = found.err().or(trouble);
        }
        match (open_first(&resolver.addresses()), trouble) {
            (Some(Ok(opened)), _) => return opened,
            (Some(Err(error)), _) => tell(link, error.to_string()),
            (None, Some(trouble)) => tell(link, trouble),
            (None, None) => {}
        }
        tokio::time::sleep(RESOLVE_PAUSE).await;
    }
}

fn tell(link: &watch::Sender<Link>, trouble: String) {
    link.send_modify(|link| {
        if link.state != LinkState::NoAnswer {
            (link.state, link.since) = (LinkState::NoAnswer, Timestamp::now());
        }
        link.trouble = Some(trouble);
    });
}

/// A socket towards the first address that this machine has a way to; towards the first of all if there is none.
fn open_first(found: &[SocketAddr]) -> Option<Result<(SocketAddr, UdpSocket), BindError>> {
    let routed = found.iter().find(|address| has_route(**address)).or(found.first())?;
    Some(open_socket(*routed, found).map(|socket| (*routed, socket)))
}
