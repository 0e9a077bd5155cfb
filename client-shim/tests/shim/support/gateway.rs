//! The gateway's loop.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use uuid::Uuid;
use vmsgate_exchange::GATEWAY_ADDRESS;
use vmsgate_exchange::refusal::{self, Reason, Refusal};
use vmsgate_pump::Stack;
use vmsgate_tunnel::bandwidth::Bandwidths;
use vmsgate_tunnel::event::{ClientInfo, GatewayEvent};
use vmsgate_tunnel::flow::{FlowId, FlowLimits};
use vmsgate_tunnel::gateway::{self, GatewayState, LastNotices, shard::Shard};
use vmsgate_tunnel::guard::HandshakeLimits;
use vmsgate_tunnel::netstack::{ConnectionId, NetStack, OwnerId, StackConfig};
use vmsgate_tunnel::noise::Identity;
use vmsgate_tunnel::packet::{Packet, Transport};
use vmsgate_tunnel::peer::{ClientConfig, ClientKey, ClientKind};
use vmsgate_tunnel::policy::{Grant, PolicyBuilder, Protocol};
use vmsgate_tunnel::reply;
use vmsgate_tunnel::sink::{DatagramQueue, InnerSink};
use x25519_dalek::PublicKey;

use super::registry::{Command, Shared};
use super::serve::{self, Control};
use super::{CLIENT, CONTACT, GATEWAY, Server, Speaks, ip};

pub struct Settings {
    pub registry: Shared,
    pub listen: SocketAddr,
    pub servers: Vec<Server>,
    pub commands: (mpsc::UnboundedSender<Command>, mpsc::UnboundedReceiver<Command>),
}

pub fn run(mut settings: Settings, ready: &std::sync::mpsc::Sender<()>, mut stop: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let socket = UdpSocket::bind(settings.listen).await.unwrap();
        ready.send(()).unwrap();
        let (sender, mut commands) = settings.commands;
        settings.commands = (sender, mpsc::unbounded_channel().1);
        let mut gateway = Gateway::new(settings, &socket);
        let mut buffer = vec![0; 65_535];
        loop {
            gateway.transmit().await;
            let wake = gateway.wake_at().into();
            tokio::select! {
                received = socket.recv_from(&mut buffer) => {
                    if let Ok((len, from)) = received {
                        gateway.receive(from, &buffer[..len]);
                    }
                }
                () = gateway.egress.stack.work() => {}
                () = tokio::time::sleep_until(wake) => {}
                Some(command) = commands.recv() => gateway.obey(command),
                _ = &mut stop => return,
            }
        }
    });
}

struct Gateway<'s> {
    state: GatewayState,
    egress: Egress,
    datagrams: DatagramQueue,
    socket: &'s UdpSocket,
}

/// Where allowed packets go: the TCP stack, whose streams are served. Datagrams are echoed.
struct Egress {
    stack: Stack,
    echoes: Vec<(FlowId, Vec<u8>)>,
    connections: HashMap<FlowId, ConnectionId>,
    flows: Rc<RefCell<HashMap<ConnectionId, FlowId>>>,
    control: Rc<Control>,
}

