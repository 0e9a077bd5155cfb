//! A client changes its keys while packets are in flight both ways.

use super::*;
use crate::client::ClientEvent;

const CHANGES: [fn(&mut World) -> ClientKeys; 3] =
    [World::offer_key, |world| world.agree(8), World::offer_identity];
/// Datagrams under way each way at any time.
const IN_FLIGHT: usize = 8;

impl World {
    pub(super) fn move_to(&mut self, keys: ClientKeys) {
        let mut out = DatagramQueue::default();
        self.clients[0].move_to(keys, self.now, &mut out);
        self.carry_up(0, out);
    }

    pub(super) fn client_events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.clients[0].poll_event()).collect()
    }

    /// Agrees a pre-shared key for alice's client key, as both ends do through the tunnel.
    pub(super) fn agree(&mut self, preshared: u8) -> ClientKeys {
        let (id, key) = (self.configs[0].info.id, PublicKey::from(&self.keys[0].secret));
        assert!(self.gateway.agree(id, key, [preshared; 32].into()));
        self.keys[0].agreed = Some([preshared; 32].into());
        self.keys[0].clone()
    }

    /// Registers another client key for alice.
    pub(super) fn offer_key(&mut self) -> ClientKeys {
        let secret = StaticSecret::random_from_rng(rand_core::OsRng);
        let preshared = Some([5; 32].into());
        let key = ClientKey { public: PublicKey::from(&secret), preshared: preshared.clone(), until: None };
        self.configs[0].keys.push(key);
        self.change(self.configs[0].clone());
        self.keys[0] = ClientKeys { secret, preshared, agreed: None, ..self.keys[0].clone() };
        self.keys[0].clone()
    }

    /// Adds an identity to the gateway's.
    pub(super) fn offer_identity(&mut self) -> ClientKeys {
        let secret = StaticSecret::random_from_rng(rand_core::OsRng);
        let both = [secret.clone(), self.identity.clone()].map(Identity::new).into();
        self.gateway.set_identities(both, self.now, &mut DatagramQueue::default());
        self.keys[0].gateway = PublicKey::from(&secret);
        self.other_identity = Some(secret);
        self.keys[0].clone()
    }

    pub(super) fn status(&self) -> crate::client::ClientStatus {
        self.clients[0].status(self.now)
    }
}

/// Numbered packets both ways at one rate, a round trip behind each other.
struct Stream {
    world: World,
    flow: FlowId,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
    sent: u32,
}

impl Stream {
    fn new() -> Stream {
        let mut world = World::new();
        world.connect(0);
        world.send(0, &udp(ALICE, SERVER, &0u32.to_be_bytes()));
        let flow = world.egress.0[0].0;
        world.answer(flow, &udp(SERVER, ALICE, &0u32.to_be_bytes()));
        Stream { world, flow, up: VecDeque::new(), down: VecDeque::new(), sent: 1 }
    }

    /// A packet each way is sent, and the oldest ones under way arrive.
    fn step(&mut self) {
        let (mut up, mut down) = (DatagramQueue::default(), DatagramQueue::default());
        let number = self.sent.to_be_bytes();
        let (mut request, mut answer) = (udp(ALICE, SERVER, &number), udp(SERVER, ALICE, &number));
        let (len, world) = (request.len(), &mut self.world);
        request.extend([0; 15]);
        answer.extend([0; 15]);
        world.now += Duration::from_millis(20);
        world.clients[0].send(&mut request, len, world.now, &mut up);
        world.gateway.handle_egress(self.flow, &mut answer, len, world.now, &mut down);
        self.sent += 1;
        self.depart(up, down);
        while self.up.len() > IN_FLIGHT {
            self.arrive_at_gateway();
        }
        while self.down.len() > IN_FLIGHT {
            self.arrive_at_client();
        }
    }

    fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    fn depart(&mut self, up: DatagramQueue, down: DatagramQueue) {
        self.up.extend(up.datagrams.into_iter().map(|(_, bytes)| bytes));
        self.down.extend(down.datagrams.into_iter().map(|(_, bytes)| bytes));
    }

    fn arrive_at_gateway(&mut self) {
        let Some(datagram) = self.up.pop_front() else { return };
        let mut down = DatagramQueue::default();
        let World { gateway, room, now, egress, outside, .. } = &mut self.world;
        assert_eq!(gateway.handle_datagram(outside[0], &datagram, room, *now, &mut down, egress), None);
        self.depart(DatagramQueue::default(), down);
    }

