//! The gateway's state machine and the client's, joined in memory: no sockets, and time only as it is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg_attr(not(test), allow(dead_code, unused_imports, reason = "others take the verdicts alone"))]

mod bandwidth;
mod cuts;
mod foresee;
mod identities;
mod invitations;
mod keys;
mod lan;
mod limits;
mod lost_keys;
mod moves;
mod refusal;
mod shards;
mod tls;
pub mod verdicts;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use std::time::{Duration, Instant};

use uuid::Uuid;
use x25519_dalek::{PublicKey, StaticSecret};

use super::*;
use crate::client::{ClientKeys, ClientSettings, ClientState};
use crate::event::{Denial, Interrupted, SessionEnd};
use crate::flow::{CloseReason, FlowId};
use crate::packet::{Packet, Transport};
use crate::peer::{ClientConfig, ClientKey, ClientKind};
use crate::policy::{DenyReason, Grant, PolicyBuilder, Protocol};
use crate::reply;
use crate::sink::{DatagramQueue, InnerSink};

const GATEWAY: &str = "192.0.2.1:51820";
const SERVER: &str = "192.168.10.10:443";
/// The session that a restart interrupted.
const BEFORE: Uuid = Uuid::from_u128(7);

/// One gateway with two clients, `alice` and `bob`.
struct World {
    gateway: GatewayState,
    clients: Vec<ClientState>,
    outside: Vec<SocketAddr>,
    configs: Vec<ClientConfig>,
    keys: Vec<ClientKeys>,
    now: Instant,
    /// What came out of the gateway towards the egress.
    egress: Egress,
    /// What came out of the tunnel at each client.
    received: Vec<Vec<Vec<u8>>>,
    events: Vec<GatewayEvent>,
    room: Vec<u8>,
    identity: StaticSecret,
    /// Of [`World::offer_identity`].
    other_identity: Option<StaticSecret>,
}

#[derive(Default)]
struct Egress(Vec<(FlowId, Vec<u8>)>);

impl InnerSink for Egress {
    fn packet(&mut self, flow: FlowId, _client: u32, packet: &Packet<'_>, _now: Instant) {
        self.0.push((flow, packet.bytes().to_vec()));
    }
}

fn settings(port: u16) -> Settings {
    settings_with(port, None)
}

fn settings_with(port: u16, require_tls: Option<Arc<str>>) -> Settings {
    let gateway = vec!["10.99.0.1".parse().unwrap()];
    let mut builder = PolicyBuilder::new("v1", vec!["10.99.0.0/16".parse().unwrap()], gateway);
    let server = builder.server("mgmt", &[SERVER.parse::<SocketAddr>().unwrap().ip()]);
    let role = builder.role("smart-client", true);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let ports = port..=port;
        builder.grant(
            role,
            Grant {
                server,
                service: "web".into(),
                rule: "mgmt:web".into(),
                protocol,
                ports,
                require_tls: require_tls.clone(),
            },
        );
    }
    Settings {
        policy: builder.build().into(),
        flows: crate::flow::FlowLimits {
            tcp_established: Duration::from_secs(12 * 3600),
            tcp_transitory: Duration::from_secs(60),
            udp: Duration::from_secs(60),
            icmp: Duration::from_secs(10),
            per_client: 64,
            total: 1000,
            new_per_second: 1000,
        },
        handshakes: HandshakeLimits { per_source: 10, total: 1000 },
        bandwidths: Bandwidths::default(),
        answer_refused: true,
        last_notices: LastNotices::default(),
        mtu: 1420,
    }
}

impl World {
    /// What a run before knew of the first client.
    fn interrupted(&self, until: UnixMillis) -> Interrupted {
        let (client, endpoint) = (self.configs[0].info.id, self.outside[0]);
        Interrupted { client, session: BEFORE, endpoint, until }
    }

