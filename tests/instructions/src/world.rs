//! One gateway and one client, joined in memory, with a TCP flow to the recording server.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;
use vmsgate_tunnel::{
    bandwidth::Bandwidths,
    client::{ClientKeys, ClientSettings, ClientState},
    event::ClientInfo,
    flow::{FlowId, FlowLimits},
    gateway::{GatewayState, LastNotices, Settings, shard::Shard},
    guard::HandshakeLimits,
    noise::Identity,
    packet::Packet,
    peer::{Access, ClientConfig, ClientKey, ClientKind},
    policy::{Grant, Policy, PolicyBuilder, Protocol},
    sink::{DatagramQueue, DatagramSink, InnerSink},
};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::wire::{ACK, SYN, Single, Way, tcp_packet};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 21);
pub(crate) const VIDEO: u16 = 7563;
pub(crate) const CLIENT_PORT: u16 = 50_000;
pub(crate) const ROLE: &str = "smart-client";
pub(crate) const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), 4000);
const GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 51_820);
const PRESHARED: [u8; 32] = [3; 32];
const SEED: u64 = 7563;

/// A flow's payload per packet at the usual tunnel MTU of 1420 bytes.
pub(crate) const PAYLOAD: usize = 1380;

/// The pair.
pub(crate) struct World {
    pub(crate) gateway: GatewayState,
    pub(crate) client: ClientState,
    pub(crate) now: Instant,
    public: PublicKey,
}

/// Keeps the last datagram only, in a buffer of its own: what the gateway's real sink does, without a kernel.
pub(crate) struct Slot {
    room: Vec<u8>,
    len: usize,
}

/// Lets packets go.
pub(crate) struct Nowhere;

impl World {
    /// Before the first handshake.
    pub(crate) fn new() -> World {
        let now = Instant::now();
        let mut gateway = GatewayState::new(settings(), Shard::whole(), now, 1_700_000_000_000, SEED);
        let identity = Identity::new(StaticSecret::from([1; 32]));
        let public = identity.public();
        gateway.set_identities(vec![identity], now, &mut DatagramQueue::default());
        let client = new_client(public, now);
        let key = ClientKey {
            public: PublicKey::from(&StaticSecret::from([2; 32])),
            preshared: Some(PRESHARED.into()),
            until: None,
        };
        let config = ClientConfig {
            info: ClientInfo {
                id: Uuid::from_u128(1),
                name: "client".into(),
                operator: "Operator".into(),
                role: ROLE.into(),
                addresses: vec![CLIENT.into()],
            },
            keys: vec![key],
            access: Access::Active { until: None },
            kind: ClientKind::Device,
        };
        gateway.upsert_client(config, now, &mut DatagramQueue::default());
        World { gateway, client, now, public }
    }

    /// With a session and an established flow.
    pub(crate) fn with_flow() -> Result<World> {
        let mut world = World::new();
        let initiation = world.initiation()?;
        let response = world.deliver(&initiation);
        world.receive(&response)?;
        for packet in [tcp_packet(Way::Up, SYN, 0, 0), tcp_packet(Way::Up, ACK, 1, 0)] {
            let datagram = world.sealed_by_client(&packet)?;
            world.deliver(&datagram);
            let mut answer = Single::new(tcp_packet(Way::Down, SYN | ACK, 0, 0));
            world.gateway.handle_lan(&mut answer, world.now, &mut Slot::new());
        }
        ensure!(world.gateway.flows().len() == 1, "the flow was not opened: {:?}", world.gateway.refusals());
        Ok(world)
    }

    /// The first message of a handshake by a client that starts anew.
    pub(crate) fn initiation(&mut self) -> Result<Vec<u8>> {
        self.client = new_client(self.public, self.now);
        let mut out = DatagramQueue::default();
        self.client.connect(self.now, &mut out);
        first(out)
    }

