//! A gateway and one client of it in memory, joined or not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use uuid::Uuid;
use vmsgate_tunnel::bandwidth::Bandwidths;
use vmsgate_tunnel::client::{ClientKeys, ClientSettings, ClientState};
use vmsgate_tunnel::event::ClientInfo;
use vmsgate_tunnel::flow::{FlowId, FlowLimits};
use vmsgate_tunnel::gateway::shard::Shard;
use vmsgate_tunnel::gateway::{GatewayState, LastNotices, Settings};
use vmsgate_tunnel::guard::HandshakeLimits;
use vmsgate_tunnel::noise::Identity;
use vmsgate_tunnel::packet::Packet;
use vmsgate_tunnel::peer::{Access, ClientConfig, ClientKey, ClientKind};
use vmsgate_tunnel::policy::{Grant, PolicyBuilder, Protocol};
use vmsgate_tunnel::sink::{DatagramQueue, InnerSink};
use x25519_dalek::{PublicKey, StaticSecret};

pub(crate) const OWN: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 2))];
pub(crate) const GATEWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 1))];
pub(crate) const SERVER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 168, 10, 21)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x21)),
];
/// Where anything may pass, and where only TLS may.
pub(crate) const PORTS: [u16; 2] = [7563, 7564];
pub(crate) const ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 51_820);
pub(crate) const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), 4000);

pub(crate) struct World {
    pub(crate) gateway: GatewayState,
    pub(crate) client: ClientState,
    pub(crate) key: [u8; 32],
    pub(crate) now: Instant,
    pub(crate) egress: Egress,
    /// Packets that reached the client.
    pub(crate) received: u64,
    room: Vec<u8>,
}

/// Checks what leaves for the recording network, and keeps the newest flow's name.
#[derive(Default)]
pub(crate) struct Egress {
    pub(crate) newest: Option<FlowId>,
    pub(crate) packets: u64,
}

impl InnerSink for Egress {
    fn packet(&mut self, flow: FlowId, _client: u32, packet: &Packet<'_>, _now: Instant) {
        let parsed =
            Packet::parse(packet.bytes()).unwrap_or_else(|why| panic!("malformed at the egress: {why:?}"));
        assert!(OWN.contains(&parsed.source), "a forged source at the egress: {}", parsed.source);
        if let Some(tuple) = parsed.five_tuple() {
            let (to, port) = (tuple.destination.ip(), tuple.destination.port());
            let server = SERVER.contains(&to) && (tuple.protocol == Protocol::Icmp || PORTS.contains(&port));
            let control =
                GATEWAY.contains(&to) && (tuple.protocol == Protocol::Icmp || [53, 80].contains(&port));
            assert!(server || control, "policy allows no {:?} to {}", tuple.protocol, tuple.destination);
        }
        self.newest = Some(flow);
        self.packets += 1;
    }
}

impl World {
    /// Nobody has said anything yet.
    pub(crate) fn new() -> World {
        let now = Instant::now();
        let mut gateway = GatewayState::new(settings(), Shard::whole(), now, 1_700_000_000_000, 1);
        let (secret, own) = (StaticSecret::from([7; 32]), StaticSecret::from([9; 32]));
        let public = PublicKey::from(&secret);
        let out = &mut DatagramQueue::default();
        gateway.set_identities(vec![Identity::new(secret)], now, out);
        let info = ClientInfo {
            id: Uuid::from_u128(2),
            name: "alice".into(),
            operator: "Alice".into(),
            role: "smart-client".into(),
            addresses: OWN.to_vec(),
        };
        let keys =
            vec![ClientKey { public: PublicKey::from(&own), preshared: Some([3; 32].into()), until: None }];
        let access = Access::Active { until: None };
        gateway.upsert_client(ClientConfig { info, keys, access, kind: ClientKind::Device }, now, out);
        let keys = ClientKeys { secret: own, gateway: public, preshared: Some([3; 32].into()), agreed: None };
        let settings = ClientSettings { keys, addresses: OWN.to_vec(), persistent_keepalive: None };
        World {
            gateway,
            client: ClientState::new(settings, ENDPOINT, now, 2),
            key: public.to_bytes(),
            now,
            egress: Egress::default(),
            received: 0,
            room: vec![0; 1 << 16],
        }
    }

