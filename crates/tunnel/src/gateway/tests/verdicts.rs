//! Every reason there is: each is brought about as a client or a stranger would, and leaves exactly its event. The
//! matches are exhaustive, so a new reason does not compile before it has its case here.

use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest, digest::consts::U16};

use super::tls::data;
use super::*;
use crate::event::{RejectedHandshakes, Rejection};

const REQUIRE_TLS: &str = "service web: require-tls";
const GRE: u8 = 47;
const RST: u8 = 4;

/// Verdicts by the words of their reasons, and all that the state machine reported when each was brought about.
pub type Reported = Vec<(&'static str, Vec<GatewayEvent>)>;

/// Every refusal of a flow.
pub fn denials() -> Reported {
    DENIALS.iter().map(|reason| (reason.as_str(), refused(*reason).events)).collect()
}

/// Every rejection of a handshake.
pub fn rejections() -> Reported {
    REJECTIONS.iter().map(|reason| (reason.as_str(), rejected(*reason).events)).collect()
}

/// Every end of a flow.
pub fn closings() -> Reported {
    CLOSINGS.iter().map(|reason| (reason.as_str(), closed(*reason).events)).collect()
}

/// Every end of a session.
pub fn ends() -> Reported {
    ENDS.iter().map(|reason| (reason.as_str(), ended(*reason).events)).collect()
}

const DENIALS: [DenyReason; 13] = [
    DenyReason::UnknownDestination,
    DenyReason::NotInRole,
    DenyReason::NeverExposed,
    DenyReason::ClientToClient,
    DenyReason::GatewayPort,
    DenyReason::UnknownRole,
    DenyReason::AuditUnavailable,
    DenyReason::FlowLimit,
    DenyReason::NewFlowLimit,
    DenyReason::Protocol,
    DenyReason::TlsRequired,
    DenyReason::PostQuantumRequired,
    DenyReason::Invitation,
];

const REJECTIONS: [Rejection; 7] = [
    Rejection::UnknownKey,
    Rejection::Suspended,
    Rejection::Revoked,
    Rejection::ValidityEnded,
    Rejection::Forged,
    Rejection::Replayed,
    Rejection::RateLimited,
];

const CLOSINGS: [CloseReason; 12] = [
    CloseReason::Finished,
    CloseReason::Reset,
    CloseReason::ServerRefused,
    CloseReason::ServerUnreachable,
    CloseReason::ClientUnreachable,
    CloseReason::Idle,
    CloseReason::Evicted,
    CloseReason::Policy,
    CloseReason::TlsRequired,
    CloseReason::ClientBlocked,
    CloseReason::AuditUnavailable,
    CloseReason::Shutdown,
];

const ENDS: [SessionEnd; 6] = [
    SessionEnd::Expired,
    SessionEnd::Revoked,
    SessionEnd::Suspended,
    SessionEnd::ValidityEnded,
    SessionEnd::Removed,
    SessionEnd::Shutdown,
];

#[test]
fn every_reason_to_refuse_a_flow_leaves_a_denial_with_the_rule_that_decided_and_the_nearest_one() {
    for reason in DENIALS {
        let mut world = refused(reason);
        let denials = world.denials();
        let [denial] = &denials[..] else { panic!("{reason}: {denials:?}") };
        assert_eq!((denial.reason, &*denial.session.client.name, denial.count), (reason, "alice", 1));
        let (rule, nearest) = named(reason);
        assert!(denial.rule.contains(rule), "{reason}: {}", denial.rule);
        assert_eq!(denial.nearest.as_deref(), nearest, "{reason}");
    }
}

#[test]
fn every_reason_to_reject_a_handshake_leaves_its_event_and_names_a_known_client() {
    use Rejection::*;
    for reason in REJECTIONS {
        let world = rejected(reason);
        let found = world.rejected();
        let [rejected] = &found[..] else { panic!("{reason:?}: {found:?}") };
        assert_eq!((rejected.reason, rejected.source, rejected.count), (reason, world.outside[0], 1));
        let known = matches!(reason, Suspended | Revoked | ValidityEnded | Replayed);
        let client = rejected.client.as_ref().map(|client| &*client.name);
        assert_eq!(client, known.then_some("alice"), "{reason:?}");
    }
}

#[test]
fn every_reason_to_close_a_flow_leaves_its_event() {
    for reason in CLOSINGS {
        assert_eq!(closed(reason).closed(), [reason]);
    }
}

#[test]
fn every_reason_to_end_a_session_leaves_its_event() {
    for reason in ENDS {
        assert_eq!(ended(reason).ended(), [reason]);
    }
}

fn refused(reason: DenyReason) -> World {
    let mut world = World::new();
    be_refused(&mut world, reason);
    world.report_what_was_folded();
    world
}

fn rejected(reason: Rejection) -> World {
    let mut world = World::new();
    be_rejected(&mut world, reason);
    world.report_what_was_folded();
    world
}

fn closed(reason: CloseReason) -> World {
    let mut world = World::new();
    be_closed(&mut world, reason);
    world.drain_events();
    world
}

fn ended(reason: SessionEnd) -> World {
    let mut world = World::new();
    world.connect(0);
    be_ended(&mut world, reason);
    world.drain_events();
    world
}

/// What the record is to name: a part of the rule that decided, and the nearest rule.
fn named(reason: DenyReason) -> (&'static str, Option<&'static str>) {
    match reason {
        DenyReason::UnknownDestination => ("no server has this address", None),
        DenyReason::NotInRole => {
            ("role smart-client has no rule", Some("role smart-client: mgmt:web (tcp/443)"))
        }
        DenyReason::NeverExposed => ("never-expose: SQL", Some("role smart-client: mgmt:web")),
        DenyReason::ClientToClient => ("clients never reach clients", None),
        DenyReason::GatewayPort => ("the gateway serves", None),
        DenyReason::UnknownRole => ("role is not configured", None),
        DenyReason::AuditUnavailable => ("records cannot be kept", Some("smart-client: mgmt:web")),
        DenyReason::FlowLimit => ("limits: flows-per-client = 1", Some("smart-client: mgmt:web")),
        DenyReason::NewFlowLimit => ("limits: new-flows-per-second = 1", Some("smart-client: mgmt:web")),
        DenyReason::Protocol => ("only TCP, UDP and ICMP echo", None),
        DenyReason::TlsRequired => (REQUIRE_TLS, None),
        DenyReason::PostQuantumRequired => {
            ("role smart-client: require-post-quantum", Some("smart-client: mgmt:web"))
        }
        DenyReason::Invitation => ("an invitation reaches enrolment only", None),
    }
}

/// Alice connects and tries one thing, which is refused.
fn be_refused(world: &mut World, reason: DenyReason) {
    let packet = match reason {
        DenyReason::UnknownDestination => udp(ALICE, "192.168.10.99:443", b"x"),
        DenyReason::NotInRole => tcp(ALICE, "192.168.10.10:3389", SYN, 1, 0),
        DenyReason::NeverExposed => {
            world.configure(never_exposing());
            tcp(ALICE, SERVER, SYN, 1, 0)
        }
        DenyReason::ClientToClient => udp(ALICE, "10.99.0.3:443", b"x"),
        DenyReason::GatewayPort => tcp(ALICE, "10.99.0.1:22", SYN, 1, 0),
        DenyReason::UnknownRole => {
            let mut config = world.configs[0].clone();
            config.info.role = "gone".into();
            world.change(config);
            udp(ALICE, SERVER, b"x")
        }
        DenyReason::AuditUnavailable => {
            world.gateway.set_accepting(false);
            udp(ALICE, SERVER, b"x")
        }
        DenyReason::FlowLimit => {
            world.configure(one_flow());
            world.connect(0);
            world.send(0, &udp(ALICE, SERVER, b"the first"));
            udp("10.99.0.2:5001", SERVER, b"the second")
        }
        DenyReason::NewFlowLimit => {
            world.configure(one_flow_per_second());
            world.connect(0);
            for port in 5001..=5005 {
                world.send(0, &udp(&format!("10.99.0.2:{port}"), SERVER, b"one of a burst"));
            }
            udp("10.99.0.2:5006", SERVER, b"one more")
        }
        DenyReason::Protocol => other_protocol(),
        DenyReason::TlsRequired => {
            world.configure(settings_with(443, Some(REQUIRE_TLS.into())));
            world.connect(0);
            open_tcp(world);
            data(ALICE, SERVER, 101, 501, b"GET / HTTP/1.1\r\n\r\n")
        }
        DenyReason::PostQuantumRequired => {
            world.configure(requiring_post_quantum());
            tcp(ALICE, SERVER, SYN, 1, 0)
        }
        DenyReason::Invitation => {
            world.change(ClientConfig { kind: ClientKind::Invitation, ..world.configs[0].clone() });
            tcp(ALICE, SERVER, SYN, 1, 0)
        }
    };
    if world.gateway.sessions().count() == 0 {
        world.connect(0);
    }
    world.send(0, &packet);
}

/// Somebody at alice's address shakes hands once, in vain.
fn be_rejected(world: &mut World, reason: Rejection) {
    match reason {
        Rejection::UnknownKey => {
            let gateway = world.gateway.identities[0].public();
            let stranger = ClientSettings {
                keys: ClientKeys {
                    secret: StaticSecret::random_from_rng(rand_core::OsRng),
                    gateway,
                    preshared: None,
                    agreed: None,
                },
                addresses: vec![],
                persistent_keepalive: None,
            };
            world.clients[0] = ClientState::new(stranger, GATEWAY.parse().unwrap(), world.now, 1);
            world.connect(0);
        }
        Rejection::Suspended => world.connect_with(Access::Suspended),
        Rejection::Revoked => world.connect_with(Access::Revoked),
        Rejection::ValidityEnded => world.connect_with(Access::Active { until: Some(1) }),
        Rejection::Forged => {
            let mut initiation = world.initiation();
            initiation[50] ^= 1;
            world.sign(&mut initiation);
            world.arrive(&initiation);
        }
        Rejection::Replayed => {
            let initiation = world.initiation();
            world.arrive(&initiation);
            world.arrive(&initiation);
        }
        Rejection::RateLimited => {
            let handshakes = HandshakeLimits { per_source: 0, total: 1000 };
            world.configure(Settings { handshakes, ..settings(443) });
            // The first is answered with a cookie; the second proves with it where it comes from.
            world.connect(0);
            world.connect(0);
        }
    }
}

/// Alice connects and opens one flow, which ends.
fn be_closed(world: &mut World, reason: CloseReason) {
    if reason == CloseReason::Evicted {
        world.configure(one_flow());
    }
    if reason == CloseReason::TlsRequired {
        world.configure(settings_with(443, Some(REQUIRE_TLS.into())));
    }
    world.connect(0);
    let flow = open_tcp(world);
    match reason {
        CloseReason::Finished => {
            world.send(0, &tcp(ALICE, SERVER, FIN | ACK, 101, 501));
            world.answer(flow, &tcp(SERVER, ALICE, FIN | ACK, 501, 102));
            world.send(0, &tcp(ALICE, SERVER, ACK, 102, 502));
        }
        CloseReason::Reset => world.send(0, &tcp(ALICE, SERVER, RST | ACK, 101, 501)),
        CloseReason::ServerRefused => {
            let first = tcp(ALICE, SERVER, SYN, 100, 0);
            let first = Packet::parse(&first).unwrap();
            let mut out = DatagramQueue::default();
            world.gateway.refuse_flow(flow, &first, reason, world.now, &mut out);
        }
        // Nobody but the egress can tell.
        CloseReason::ServerUnreachable | CloseReason::ClientUnreachable => {
            world.gateway.close_flow(flow, reason, world.now);
        }
        CloseReason::Idle => world.pass_time(Duration::from_secs(13 * 3600)),
        CloseReason::Evicted => {
            world.pass_time(Duration::from_secs(31));
            world.send(0, &udp("10.99.0.2:5001", SERVER, b"the second"));
        }
        CloseReason::Policy => world.configure(settings(8443)),
        CloseReason::TlsRequired => world.send(0, &data(ALICE, SERVER, 101, 501, b"GET / HTTP/1.1\r\n\r\n")),
        CloseReason::ClientBlocked => world.block(Access::Revoked),
        CloseReason::AuditUnavailable => {
            world.gateway.cut_unrecorded(world.now, &mut DatagramQueue::default());
        }
        CloseReason::Shutdown => world.gateway.shut_down(world.now, &mut DatagramQueue::default()),
    }
}

fn be_ended(world: &mut World, reason: SessionEnd) {
    match reason {
        SessionEnd::Expired => (0..200).for_each(|_| world.pass_time(Duration::from_secs(1))),
        SessionEnd::Revoked => world.block(Access::Revoked),
        SessionEnd::Suspended => world.block(Access::Suspended),
        SessionEnd::ValidityEnded => {
            world.block(Access::Active { until: Some(1_700_000_000_000 + 1_000) });
            world.pass_time(Duration::from_secs(2));
        }
        SessionEnd::Removed => {
            let id = world.configs[0].info.id;
            world.gateway.remove_client(id, world.now, &mut DatagramQueue::default());
        }
        SessionEnd::Shutdown => world.gateway.shut_down(world.now, &mut DatagramQueue::default()),
    }
}

impl World {
    pub(super) fn configure(&mut self, settings: Settings) {
        self.gateway.set_settings(settings, self.now, &mut DatagramQueue::default());
    }

    pub(super) fn change(&mut self, config: ClientConfig) {
        self.gateway.upsert_client(config, self.now, &mut DatagramQueue::default());
    }

    pub(super) fn block(&mut self, access: Access) {
        let config = ClientConfig { access, ..self.configs[0].clone() };
        self.change(config);
    }

    fn connect_with(&mut self, access: Access) {
        self.block(access);
        self.connect(0);
    }

    /// Alice's first message.
    pub(super) fn initiation(&mut self) -> Vec<u8> {
        let mut up = DatagramQueue::default();
        self.clients[0].connect(self.now, &mut up);
        up.datagrams.remove(0).1
    }

    /// Puts the mac1 right that proves that the sender knows whom it talks to (WireGuard paper, section 5.4.4).
    fn sign(&self, initiation: &mut [u8]) {
        let gateway = self.gateway.identities[0].public();
        let key = Blake2s256::new().chain_update(b"mac1----").chain_update(gateway.as_bytes()).finalize();
        let mac =
            <Blake2sMac<U16> as KeyInit>::new_from_slice(&key).unwrap().chain_update(&initiation[..116]);
        initiation[116..132].copy_from_slice(&mac.finalize().into_bytes());
    }

    pub(super) fn arrive(&mut self, datagram: &[u8]) {
        let (from, mut down) = (self.outside[0], DatagramQueue::default());
        let World { gateway, room, now, egress, .. } = self;
        assert_eq!(gateway.handle_datagram(from, datagram, room, *now, &mut down, egress), None);
    }

    /// Refusals are folded, and reported after a while.
    pub(super) fn report_what_was_folded(&mut self) {
        self.pass_time(Duration::from_secs(11));
    }

    pub(super) fn rejected(&self) -> Vec<RejectedHandshakes> {
        let rejected = |event: &GatewayEvent| match event {
            GatewayEvent::HandshakeRejected(rejected) => Some(rejected.clone()),
            _ => None,
        };
        self.events.iter().filter_map(rejected).collect()
    }
}

/// A policy whose only rule opens a port that no client may reach.
fn never_exposing() -> Settings {
    let gateway = vec!["10.99.0.1".parse().unwrap()];
    let mut builder = PolicyBuilder::new("v2", vec!["10.99.0.0/16".parse().unwrap()], gateway);
    let server = builder.server("mgmt", &[SERVER.parse::<SocketAddr>().unwrap().ip()]);
    let role = builder.role("smart-client", true);
    let (service, rule) = ("web".into(), "mgmt:web".into());
    let grant = Grant { server, service, rule, protocol: Protocol::Tcp, ports: 443..=443, require_tls: None };
    builder.grant(role, grant);
    builder.never_expose(Protocol::Tcp, 443..=443, "SQL");
    Settings { policy: builder.build().into(), ..settings(443) }
}

/// The usual policy, for sessions under an agreed pre-shared key alone.
pub(super) fn requiring_post_quantum() -> Settings {
    let gateway = vec!["10.99.0.1".parse().unwrap()];
    let mut builder = PolicyBuilder::new("v3", vec!["10.99.0.0/16".parse().unwrap()], gateway);
    let server = builder.server("mgmt", &[SERVER.parse::<SocketAddr>().unwrap().ip()]);
    let role = builder.role("smart-client", true);
    builder.require_post_quantum(role);
    let (service, rule) = ("web".into(), "mgmt:web".into());
    let grant = Grant { server, service, rule, protocol: Protocol::Tcp, ports: 443..=443, require_tls: None };
    builder.grant(role, grant);
    Settings { policy: builder.build().into(), ..settings(443) }
}

pub(super) fn one_flow() -> Settings {
    let all = settings(443);
    Settings { flows: crate::flow::FlowLimits { per_client: 1, ..all.flows }, ..all }
}

pub(super) fn one_flow_per_second() -> Settings {
    let all = settings(443);
    Settings { flows: crate::flow::FlowLimits { new_per_second: 1, ..all.flows }, ..all }
}

/// An IPv4 packet of a protocol that is not forwarded.
pub(super) fn other_protocol() -> Vec<u8> {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpProtocol, IpRepr};
    let (from, to): (SocketAddr, SocketAddr) = (ALICE.parse().unwrap(), SERVER.parse().unwrap());
    let mut bytes = vec![0; 24];
    IpRepr::new(from.ip().into(), to.ip().into(), IpProtocol::from(GRE), 4, 64)
        .emit(&mut bytes[..20], &ChecksumCapabilities::default());
    bytes
}
