//! Egress `proxy`: flows end here, and ordinary sockets reach the servers. No capability, no TUN.
//!
//! A flow's socket is bound at once, so that its record names the address and port on the recording network; nothing is
//! sent before that record is kept. Then a TCP flow is dialled; only when the server has answered does the userspace
//! stack answer the client's SYN, so a refused or unreachable server looks the same as without a gateway. UDP and ICMP echo flows each have a
//! connected socket. What belongs to the gateway's own address goes to the control services.

mod control;
mod echo;
mod source;
mod tcp;
mod udp;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::AbortHandle;
use vmsgate_netio::EchoSocket;
use vmsgate_pump::Stack;
use vmsgate_tunnel::flow::{CloseReason, FlowId};
use vmsgate_tunnel::netstack::ConnectionId;
use vmsgate_tunnel::packet::{Packet, Transport};
use vmsgate_tunnel::sink::InnerSink;

pub use self::source::SourcePool;
use crate::control::ControlState;
use crate::worker::{Core, SharedCore};

/// What the configuration says about the proxy.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    pub connect_timeout: Duration,
    pub sources: SourcePool,
    /// The ranges that clients' addresses come from.
    pub tunnel: Vec<IpNet>,
}

/// The far side of every flow.
pub struct Proxy {
    settings: Rc<ProxySettings>,
    control: Arc<ControlState>,
    stack: Stack,
    flows: HashMap<FlowId, Far>,
    by_connection: HashMap<ConnectionId, FlowId>,
    core: Weak<RefCell<Core>>,
}

/// The far side of one flow. Dropping it ends its task, and with the task its sockets.
enum Far {
    /// Ready to dial.
    Bound {
        socket: TcpSocket,
    },
    /// The client's SYN waits for the server's answer.
    Dialling {
        _task: Task,
    },
    Stream {
        connection: ConnectionId,
        task: Task,
    },
    Udp {
        socket: Rc<UdpSocket>,
        _task: Task,
    },
    Echo {
        socket: Rc<EchoSocket>,
        _task: Task,
    },
    /// DNS over UDP: answered on the spot.
    Dns,
}

/// A task that ends with its owner.
struct Task(Option<AbortHandle>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

impl Task {
    fn spawn(body: impl Future<Output = ()> + 'static) -> Task {
        Task(Some(tokio::task::spawn_local(body).abort_handle()))
    }

    /// Lets the task end by itself.
    fn detach(mut self) {
        self.0 = None;
    }
}

impl Proxy {
    pub fn new(
        settings: ProxySettings,
        control: Arc<ControlState>,
        stack: Stack,
        core: Weak<RefCell<Core>>,
    ) -> Proxy {
        let (flows, by_connection) = (HashMap::new(), HashMap::new());
        Proxy { settings: Rc::new(settings), control, stack, flows, by_connection, core }
    }

    /// Settings for flows from now on.
    pub fn configure(&mut self, settings: ProxySettings, control: Arc<ControlState>) {
        self.settings = Rc::new(settings);
        self.control = control;
    }

    /// Control services for connections from now on.
    pub fn set_control(&mut self, control: Arc<ControlState>) {
        self.control = control;
    }

    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The stack, and whose each of its connections is.
    pub fn connections(&self) -> (&Stack, &HashMap<ConnectionId, FlowId>) {
        (&self.stack, &self.by_connection)
    }

    /// Whether an address is the gateway's own inside the tunnel.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.control.is_own(address)
    }

    /// Where a flow that was prepared leaves from, on the recording network.
    pub fn lan_source(&self, flow: FlowId) -> Option<SocketAddr> {
        match self.flows.get(&flow)? {
            Far::Bound { socket } => socket.local_addr().ok(),
            Far::Udp { socket, .. } => socket.local_addr().ok(),
            Far::Echo { socket, .. } => socket.local_addr().ok(),
            Far::Dialling { .. } | Far::Stream { .. } | Far::Dns => None,
        }
    }

    /// A flow ended. After an orderly end both sides have been told; its task finishes by itself.
    pub fn flow_closed(&mut self, flow: FlowId, reason: CloseReason) {
        if let Some(Far::Stream { task, .. }) = self.flows.remove(&flow)
            && reason == CloseReason::Finished
        {
            task.detach();
        }
    }

    /// Drops the names of connections that the stack has given up.
    pub fn forget_finished(&mut self) {
        while let Some(connection) = self.stack.poll_finished() {
            self.by_connection.remove(&connection);
        }
    }

    /// Makes a flow the owner of a connection.
    fn carry(&mut self, flow: FlowId, connection: ConnectionId, task: Task) {
        self.by_connection.insert(connection, flow);
        self.flows.insert(flow, Far::Stream { connection, task });
    }

    /// Opens what a flow needs, at its first packet. Nothing is sent.
    pub fn prepare(&mut self, flow: FlowId, client: u32, packet: &Packet<'_>, now: Instant) {
        if self.flows.contains_key(&flow) {
            return;
        }
        let Some(core) = self.core.upgrade() else { return };
        let own = self.is_own(packet.destination);
        let far = match packet.transport {
            Transport::Tcp { .. } if own => return control::accept(self, core, flow, client, packet, now),
            Transport::Tcp { .. } => tcp::bind(self, core, flow, packet),
            Transport::Udp { .. } if own => Some(Far::Dns),
            Transport::Udp { .. } => udp::open(self, core, flow, packet),
            Transport::EchoRequest { .. } => echo::open(self, core, flow, packet),
            Transport::EchoReply { .. } | Transport::IcmpError { .. } | Transport::Other(_) => None,
        };
        if let Some(far) = far {
            self.flows.insert(flow, far);
        }
    }

    fn dial(&mut self, flow: FlowId, client: u32, syn: &Packet<'_>) {
        let Some(core) = self.core.upgrade() else { return };
        if let Some(Far::Bound { socket }) = self.flows.remove(&flow)
            && let Some(far) = tcp::dial(self, core, flow, client, syn, socket)
        {
            self.flows.insert(flow, far);
        }
    }

    /// The LAN address that a flow leaves from, when there is a pool.
    fn source(&self, packet: &Packet<'_>) -> Option<IpAddr> {
        self.settings.sources.of(packet.source, &self.settings.tunnel, packet.destination.is_ipv4())
    }
}

impl InnerSink for Proxy {
    fn packet(&mut self, flow: FlowId, client: u32, packet: &Packet<'_>, now: Instant) {
        self.prepare(flow, client, packet, now);
        match (self.flows.get(&flow), packet.transport) {
            (Some(Far::Stream { connection, .. }), Transport::Tcp { .. }) => {
                // An error means that the connection is gone or the segment is none of its own: dropped either way.
                let _ = self.stack.handle_packet(*connection, packet.bytes(), now);
            }
            (Some(Far::Bound { .. }), Transport::Tcp { .. }) => self.dial(flow, client, packet),
            (Some(Far::Udp { socket, .. }), Transport::Udp { .. }) => udp::send(socket, packet),
            (Some(Far::Echo { socket, .. }), Transport::EchoRequest { .. }) => echo::send(socket, packet),
            (Some(Far::Dns), Transport::Udp { .. }) => {
                if let Some(core) = self.core.upgrade() {
                    control::answer_dns(self.control.clone(), core, flow, packet);
                }
            }
            // A repeated SYN, or an ICMP error, which ends here as the flow itself does.
            _ => {}
        }
    }
}

/// Runs `act` on the shared core, from a flow's task.
fn with_core<R>(core: &SharedCore, act: impl FnOnce(&mut Core, Instant) -> R) -> R {
    act(&mut core.borrow_mut(), Instant::now())
}