    /// What the sessions that opened so far continue.
    fn continued(&self) -> Vec<Option<Uuid>> {
        let opened = self.events.iter().filter_map(|event| match event {
            GatewayEvent::SessionOpened { session, .. } => Some(session.continues),
            _ => None,
        });
        opened.collect()
    }

    fn new() -> World {
        World::with_shard(Shard::whole())
    }

    fn with_shard(shard: Shard) -> World {
        let now = Instant::now();
        let mut gateway = GatewayState::new(settings(443), shard, now, 1_700_000_000_000, 1);
        let secret = StaticSecret::random_from_rng(rand_core::OsRng);
        let identity = Identity::new(secret.clone());
        let public = identity.public();
        gateway.set_identities(vec![identity], now, &mut DatagramQueue::default());
        let mut world = World {
            gateway,
            clients: Vec::new(),
            outside: Vec::new(),
            configs: Vec::new(),
            keys: Vec::new(),
            now,
            egress: Egress::default(),
            received: Vec::new(),
            events: Vec::new(),
            room: vec![0; 65_536],
            identity: secret,
            other_identity: None,
        };
        for (name, host) in [("alice", 2), ("bob", 3)] {
            world.add_client(name, host, public);
        }
        world
    }

    fn add_client(&mut self, name: &str, host: u8, gateway: PublicKey) {
        let secret = StaticSecret::random_from_rng(rand_core::OsRng);
        let address = IpAddr::from([10, 99, 0, host]);
        let config = ClientConfig {
            info: ClientInfo {
                id: Uuid::from_u128(host.into()),
                name: name.into(),
                operator: name.into(),
                role: "smart-client".into(),
                addresses: vec![address],
            },
            keys: vec![ClientKey {
                public: PublicKey::from(&secret),
                preshared: Some([3; 32].into()),
                until: None,
            }],
            access: Access::Active { until: None },
            kind: ClientKind::Device,
        };
        self.gateway.upsert_client(config.clone(), self.now, &mut DatagramQueue::default());
        self.configs.push(config);
        let keys = ClientKeys { secret, gateway, preshared: Some([3; 32].into()), agreed: None };
        let settings =
            ClientSettings { keys: keys.clone(), addresses: vec![address], persistent_keepalive: None };
        self.keys.push(keys);
        self.clients.push(ClientState::new(settings, GATEWAY.parse().unwrap(), self.now, host.into()));
        self.outside.push(SocketAddr::from(([198, 51, 100, host], 4000)));
        self.received.push(Vec::new());
    }

    fn connect(&mut self, client: usize) {
        let mut out = DatagramQueue::default();
        self.clients[client].connect(self.now, &mut out);
        self.carry_up(client, out);
    }

    /// Carries datagrams back and forth until there are none.
    fn carry_up(&mut self, client: usize, queue: DatagramQueue) {
        let mut up: VecDeque<Vec<u8>> = queue.datagrams.into_iter().map(|(_, bytes)| bytes).collect();
        while let Some(datagram) = up.pop_front() {
            let mut down = DatagramQueue::default();
            let from = self.outside[client];
            let World { gateway, room, now, egress, .. } = self;
            assert_eq!(gateway.handle_datagram(from, &datagram, room, *now, &mut down, egress), None);
            up.extend(self.carry_down(down));
        }
        while let Some(event) = self.gateway.poll_event() {
            self.events.push(event);
        }
    }

    fn carry_down(&mut self, queue: DatagramQueue) -> Vec<Vec<u8>> {
        let mut answers = DatagramQueue::default();
        for (to, bytes) in queue.datagrams {
            let Some(client) = self.outside.iter().position(|outside| *outside == to) else { continue };
            let received = &mut self.received[client];
            let mut inner = |packet: &Packet<'_>| received.push(packet.bytes().to_vec());
            let gateway = GATEWAY.parse().unwrap();
            self.clients[client].handle_datagram(gateway, &bytes, self.now, &mut answers, &mut inner);
        }
        answers.datagrams.into_iter().map(|(_, bytes)| bytes).collect()
    }