impl<'s> Gateway<'s> {
    fn new(settings: Settings, socket: &'s UdpSocket) -> Self {
        let now = Instant::now();
        let tunnel = vec!["10.99.0.0/16".parse().unwrap(), "fd00:99::/64".parse().unwrap()];
        let own = GATEWAY.map(ip).into_iter().chain([GATEWAY_ADDRESS.into()]).collect();
        let mut policy = PolicyBuilder::new("v1", tunnel, own);
        let role = policy.role("smart-client", true);
        let reachable = settings.servers.iter().filter(|server| !matches!(server.speaks, Speaks::Refusal));
        for Server { name, address, ports, .. } in reachable {
            let server = policy.server(name, &[ip(address)]);
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let (service, rule, ports) = ("echo".into(), "echo".into(), ports.clone());
                policy.grant(role, Grant { server, service, rule, protocol, ports, require_tls: None });
            }
        }
        let idle = Duration::from_secs(3600);
        let flows = FlowLimits {
            tcp_established: idle,
            tcp_transitory: idle,
            udp: idle,
            icmp: idle,
            per_client: 1000,
            total: 1000,
            new_per_second: 1000,
        };
        let handshakes = HandshakeLimits { per_source: 100, total: 1000 };
        let state = GatewayState::new(
            gateway::Settings {
                policy: policy.build().into(),
                flows,
                handshakes,
                bandwidths: Bandwidths::default(),
                answer_refused: true,
                mtu: 1420,
                last_notices: last_notices(),
            },
            Shard::whole(),
            now,
            1_700_000_000_000,
            fastrand::u64(..),
        );
        let stack = Stack::new(NetStack::new(StackConfig::default(), fastrand::u64(..), now));
        let control = Rc::new(Control {
            servers: settings.servers,
            registry: settings.registry,
            commands: settings.commands.0,
            heard: Cell::new(None),
        });
        let egress =
            Egress { stack, echoes: Vec::new(), connections: HashMap::new(), flows: Rc::default(), control };
        let mut gateway = Self { state, egress, datagrams: DatagramQueue::default(), socket };
        gateway.apply();
        gateway
    }

    /// Brings the state in line with the registry.
    fn apply(&mut self) {
        let Self { state, egress, datagrams, .. } = self;
        let now = Instant::now();
        let registry = egress.control.registry.lock().unwrap();
        let identities = registry.identities.iter().cloned().map(Identity::new).collect();
        state.set_identities(identities, now, datagrams);
        let key = |(public, preshared): &(PublicKey, [u8; 32])| ClientKey {
            public: *public,
            preshared: Some((*preshared).into()),
            until: None,
        };
        let info = |id, addresses| ClientInfo {
            id: Uuid::from_u128(id),
            name: "anna-laptop".into(),
            operator: "Anna Berg".into(),
            role: "smart-client".into(),
            addresses,
        };
        let access = registry.access;
        let device = ClientConfig {
            info: info(1, CLIENT.map(ip).to_vec()),
            keys: registry.keys.iter().map(key).collect(),
            access,
            kind: ClientKind::Device,
        };
        state.upsert_client(device, now, datagrams);
        if let Some(invitation) = &registry.invitation {
            let config = ClientConfig {
                info: info(2, vec![invitation.address().into()]),
                keys: vec![key(&(invitation.public(), *invitation.preshared))],
                access,
                kind: ClientKind::Invitation,
            };
            state.upsert_client(config, now, datagrams);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Apply(done) => {
                self.apply();
                let _ = done.send(());
            }
            Command::Agree(key, preshared, done) => {
                assert!(self.state.agree(Uuid::from_u128(1), key, preshared.into()));
                let _ = done.send(());
            }
        }
    }

    fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Self { state, egress, datagrams, .. } = self;
        let mut room = vec![0; gateway::room_for(datagram)];
        state.handle_datagram(from, datagram, &mut room, Instant::now(), datagrams, egress);
    }

    async fn transmit(&mut self) {
        let Self { state, egress, datagrams, socket } = self;
        loop {
            let now = Instant::now();
            state.handle_timeout(now, datagrams);
            while let Some(event) = state.poll_event() {
                if let GatewayEvent::KeyConfirmed { client, key, identity, .. } = event
                    && client == Uuid::from_u128(1)
                {
                    egress.control.heard.set(Some((key, identity)));
                }
            }
            for (flow, mut packet) in egress.echoes.drain(..) {
                let length = packet.len();
                packet.extend([0; 15]);
                state.handle_egress(flow, &mut packet, length, now, datagrams);
            }
            let flows = egress.flows.clone();
            let more = egress.stack.poll_transmit(now, 64, &mut |id, packet| {
                let flow = flows.borrow().get(&id).copied();
                let mut room = [packet, &[0; 15]].concat();
                if let Some(flow) = flow {
                    state.handle_egress(flow, &mut room, packet.len(), now, datagrams);
                }
            });
            for (to, datagram) in datagrams.datagrams.drain(..) {
                let _ = socket.send_to(&datagram, to).await;
            }
            if !more {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn wake_at(&self) -> Instant {
        self.egress.stack.poll_timeout().into_iter().fold(self.state.poll_timeout(), Instant::min)
    }
}

/// As the gateway makes them from its configuration.
fn last_notices() -> LastNotices {
    let text = |reason| Refusal::new(reason, Some(CONTACT)).to_bytes().into();
    LastNotices {
        from: GATEWAY.map(ip).into(),
        port: refusal::PORT,
        revoked: text(Reason::Revoked),
        suspended: text(Reason::Suspended),
        expired: text(Reason::Expired),
    }
}

impl InnerSink for Egress {
    fn packet(&mut self, flow: FlowId, _client: u32, packet: &Packet<'_>, now: Instant) {
        if let (Transport::Udp { .. }, Some(tuple)) = (packet.transport, packet.five_tuple()) {
            let mut echo = vec![0; packet.bytes().len()];
            reply::udp(tuple.destination, tuple.source, packet.payload(), &mut echo).unwrap();
            return self.echoes.push((flow, echo));
        }
        if let Some(id) = self.connections.get(&flow) {
            let _ = self.stack.handle_packet(*id, packet.bytes(), now);
            return;
        }
        let (Ok(stream), Some(tuple)) =
            (self.stack.accept(OwnerId(1), packet.bytes(), now), packet.five_tuple())
        else {
            return;
        };
        self.connections.insert(flow, stream.id());
        self.flows.borrow_mut().insert(stream.id(), flow);
        spawn_local(serve::serve(stream, tuple.destination, self.control.clone()));
    }
}