    /// With a session.
    pub(crate) fn joined() -> World {
        let mut world = World::new();
        let mut out = DatagramQueue::default();
        world.client.connect(world.now, &mut out);
        world.carry(out);
        world
    }

    /// One datagram for the gateway; answers what it answers.
    pub(crate) fn arrive(&mut self, from: SocketAddr, datagram: &[u8]) -> DatagramQueue {
        let mut down = DatagramQueue::default();
        let World { gateway, room, now, egress, .. } = self;
        gateway.handle_datagram(from, datagram, room, *now, &mut down, egress);
        while gateway.poll_event().is_some() {}
        down
    }

    /// One datagram for the client; answers what it answers.
    pub(crate) fn reach_client(&mut self, from: SocketAddr, datagram: &[u8]) -> DatagramQueue {
        let mut up = DatagramQueue::default();
        let World { client, received, now, .. } = self;
        let mut inner = |packet: &Packet<'_>| {
            assert!(OWN.contains(&packet.destination));
            *received += 1;
        };
        client.handle_datagram(from, datagram, *now, &mut up, &mut inner);
        up
    }

    /// Carries the client's datagrams up and the answers back until there are none.
    pub(crate) fn carry(&mut self, mut up: DatagramQueue) {
        while !up.datagrams.is_empty() {
            let mut next = DatagramQueue::default();
            for (_, datagram) in up.datagrams {
                for (_, answer) in self.arrive(OUTSIDE, &datagram).datagrams {
                    next.datagrams.extend(self.reach_client(ENDPOINT, &answer).datagrams);
                }
            }
            up = next;
        }
    }

    /// The client's packet as a datagram.
    pub(crate) fn sealed(&mut self, packet: &[u8]) -> DatagramQueue {
        let mut padded = packet.to_vec();
        padded.extend([0; 16]);
        let mut out = DatagramQueue::default();
        self.client.send(&mut padded, packet.len(), self.now, &mut out);
        out
    }

    /// The server's packet of the newest flow.
    pub(crate) fn answer(&mut self, packet: &[u8]) {
        let Some(flow) = self.egress.newest else { return };
        let mut padded = packet.to_vec();
        padded.extend([0; 16]);
        let mut out = DatagramQueue::default();
        self.gateway.handle_egress(flow, &mut padded, packet.len(), self.now, &mut out);
        for (to, datagram) in out.datagrams {
            assert_eq!(to, OUTSIDE, "an answer to somebody else");
            self.reach_client(ENDPOINT, &datagram);
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut out = DatagramQueue::default();
        self.gateway.handle_timeout(self.now, &mut out);
        while self.gateway.poll_event().is_some() {}
    }
}

fn settings() -> Settings {
    let tunnel = ["10.99.0.0/16", "fd00:99::/64"].into_iter().filter_map(|net| net.parse().ok()).collect();
    let mut builder = PolicyBuilder::new("v1", tunnel, GATEWAY.to_vec());
    let server = builder.server("rec01", &SERVER);
    let role = builder.role("smart-client", true);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (port, require_tls) in PORTS.into_iter().zip([None, Some("tls".into())]) {
            let (service, rule) = ("recording-server".into(), "rec01:recording-server".into());
            builder.grant(role, Grant { server, service, rule, protocol, ports: port..=port, require_tls });
        }
    }
    Settings {
        policy: builder.build().into(),
        flows: FlowLimits {
            tcp_established: Duration::from_secs(12 * 3600),
            tcp_transitory: Duration::from_secs(60),
            udp: Duration::from_secs(60),
            icmp: Duration::from_secs(10),
            per_client: 16,
            total: 16,
            new_per_second: 1_000_000,
        },
        handshakes: HandshakeLimits { per_source: 10, total: 1000 },
        bandwidths: Bandwidths::default(),
        answer_refused: true,
        last_notices: LastNotices::default(),
        mtu: 1420,
    }
}