    fn send(&mut self, client: usize, packet: &[u8]) {
        let mut padded = packet.to_vec();
        padded.extend([0; 15]);
        let mut out = DatagramQueue::default();
        self.clients[client].send(&mut padded, packet.len(), self.now, &mut out);
        self.carry_up(client, out);
    }

    fn answer(&mut self, flow: FlowId, packet: &[u8]) {
        let mut padded = packet.to_vec();
        padded.extend([0; 15]);
        let mut out = DatagramQueue::default();
        self.gateway.handle_egress(flow, &mut padded, packet.len(), self.now, &mut out);
        self.carry_down(out);
        self.drain_events();
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.gateway.poll_event() {
            self.events.push(event);
        }
    }

    fn pass_time(&mut self, duration: Duration) {
        self.now += duration;
        let mut out = DatagramQueue::default();
        self.gateway.handle_timeout(self.now, &mut out);
        self.carry_down(out);
        self.drain_events();
    }

    fn denials(&mut self) -> Vec<Denial> {
        self.pass_time(Duration::from_secs(11));
        let denial = |event: &GatewayEvent| match event {
            GatewayEvent::FlowDenied(denial) => Some(denial.clone()),
            _ => None,
        };
        self.events.iter().filter_map(denial).collect()
    }

    fn closed(&self) -> Vec<CloseReason> {
        let reason = |event: &GatewayEvent| match event {
            GatewayEvent::FlowClosed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    fn ended(&self) -> Vec<SessionEnd> {
        let reason = |event: &GatewayEvent| match event {
            GatewayEvent::SessionClosed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }
}

fn udp(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1500];
    let length = reply::udp(from.parse().unwrap(), to.parse().unwrap(), payload, &mut out).unwrap();
    out.truncate(length);
    out
}

/// A bare TCP segment with a right checksum.
fn tcp(from: &str, to: &str, flags: u8, sequence: u32, acknowledgement: u32) -> Vec<u8> {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, TcpPacket};
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let mut bytes = vec![0; 40];
    IpRepr::new(from.ip().into(), to.ip().into(), IpProtocol::Tcp, 20, 64)
        .emit(&mut bytes[..20], &ChecksumCapabilities::default());
    bytes[20..22].copy_from_slice(&from.port().to_be_bytes());
    bytes[22..24].copy_from_slice(&to.port().to_be_bytes());
    bytes[24..28].copy_from_slice(&sequence.to_be_bytes());
    bytes[28..32].copy_from_slice(&acknowledgement.to_be_bytes());
    bytes[32] = 5 << 4;
    bytes[33] = flags;
    TcpPacket::new_unchecked(&mut bytes[20..]).fill_checksum(&IpAddress::from(from.ip()), &to.ip().into());
    bytes
}

/// An echo request of alice's.
fn echo_request(to: &str) -> Vec<u8> {
    let mut request = udp(ALICE, &format!("{to}:1"), b"echo me");
    request[9] = 1;
    request[20..28].copy_from_slice(&[8, 0, 0, 0, 0x12, 0x34, 0, 1]);
    for range in [0..20, 20..request.len()] {
        let at = if range.start == 0 { 10 } else { 22 };
        request[at..at + 2].fill(0);
        let sum = !smoltcp::wire::checksum::data(&request[range]);
        request[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    request
}

const ALICE: &str = "10.99.0.2:5000";
const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// Opens a TCP connection from alice to the server and returns its flow.
fn open_tcp(world: &mut World) -> FlowId {
    world.send(0, &tcp(ALICE, SERVER, SYN, 100, 0));
    let flow = world.egress.0.last().unwrap().0;
    world.answer(flow, &tcp(SERVER, ALICE, SYN | ACK, 500, 101));
    world.send(0, &tcp(ALICE, SERVER, ACK, 101, 501));
    flow
}

#[test]
fn an_allowed_packet_reaches_the_egress_and_its_answer_the_client() {
    let mut world = World::new();
    world.connect(0);
    let request = udp(ALICE, SERVER, b"question");
    world.send(0, &request);
    assert_eq!(world.egress.0.len(), 1);
    assert_eq!(world.egress.0[0].1, request);
    let (flow, answer) = (world.egress.0[0].0, udp(SERVER, ALICE, b"answer"));
    world.answer(flow, &answer);
    assert_eq!(world.received[0], [answer]);
    assert!(matches!(world.events[0], GatewayEvent::SessionOpened { .. }));
    assert!(
        matches!(&world.events[2], GatewayEvent::FlowOpened { flow, .. } if &*flow.allowed.server == "mgmt")
    );
}

#[test]
fn a_refused_tcp_attempt_gets_a_rst_and_a_refused_datagram_an_icmp_error() {
    let mut world = World::new();
    world.connect(0);
    world.send(0, &tcp(ALICE, "192.168.10.10:3389", SYN, 7, 0));
    world.send(0, &udp(ALICE, "192.168.10.10:161", b"x"));
    assert!(world.egress.0.is_empty());
    let answers: Vec<Transport> =
        world.received[0].iter().map(|bytes| Packet::parse(bytes).unwrap().transport).collect();
    assert!(matches!(answers[0], Transport::Tcp { flags, acknowledgement: 8, .. } if flags.rst && flags.ack));
    assert!(matches!(answers[1], Transport::IcmpError { about } if about.destination.port() == 161));
    let denials = world.denials();
    let ports: Vec<u16> = denials.iter().map(|denial| *denial.ports[0].start()).collect();
    assert_eq!(ports, [3389, 161]);
    assert!(denials.iter().all(|denial| denial.reason == DenyReason::NotInRole));
}

#[test]
fn a_forged_inner_source_is_counted_and_goes_nowhere() {
    let mut world = World::new();
    world.connect(0);
    world.connect(1);
    world.send(0, &udp("10.99.0.3:5000", SERVER, b"as bob"));
    world.send(0, &udp("192.168.10.99:5000", SERVER, b"as a server"));
    assert!(world.egress.0.is_empty());
    assert_eq!(world.gateway.counters().dropped(Drop::SpoofedSource), 2);
    world.send(1, &udp("10.99.0.3:5000", SERVER, b"bob himself"));
    assert_eq!(world.egress.0.len(), 1);
}

#[test]
fn clients_do_not_reach_each_other_or_the_gateways_other_ports() {
    let mut world = World::new();
    world.connect(0);
    world.connect(1);
    world.send(0, &tcp(ALICE, "10.99.0.3:80", SYN, 1, 0));
    world.send(0, &tcp(ALICE, "10.99.0.1:22", SYN, 1, 0));
    assert!(world.egress.0.is_empty());
    assert!(world.received[1].is_empty());
    let reasons: Vec<DenyReason> = world.denials().iter().map(|denial| denial.reason).collect();
    assert!(reasons.contains(&DenyReason::ClientToClient) && reasons.contains(&DenyReason::GatewayPort));
}

#[test]
fn a_finished_connection_is_reported_once_with_its_traffic() {
    let mut world = World::new();
    world.connect(0);
    let flow = open_tcp(&mut world);
    world.send(0, &tcp(ALICE, SERVER, FIN | ACK, 101, 501));
    world.answer(flow, &tcp(SERVER, ALICE, FIN | ACK, 501, 102));
    world.send(0, &tcp(ALICE, SERVER, ACK, 102, 502));
    assert_eq!(world.closed(), [CloseReason::Finished]);
    let traffic = world.events.iter().find_map(|event| match event {
        GatewayEvent::FlowClosed { traffic, .. } => Some(*traffic),
        _ => None,
    });
    let traffic = traffic.unwrap();
    assert_eq!((traffic.packets_up, traffic.packets_down, traffic.bytes_up), (4, 2, 160));
}

#[test]
fn a_packet_without_a_flow_gets_a_rst_when_policy_would_allow_its_connection() {
    let mut world = World::new();
    world.connect(0);
    world.send(0, &tcp(ALICE, SERVER, ACK, 101, 501));
    assert!(world.egress.0.is_empty());
    let packet = Packet::parse(&world.received[0][0]).unwrap();
    assert!(matches!(packet.transport, Transport::Tcp { flags, sequence: 501, .. } if flags.rst));
    assert!(world.denials().is_empty());
}

#[test]
fn revocation_cuts_the_client_at_once_and_only_that_client() {
    let mut world = World::new();
    world.connect(0);
    world.connect(1);
    let flow = open_tcp(&mut world);
    world.send(1, &udp("10.99.0.3:5000", SERVER, b"bob"));
    let bobs = world.egress.0.last().unwrap().0;
    let mut revoked = world.configs[0].clone();
    revoked.access = Access::Revoked;
    world.gateway.upsert_client(revoked, world.now, &mut DatagramQueue::default());
    world.drain_events();
    assert_eq!(world.closed(), [CloseReason::ClientBlocked]);
    assert_eq!(world.ended(), [SessionEnd::Revoked]);
    let (sent, received) = (world.egress.0.len(), world.received[0].len());
    world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 101));
    world.send(0, &tcp(ALICE, SERVER, ACK, 101, 501));
    world.connect(0);
    world.send(0, &tcp(ALICE, SERVER, ACK, 101, 501));
    assert_eq!((world.egress.0.len(), world.received[0].len()), (sent, received));
    world.answer(bobs, &udp(SERVER, "10.99.0.3:5000", b"still here"));
    assert_eq!(world.received[1].len(), 1);
}

#[test]
fn a_changed_policy_cuts_what_it_no_longer_allows_with_a_rst() {
    let mut world = World::new();
    world.connect(0);
    open_tcp(&mut world);
    let mut out = DatagramQueue::default();
    world.gateway.set_settings(settings(8443), world.now, &mut out);
    world.carry_down(out);
    world.drain_events();
    assert_eq!(world.closed(), [CloseReason::Policy]);
    let last = world.received[0].last().unwrap();
    let transport = Packet::parse(last).unwrap().transport;
    assert!(matches!(transport, Transport::Tcp { flags, sequence: 501, .. } if flags.rst));
}

#[test]
fn a_client_that_roams_keeps_its_session_and_flows() {
    let mut world = World::new();
    world.connect(0);
    let flow = open_tcp(&mut world);
    let old = std::mem::replace(&mut world.outside[0], "203.0.113.9:999".parse().unwrap());
    world.send(0, &tcp(ALICE, SERVER, ACK, 101, 501));
    assert!(world.events.iter().any(|event| matches!(
        event,
        GatewayEvent::SessionRoamed { from, session, .. }
            if *from == old && session.endpoint == world.outside[0]
    )));
    world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 101));
    assert_eq!(world.received[0].len(), 2);
    assert!(world.closed().is_empty() && world.ended().is_empty());
}

