//! Everything there is in one run, and the time that passes for it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use fastrand::Rng;
use uuid::Uuid;
use vmsgate_tunnel::bandwidth::Bandwidths;
use vmsgate_tunnel::client::{ClientKeys, ClientSettings, ClientState};
use vmsgate_tunnel::counters::Drop as Dropped;
use vmsgate_tunnel::event::{ClientInfo, Interrupted};
use vmsgate_tunnel::flow::{FlowId, FlowLimits};
use vmsgate_tunnel::gateway::shard::Shard;
use vmsgate_tunnel::gateway::{GatewayState, LastNotices, Settings};
use vmsgate_tunnel::guard::HandshakeLimits;
use vmsgate_tunnel::noise::Identity;
use vmsgate_tunnel::packet::FiveTuple;
use vmsgate_tunnel::peer::{Access, ClientConfig, ClientKey, ClientKind, SessionStatus};
use vmsgate_tunnel::sink::DatagramQueue;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::model::{self, Person, ROLES};
use crate::network::{Datagram, Network};
use crate::store::Store;

pub(crate) const PER_CLIENT: usize = 8;
pub(crate) const TOTAL: usize = 16;
pub(crate) const IDLE: Duration = Duration::from_secs(30);
const UNIX: u64 = 1_700_000_000_000;

/// A client's program, computer and NAT.
pub(crate) struct Shim {
    pub(crate) state: ClientState,
    pub(crate) secret: StaticSecret,
    /// As the internet sees it now.
    pub(crate) outside: SocketAddr,
    pub(crate) connections: Vec<Connection>,
    pub(crate) next_port: u16,
    /// What it has received from servers.
    pub(crate) answers: u64,
}

pub(crate) struct Connection {
    pub(crate) own: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) sequence: u32,
    pub(crate) expected: u32,
}

pub(crate) struct LiveFlow {
    pub(crate) person: usize,
    pub(crate) tuple: FiveTuple,
    pub(crate) last: Instant,
}

/// What the action of the moment may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    None,
    Person(usize),
    Cut,
    Shutdown,
}

pub(crate) struct World {
    pub(crate) random: Rng,
    pub(crate) gateway: GatewayState,
    pub(crate) at: SocketAddr,
    pub(crate) people: Vec<Person>,
    pub(crate) shims: Vec<Shim>,
    pub(crate) network: Network,
    pub(crate) store: Store,
    /// The configuration in force.
    pub(crate) configuration: usize,
    /// What the model takes for it.
    pub(crate) believed: usize,
    /// The kernel routes, or the gateway's own connections go on.
    pub(crate) routed: bool,
    pub(crate) now: Instant,
    pub(crate) begin: Instant,
    pub(crate) cause: Cause,
    pub(crate) sessions: BTreeMap<Uuid, Uuid>,
    pub(crate) flows: BTreeMap<FlowId, LiveFlow>,
    /// Packets of flows whose record is not on disk.
    pub(crate) waiting: BTreeMap<FlowId, Vec<(usize, Vec<u8>)>>,
    /// How often each packet was sent and has not come out yet, by its client; up and down.
    pub(crate) up: HashMap<(usize, Vec<u8>), i64>,
    pub(crate) down: HashMap<(usize, Vec<u8>), i64>,
    /// Answers that the servers are slow with.
    pub(crate) slow: Vec<(FlowId, usize, Vec<u8>)>,
    /// Of gateways before a restart.
    pub(crate) denied: u64,
    pub(crate) number: u32,
    /// The last handshake that the gateway refused, for whoever looks for a mistake.
    pub(crate) refused: String,
    identity: StaticSecret,
}

impl World {
    pub(crate) fn new(seed: u64, model_is_wrong: bool) -> World {
        let mut random = Rng::with_seed(seed);
        let now = Instant::now();
        let identity = secret(&mut random);
        let network = Network::new(&mut random);
        let mut world = World {
            gateway: gateway(&identity, 0, now, UNIX, random.u64(..)),
            at: "192.0.2.1:51820".parse().unwrap(),
            people: Vec::new(),
            shims: Vec::new(),
            network,
            store: Store::new(),
            configuration: 0,
            believed: usize::from(model_is_wrong),
            routed: random.bool(),
            now,
            begin: now,
            cause: Cause::None,
            sessions: BTreeMap::new(),
            flows: BTreeMap::new(),
            waiting: BTreeMap::new(),
            up: HashMap::new(),
            down: HashMap::new(),
            slow: Vec::new(),
            denied: 0,
            number: 0,
            refused: String::new(),
            identity,
            random,
        };
        for host in 2..=world.random.u8(3..6) {
            world.add(host);
        }
        world
    }

    fn add(&mut self, host: u8) {
        let at = self.people.len();
        self.people.push(Person {
            id: Uuid::from_u128(host.into()),
            address: IpAddr::from([10, 99, 0, host]),
            role: self.random.usize(..2),
            access: Access::Active { until: None },
            exists: true,
            passed: None,
        });
        let secret = secret(&mut self.random);
        let outside = SocketAddr::from(([198, 51, 100, host], 4000));
        let state = self.client_state(at, &secret);
        let (connections, next_port) = (Vec::new(), 0);
        self.shims.push(Shim { state, secret, outside, connections, next_port, answers: 0 });
        self.register(at);
    }