    fn arrive_at_client(&mut self) {
        let Some(datagram) = self.down.pop_front() else { return };
        let (mut up, world) = (DatagramQueue::default(), &mut self.world);
        let received = &mut world.received[0];
        let mut inner = |packet: &Packet<'_>| received.push(packet.bytes().to_vec());
        let gateway = GATEWAY.parse().unwrap();
        world.clients[0].handle_datagram(gateway, &datagram, world.now, &mut up, &mut inner);
        self.depart(up, DatagramQueue::default());
    }

    fn begin_move(&mut self, keys: ClientKeys) {
        let mut up = DatagramQueue::default();
        self.world.clients[0].move_to(keys, self.world.now, &mut up);
        self.depart(up, DatagramQueue::default());
    }

    /// Time passes for the client's timers.
    fn pass(&mut self, duration: Duration) {
        let mut up = DatagramQueue::default();
        self.world.now += duration;
        self.world.clients[0].handle_timeout(self.world.now, &mut up);
        self.depart(up, DatagramQueue::default());
    }

    /// Everything under way arrives; then both ends have each packet once and in order.
    fn is_complete(&mut self) {
        while !self.up.is_empty() || !self.down.is_empty() {
            self.arrive_at_gateway();
            self.arrive_at_client();
        }
        self.world.drain_events();
        let number = |bytes: &[u8]| {
            let packet = Packet::parse(bytes).unwrap();
            u32::from_be_bytes(packet.payload().try_into().unwrap())
        };
        let all: Vec<u32> = (0..self.sent).collect();
        let up = self.world.egress.0.iter().map(|(_, bytes)| number(bytes));
        assert_eq!(up.collect::<Vec<_>>(), all, "to the server");
        let down = self.world.received[0].iter().map(|bytes| number(bytes));
        assert_eq!(down.collect::<Vec<_>>(), all, "to the client");
        assert!(self.world.ended().is_empty() && self.world.closed().is_empty());
    }
}

#[test]
fn a_stream_passes_whole_while_client_key_preshared_key_and_identity_change_one_after_the_other() {
    let mut stream = Stream::new();
    for change in CHANGES {
        stream.steps(20);
        let keys = change(&mut stream.world);
        stream.begin_move(keys.clone());
        assert!(stream.world.clients[0].is_moving());
        stream.steps(60);
        assert_eq!(stream.world.client_events(), [ClientEvent::Moved]);
        assert!(!stream.world.clients[0].is_moving());
        let session = stream.world.gateway.sessions().next().unwrap().info;
        assert_eq!((session.key, session.identity), (PublicKey::from(&keys.secret), keys.gateway));
        assert_eq!(session.post_quantum, keys.agreed.is_some());
        let status = stream.world.status();
        assert_eq!((status.key, status.gateway), (session.key, session.identity));
        assert_eq!(status.post_quantum, session.post_quantum);
    }
    stream.is_complete();
    let confirmed = stream.world.events.iter().filter_map(|event| match event {
        GatewayEvent::KeyConfirmed { client, key, identity, post_quantum, .. } => {
            Some((*client, *key, *identity, *post_quantum))
        }
        _ => None,
    });
    let (id, world) = (stream.world.configs[0].info.id, &stream.world);
    let [old, new] = [0, 1].map(|at| world.configs[0].keys[at].public);
    let identity = PublicKey::from(&world.identity);
    let wanted = [
        (id, old, identity, false),
        (id, new, identity, false),
        (id, new, identity, true),
        (id, new, world.keys[0].gateway, true),
    ];
    assert_eq!(confirmed.collect::<Vec<_>>(), wanted);
}

#[test]
fn a_lost_answer_costs_nothing_but_another_handshake() {
    for change in CHANGES {
        let mut stream = Stream::new();
        stream.steps(20);
        let keys = change(&mut stream.world);
        stream.begin_move(keys);
        while !stream.down.iter().any(|bytes| bytes[0] == 2) {
            stream.step();
        }
        stream.down.retain(|bytes| bytes[0] != 2);
        stream.steps(40);
        assert!(stream.world.client_events().is_empty());
        let mut up = DatagramQueue::default();
        stream.world.clients[0].connect(stream.world.now, &mut up);
        stream.depart(up, DatagramQueue::default());
        stream.steps(60);
        assert_eq!(stream.world.client_events(), [ClientEvent::Moved]);
        stream.is_complete();
    }
}

