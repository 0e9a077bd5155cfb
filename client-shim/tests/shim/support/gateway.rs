//! The gateway's loop.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use uuid::Uuid;
use vmsgate_pump::Stack;
use vmsgate_tunnel::event::ClientInfo;
use vmsgate_tunnel::flow::{FlowId, FlowLimits};
use vmsgate_tunnel::gateway::{self, GatewayState, shard::Shard};
use vmsgate_tunnel::guard::HandshakeLimits;
use vmsgate_tunnel::netstack::{ConnectionId, NetStack, OwnerId, StackConfig};
use vmsgate_tunnel::noise::Identity;
use vmsgate_tunnel::packet::Packet;
use vmsgate_tunnel::peer::{Access, ClientConfig, ClientKey, ClientKind};
use vmsgate_tunnel::policy::{Grant, PolicyBuilder, Protocol};
use vmsgate_tunnel::sink::{DatagramQueue, InnerSink};
use x25519_dalek::{PublicKey, StaticSecret};

use super::{CLIENT, GATEWAY, Server, ip, serve};

pub struct Settings {
    pub secret: StaticSecret,
    pub client: PublicKey,
    pub preshared: [u8; 32],
    pub listen: SocketAddr,
    pub servers: Vec<Server>,
}

pub fn run(settings: Settings, ready: &std::sync::mpsc::Sender<()>, mut stop: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let socket = UdpSocket::bind(settings.listen).await.unwrap();
        ready.send(()).unwrap();
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

/// Where allowed packets go: the TCP stack, whose streams are served.
struct Egress {
    stack: Stack,
    connections: HashMap<FlowId, ConnectionId>,
    flows: Rc<RefCell<HashMap<ConnectionId, FlowId>>>,
    document: Rc<str>,
}

impl<'s> Gateway<'s> {
    fn new(settings: Settings, socket: &'s UdpSocket) -> Self {
        let now = Instant::now();
        let tunnel = vec!["10.99.0.0/16".parse().unwrap(), "fd00:99::/64".parse().unwrap()];
        let mut policy = PolicyBuilder::new("v1", tunnel, GATEWAY.map(ip).to_vec());
        let role = policy.role("smart-client", true);
        for Server { name, address, ports } in &settings.servers {
            let server = policy.server(name, &[ip(address)]);
            let (service, rule) = ("echo".into(), "echo".into());
            let (protocol, ports) = (Protocol::Tcp, ports.clone());
            policy.grant(role, Grant { server, service, rule, protocol, ports, require_tls: None });
        }
        let idle = Duration::from_secs(3600);
        let flows = FlowLimits {
            tcp_established: idle,
            tcp_transitory: idle,
            udp: idle,
            icmp: idle,
            per_client: 1000,
            total: 1000,
        };
        let handshakes = HandshakeLimits { per_source: 100, total: 1000 };
        let mut state = GatewayState::new(
            gateway::Settings {
                policy: policy.build().into(),
                flows,
                handshakes,
                answer_refused: true,
                mtu: 1420,
            },
            Shard::whole(),
            now,
            1_700_000_000_000,
            fastrand::u64(..),
        );
        let mut datagrams = DatagramQueue::default();
        state.set_identities(vec![Identity::new(settings.secret)], now, &mut datagrams);
        let client = ClientConfig {
            info: ClientInfo {
                id: Uuid::from_u128(1),
                name: "anna-laptop".into(),
                operator: "Anna Berg".into(),
                role: "smart-client".into(),
                addresses: CLIENT.map(ip).to_vec(),
            },
            keys: vec![ClientKey {
                public: settings.client,
                preshared: Some(settings.preshared.into()),
                until: None,
            }],
            access: Access::Active { until: None },
            kind: ClientKind::Device,
        };
        state.upsert_client(client, now, &mut datagrams);
        let stack = Stack::new(NetStack::new(StackConfig::default(), fastrand::u64(..), now));
        let document = serve::document(&settings.servers).into();
        let egress = Egress { stack, connections: HashMap::new(), flows: Rc::default(), document };
        Self { state, egress, datagrams, socket }
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
            while state.poll_event().is_some() {}
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

impl InnerSink for Egress {
    fn packet(&mut self, flow: FlowId, _client: u32, packet: &Packet<'_>, now: Instant) {
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
        spawn_local(serve::serve(stream, tuple.destination, self.document.clone()));
    }
}