#[test]
fn a_silent_client_without_flows_expires_and_one_with_an_open_connection_does_not() {
    let mut world = World::new();
    world.connect(0);
    world.connect(1);
    world.pass_time(Duration::from_secs(1));
    world.send(0, &tcp(ALICE, SERVER, SYN, 100, 0));
    let flow = world.egress.0.last().unwrap().0;
    world.answer(flow, &tcp(SERVER, ALICE, SYN | ACK, 500, 101));
    world.send(0, &tcp(ALICE, SERVER, ACK, 101, 501));
    for _ in 0..200 {
        world.pass_time(Duration::from_secs(1));
    }
    assert_eq!(world.ended(), [SessionEnd::Expired]);
    assert_eq!(world.gateway.sessions().count(), 1);
}

#[test]
fn a_client_whose_validity_ends_is_cut_within_a_second() {
    let mut world = World::new();
    let mut config = world.configs[0].clone();
    config.access = Access::Active { until: Some(1_700_000_000_000 + 5_000) };
    world.gateway.upsert_client(config, world.now, &mut DatagramQueue::default());
    world.connect(0);
    open_tcp(&mut world);
    world.pass_time(Duration::from_secs(4));
    assert!(world.ended().is_empty());
    world.pass_time(Duration::from_secs(2));
    assert_eq!(world.ended(), [SessionEnd::ValidityEnded]);
}