    pub(crate) fn client_state(&mut self, at: usize, secret: &StaticSecret) -> ClientState {
        let keys = ClientKeys {
            secret: secret.clone(),
            gateway: PublicKey::from(&self.identity),
            preshared: Some([3; 32].into()),
            agreed: None,
        };
        let addresses = vec![self.people[at].address];
        let settings = ClientSettings { keys, addresses, persistent_keepalive: None };
        ClientState::new(settings, self.at, self.now, self.random.u64(..))
    }

    /// Tells the gateway what the registry says of somebody.
    pub(crate) fn register(&mut self, at: usize) {
        let mut out = DatagramQueue::default();
        let person = &self.people[at];
        if person.exists {
            let config = self.registered(at);
            self.gateway.upsert_client(config, self.now, &mut out);
        } else {
            self.gateway.remove_client(person.id, self.now, &mut out);
        }
        self.cause = Cause::Person(at);
        self.settle(Vec::new(), out);
        self.cause = Cause::None;
    }

    fn registered(&self, at: usize) -> ClientConfig {
        let Person { id, address, role, access, .. } = self.people[at];
        ClientConfig {
            info: ClientInfo {
                id,
                name: format!("client-{at}").into(),
                operator: format!("Person {at}").into(),
                role: ROLES[role].into(),
                addresses: vec![address],
            },
            keys: vec![ClientKey {
                public: PublicKey::from(&self.shims[at].secret),
                preshared: Some([3; 32].into()),
                until: None,
            }],
            access,
            kind: ClientKind::Device,
        }
    }

    /// Everything in its order, until a moment.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.shims.iter().map(|shim| shim.state.poll_timeout());
            let due = timers.chain([self.gateway.poll_timeout()]).chain(self.network.next()).min().unwrap();
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            self.arrivals();
            let mut out = DatagramQueue::default();
            self.gateway.handle_timeout(self.now, &mut out);
            self.settle(Vec::new(), out);
            for at in 0..self.shims.len() {
                if self.shims[at].state.poll_timeout() <= self.now {
                    let mut out = DatagramQueue::default();
                    self.shims[at].state.handle_timeout(self.now, &mut out);
                    self.sends(at, out);
                }
            }
        }
        self.now = end;
    }

    fn arrivals(&mut self) {
        while let Some(datagram) = self.network.arrival(self.now) {
            if datagram.to == self.at {
                self.at_gateway(datagram.from, &datagram.bytes);
            } else if let Some(at) = self.shims.iter().position(|shim| shim.outside == datagram.to) {
                self.at_client(at, datagram.from, &datagram.bytes);
            }
        }
    }

    /// What a client's program gives to the network.
    pub(crate) fn sends(&mut self, at: usize, queue: DatagramQueue) {
        let from = self.shims[at].outside;
        for (to, bytes) in queue.datagrams {
            self.network.send(Datagram { from, to, bytes }, self.now, &mut self.random);
        }
    }

    pub(crate) fn unix(&self) -> u64 {
        UNIX + self.now.duration_since(self.begin).as_millis() as u64
    }

    /// The same registry, sessions called back, nothing else left.
    pub(crate) fn restart(&mut self) {
        let until = self.unix() + 60_000;
        let interrupted = |session: SessionStatus| Interrupted {
            client: session.info.client.id,
            session: session.info.id,
            endpoint: session.info.endpoint,
            until,
        };
        let present: Vec<Interrupted> = self.gateway.sessions().map(interrupted).collect();
        self.shut_down();
        self.denied += self.gateway.counters().dropped(Dropped::Denied);
        let (unix, seed) = (self.unix(), self.random.u64(..));
        self.gateway = gateway(&self.identity, self.configuration, self.now, unix, seed);
        self.gateway.set_accepting(!self.store.failing);
        self.store.durable.clear();
        self.slow.clear();
        for at in 0..self.people.len() {
            if self.people[at].exists {
                self.register(at);
            }
        }
        for before in present {
            let mut out = DatagramQueue::default();
            self.gateway.reconnect(before, self.now, &mut out);
            self.settle(Vec::new(), out);
        }
    }

    pub(crate) fn shut_down(&mut self) {
        let mut out = DatagramQueue::default();
        self.cause = Cause::Shutdown;
        self.gateway.shut_down(self.now, &mut out);
        self.settle(Vec::new(), out);
        self.cause = Cause::None;
        assert_eq!(self.gateway.sessions().count(), 0);
        assert!(self.gateway.flows().is_empty());
    }
}

fn secret(random: &mut Rng) -> StaticSecret {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    StaticSecret::from(bytes)
}

fn gateway(
    identity: &StaticSecret,
    configuration: usize,
    now: Instant,
    unix: u64,
    seed: u64,
) -> GatewayState {
    let mut gateway = GatewayState::new(settings(configuration), Shard::whole(), now, unix, seed);
    gateway.set_identities(vec![Identity::new(identity.clone())], now, &mut DatagramQueue::default());
    gateway
}

pub(crate) fn settings(configuration: usize) -> Settings {
    Settings {
        policy: model::policy(configuration).into(),
        flows: FlowLimits {
            tcp_established: 10 * IDLE,
            tcp_transitory: IDLE,
            udp: IDLE,
            icmp: IDLE,
            per_client: PER_CLIENT,
            total: TOTAL,
            new_per_second: 5,
        },
        handshakes: HandshakeLimits { per_source: 10, total: 1000 },
        bandwidths: Bandwidths::default(),
        answer_refused: true,
        last_notices: LastNotices::default(),
        mtu: 1420,
    }
}