    pub(crate) fn sealed_by_client(&mut self, packet: &[u8]) -> Result<Vec<u8>> {
        let mut padded = packet.to_vec();
        padded.extend([0; 15]);
        let mut out = DatagramQueue::default();
        self.client.send(&mut padded, packet.len(), self.now, &mut out);
        first(out)
    }

    fn deliver(&mut self, datagram: &[u8]) -> Vec<u8> {
        let mut out = Slot::new();
        let mut room = vec![0; 65_536];
        self.gateway.handle_datagram(OUTSIDE, datagram, &mut room, self.now, &mut out, &mut Nowhere);
        out.bytes().to_vec()
    }

    /// Gives the client a handshake response, and the gateway the message that confirms it.
    fn receive(&mut self, response: &[u8]) -> Result<()> {
        let mut out = DatagramQueue::default();
        self.client.handle_datagram(GATEWAY, response, self.now, &mut out, &mut |_| {});
        let confirmation = first(out)?;
        self.deliver(&confirmation);
        Ok(())
    }
}

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot { room: vec![0; 65_536], len: 0 }
    }

    /// The last datagram.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or_default()
    }
}

impl DatagramSink for Slot {
    fn reserve(&mut self, _: SocketAddr, _: usize) -> &mut [u8] {
        &mut self.room
    }

    fn commit(&mut self, len: usize) {
        self.len = len;
    }
}

impl InnerSink for Nowhere {
    fn packet(&mut self, _: FlowId, _: u32, packet: &Packet<'_>, _: Instant) {
        std::hint::black_box(packet);
    }
}

/// A site of twenty recorders whose never-expose list is as long as the built-in one.
pub(crate) fn policy() -> Policy {
    let gateway = vec!["10.99.0.1"].into_iter().filter_map(|address| address.parse().ok()).collect();
    let ranges = "10.99.0.0/16".parse().into_iter().collect();
    let mut builder = PolicyBuilder::new("v1", ranges, gateway);
    let role = builder.role(ROLE, true);
    for number in 0..20 {
        let server = builder.server("recorder", &[Ipv4Addr::from(u32::from(SERVER) + number).into()]);
        for ports in [80..=80, 443..=443, VIDEO..=VIDEO] {
            let protocol = Protocol::Tcp;
            let (service, rule) = ("recording-server".into(), "rec*:recording-server".into());
            builder.grant(role, Grant { server, service, rule, protocol, ports, require_tls: None });
        }
    }
    for port in 0..60 {
        builder.never_expose(Protocol::Tcp, 40_000 + port * 10..=40_005 + port * 10, "not for clients");
    }
    builder.build()
}

pub(crate) fn flow_limits() -> FlowLimits {
    FlowLimits {
        tcp_established: Duration::from_secs(12 * 3600),
        tcp_transitory: Duration::from_secs(60),
        udp: Duration::from_secs(120),
        icmp: Duration::from_secs(30),
        per_client: 1024,
        total: 65_536,
        new_per_second: 1000,
    }
}

fn settings() -> Settings {
    Settings {
        policy: policy().into(),
        flows: flow_limits(),
        handshakes: HandshakeLimits { per_source: 1_000_000, total: 1_000_000 },
        bandwidths: Bandwidths::default(),
        answer_refused: true,
        last_notices: LastNotices::default(),
        mtu: 1420,
    }
}

fn new_client(gateway: PublicKey, now: Instant) -> ClientState {
    let settings = ClientSettings {
        keys: ClientKeys {
            secret: StaticSecret::from([2; 32]),
            gateway,
            preshared: Some(PRESHARED.into()),
            agreed: None,
        },
        addresses: vec![CLIENT.into()],
        persistent_keepalive: None,
    };
    ClientState::new(settings, GATEWAY, now, SEED)
}

fn first(queue: DatagramQueue) -> Result<Vec<u8>> {
    queue.datagrams.into_iter().next().map(|(_, bytes)| bytes).context("no datagram came")
}