#[test]
fn a_handshake_from_before_the_end_of_validity_opens_no_session_after_it() {
    let mut world = World::new();
    let mut config = world.configs[0].clone();
    config.access = Access::Active { until: Some(1_700_000_000_000 + 5_000) };
    world.gateway.upsert_client(config, world.now, &mut DatagramQueue::default());
    let mut initiation = DatagramQueue::default();
    world.clients[0].connect(world.now, &mut initiation);
    let mut response = DatagramQueue::default();
    let World { gateway, outside, room, now, egress, .. } = &mut world;
    gateway.handle_datagram(outside[0], &initiation.datagrams[0].1, room, *now, &mut response, egress);
    assert_eq!(response.datagrams.len(), 1, "the handshake was in time");
    world.pass_time(Duration::from_secs(6));
    world.carry_down(response);
    world.send(0, &tcp(ALICE, SERVER, SYN, 100, 0));
    assert_eq!(world.gateway.counters().dropped(Drop::NoSession), 1);
    assert_eq!(world.gateway.sessions().count(), 0);
    assert!(world.egress.0.is_empty() && world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn a_new_preshared_key_leaves_the_live_session_alone() {
    let mut world = World::new();
    world.connect(0);
    let mut config = world.configs[0].clone();
    config.keys[0].preshared = Some([4; 32].into());
    world.gateway.upsert_client(config, world.now, &mut DatagramQueue::default());
    world.send(0, &udp(ALICE, SERVER, b"with the old session"));
    assert_eq!(world.egress.0.len(), 1);
    assert!(world.ended().is_empty());
}

#[test]
fn new_flows_are_refused_while_the_audit_log_fails_and_live_ones_go_on() {
    let mut world = World::new();
    world.connect(0);
    let flow = open_tcp(&mut world);
    let before = world.egress.0.len();
    world.gateway.set_accepting(false);
    world.send(0, &udp(ALICE, SERVER, b"new"));
    assert_eq!(world.egress.0.len(), before);
    world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 101));
    world.send(0, &tcp(ALICE, SERVER, ACK, 101, 501));
    assert_eq!(world.egress.0.len(), before + 1);
    assert_eq!(world.denials()[0].reason, DenyReason::AuditUnavailable);
}