#[test]
fn a_lost_confirmation_leaves_the_gateway_on_the_tunnel_before_until_the_next_packet() {
    let mut stream = Stream::new();
    stream.steps(20);
    let keys = stream.world.offer_key();
    stream.begin_move(keys);
    while stream.world.client_events().is_empty() {
        stream.step();
    }
    // The client's keepalive under the new key, which is the last one that it sent.
    stream.up.pop_back();
    stream.steps(60);
    stream.is_complete();
}

#[test]
fn a_move_that_nothing_authentic_answers_is_given_up_and_the_stream_goes_on() {
    let mut stream = Stream::new();
    stream.steps(20);
    let secret = StaticSecret::random_from_rng(rand_core::OsRng);
    let keys = ClientKeys { secret, ..stream.world.keys[0].clone() };
    stream.begin_move(keys.clone());
    stream.steps(40);
    stream.pass(Duration::from_secs(18));
    assert!(stream.world.client_events().is_empty() && stream.world.clients[0].is_moving());
    stream.pass(Duration::from_secs(2));
    assert_eq!(stream.world.client_events(), [ClientEvent::MoveFailed]);
    assert!(!stream.world.clients[0].is_moving());
    assert_ne!(stream.world.status().key, PublicKey::from(&keys.secret));
    stream.steps(40);
    stream.is_complete();
}

#[test]
fn a_second_move_takes_the_place_of_the_first() {
    let mut stream = Stream::new();
    let secret = StaticSecret::random_from_rng(rand_core::OsRng);
    stream.begin_move(ClientKeys { secret, ..stream.world.keys[0].clone() });
    let keys = stream.world.offer_key();
    stream.begin_move(keys);
    stream.steps(60);
    assert_eq!(stream.world.client_events(), [ClientEvent::Moved]);
    stream.is_complete();
}

#[test]
fn what_waits_for_a_dead_tunnel_goes_out_through_the_one_that_works_once_and_in_order() {
    let mut world = World::new();
    let mut lost = DatagramQueue::default();
    for number in 0..5u8 {
        let (mut packet, len) = padded(&udp(ALICE, SERVER, &[number]));
        world.clients[0].send(&mut packet, len, world.now, &mut lost);
    }
    let keys = world.offer_key();
    world.move_to(keys);
    assert_eq!(world.client_events(), [ClientEvent::Moved]);
    world.connect(0);
    let payloads = world.egress.0.iter().map(|(_, bytes)| Packet::parse(bytes).unwrap().payload()[0]);
    assert_eq!(payloads.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_tunnel_from_before_a_move_receives_as_long_as_keys_live_and_never_shakes_hands() {
    let mut world = World::new();
    world.connect(0);
    world.send(0, &udp(ALICE, SERVER, b"question"));
    let flow = world.egress.0[0].0;
    let mut late = DatagramQueue::default();
    for number in 0..2u8 {
        let (mut packet, len) = padded(&udp(SERVER, ALICE, &[number]));
        world.gateway.handle_egress(flow, &mut packet, len, world.now, &mut late);
    }
    let slot = world.gateway.peers[0].active.unwrap();
    let keys = world.offer_key();
    world.move_to(keys);

    // The gateway's call to the tunnel before gets no answer.
    let mut call = DatagramQueue::default();
    let mut message = [0; 2048];
    let GatewayState { tunnels, rng, .. } = &mut world.gateway;
    let call_message = tunnels[slot as usize].tunnel.initiate(&mut message, true, world.now, rng).unwrap();
    call.reserve(world.outside[0], 148).copy_from_slice(call_message);
    call.commit(148);
    assert!(world.carry_down(call).is_empty());

    let second = late.datagrams.split_off(1);
    world.carry_down(late);
    assert_eq!(world.received[0].len(), 1);
    world.now += Duration::from_secs(181);
    world.clients[0].handle_timeout(world.now, &mut DatagramQueue::default());
    let mut late = DatagramQueue::default();
    late.datagrams.extend(second);
    world.carry_down(late);
    assert_eq!(world.received[0].len(), 1);
}

pub(super) fn padded(packet: &[u8]) -> (Vec<u8>, usize) {
    let mut padded = packet.to_vec();
    padded.extend([0; 15]);
    (padded, packet.len())
}