#[test]
fn strangers_and_garbage_get_no_answer() {
    let mut world = World::new();
    let mut rng = fastrand::Rng::with_seed(0x5eed);
    let mut out = DatagramQueue::default();
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..[148, 92, 64, 32, 200][rng.usize(0..5)]).map(|_| rng.u8(..)).collect();
        bytes[..4].copy_from_slice(&[rng.u8(0..6), 0, 0, 0]);
        let from = SocketAddr::from((rng.u32(..).to_be_bytes(), 1));
        let World { gateway, room, now, egress, .. } = &mut world;
        assert_eq!(gateway.handle_datagram(from, &bytes, room, *now, &mut out, egress), None);
    }
    assert!(out.datagrams.is_empty() && world.egress.0.is_empty());
    world.drain_events();
    assert!(world.events.is_empty());
}

#[test]
fn a_handshake_with_an_unknown_key_gets_no_answer_and_is_reported() {
    let mut world = World::new();
    let gateway = world.gateway.identities[0].public();
    let settings = ClientSettings {
        keys: ClientKeys {
            secret: StaticSecret::random_from_rng(rand_core::OsRng),
            gateway,
            preshared: None,
            agreed: None,
        },
        addresses: vec![],
        persistent_keepalive: None,
    };
    let mut stranger = ClientState::new(settings, GATEWAY.parse().unwrap(), world.now, 1);
    let (mut up, mut down) = (DatagramQueue::default(), DatagramQueue::default());
    stranger.connect(world.now, &mut up);
    let from = "198.51.100.77:7".parse().unwrap();
    let World { gateway, room, now, egress, .. } = &mut world;
    assert_eq!(gateway.handle_datagram(from, &up.datagrams[0].1, room, *now, &mut down, egress), None);
    assert!(down.datagrams.is_empty());
    world.pass_time(Duration::from_secs(11));
    assert!(matches!(&world.events[0], GatewayEvent::HandshakeRejected(rejected)
        if rejected.source == from && rejected.reason.as_str() == "unknown-key"));
}

#[test]
fn a_restarted_gateway_calls_a_client_that_it_knows_from_before() {
    let mut world = World::new();
    let mut out = DatagramQueue::default();
    world.gateway.reconnect(world.interrupted(u64::MAX), world.now, &mut out);
    let answers = world.carry_down(out);
    let mut queue = DatagramQueue::default();
    queue.datagrams.extend(answers.into_iter().map(|bytes| (GATEWAY.parse().unwrap(), bytes)));
    world.carry_up(0, queue);
    assert!(
        matches!(&world.events[0], GatewayEvent::SessionOpened { session, .. } if &*session.client.name == "alice")
    );
    assert_eq!(world.continued(), [Some(BEFORE)]);
    world.send(0, &udp(ALICE, SERVER, b"no handshake of my own"));
    assert_eq!(world.egress.0.len(), 1);
}

#[test]
fn a_session_takes_up_the_interrupted_one_once_and_only_for_a_while() {
    let mut world = World::new();
    let until = world.gateway.unix(world.now) + 180_000;
    world.gateway.reconnect(world.interrupted(until), world.now, &mut DatagramQueue::default());
    // It comes by itself: the call was lost.
    world.connect(0);
    assert_eq!(world.continued(), [Some(BEFORE)]);
    world.pass_time(Duration::from_secs(600));
    world.connect(0);
    assert_eq!(world.continued(), [Some(BEFORE), None], "the next one begins anew");

    let mut world = World::new();
    world.gateway.reconnect(world.interrupted(until), world.now, &mut DatagramQueue::default());
    world.pass_time(Duration::from_secs(181));
    world.connect(0);
    assert_eq!(world.continued(), [None]);
}

#[test]
fn echo_to_the_gateway_is_answered_by_the_gateway() {
    let mut world = World::new();
    world.connect(0);
    world.send(0, &echo_request("10.99.0.1"));
    let packet = Packet::parse(&world.received[0][0]).unwrap();
    assert!(matches!(packet.transport, Transport::EchoReply { identifier: 0x1234 }));
    assert_eq!(packet.payload(), b"echo me");
}

#[test]
fn session_ids_sort_by_time_and_events_name_their_client() {
    let mut world = World::new();
    world.connect(0);
    world.pass_time(Duration::from_millis(1500));
    world.connect(1);
    let ids: Vec<(Uuid, Arc<str>)> = world
        .events
        .iter()
        .filter_map(|event| match event {
            GatewayEvent::SessionOpened { session, .. } => Some((session.id, session.client.name.clone())),
            _ => None,
        })
        .collect();
    assert!(ids[0].0 < ids[1].0);
    assert_eq!((&*ids[0].1, &*ids[1].1), ("alice", "bob"));
}
