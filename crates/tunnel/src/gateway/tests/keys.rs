//! Keys that begin and end at the gateway: registered ones, agreed ones, and what a role asks of them.

use super::moves::padded;
use super::verdicts::requiring_post_quantum;
use super::*;
use crate::client::ClientEvent;

const SECOND: Duration = Duration::from_secs(1);

impl World {
    /// A client that was started anew with the registered keys, at this port.
    pub(super) fn restart_client(&mut self, keys: ClientKeys, port: u16) {
        let addresses = self.clients[0].addresses().to_vec();
        let settings = ClientSettings { keys, addresses, persistent_keepalive: None };
        self.clients[0] = ClientState::new(settings, GATEWAY.parse().unwrap(), self.now, 77);
        self.outside[0].set_port(port);
    }

    /// Sends one packet of alice's, and answers whether it reached the egress.
    pub(super) fn passes(&mut self) -> bool {
        let before = self.egress.0.len();
        self.send(0, &udp(ALICE, SERVER, b"?"));
        self.egress.0.len() > before
    }

    fn post_quantum(&self) -> bool {
        self.gateway.sessions().next().unwrap().info.post_quantum
    }

    /// What alice's client would send next, kept back.
    pub(super) fn sealed(&mut self, payload: &[u8]) -> Vec<u8> {
        let (mut packet, len) = padded(&udp(ALICE, SERVER, payload));
        let mut up = DatagramQueue::default();
        self.clients[0].send(&mut packet, len, self.now, &mut up);
        up.datagrams.remove(0).1
    }

    /// How many answers an initiation gets at the gateway.
    pub(super) fn answers_to(&mut self, initiation: &[u8], from: SocketAddr) -> usize {
        let mut down = DatagramQueue::default();
        let World { gateway, room, now, egress, .. } = self;
        assert_eq!(gateway.handle_datagram(from, initiation, room, *now, &mut down, egress), None);
        down.datagrams.len()
    }
}

#[test]
fn a_client_key_ends_by_itself_with_its_session_and_gets_no_answer_any_more() {
    let mut world = World::new();
    world.configs[0].keys[0].until = Some(1_700_000_000_000 + 5_000);
    world.change(world.configs[0].clone());
    world.connect(0);
    open_tcp(&mut world);
    world.pass_time(4 * SECOND);
    assert!(world.ended().is_empty());
    world.pass_time(SECOND);
    assert_eq!(world.ended(), [SessionEnd::Removed]);
    assert_eq!(world.closed(), [CloseReason::ClientBlocked]);
    let initiation = world.initiation();
    assert_eq!(world.answers_to(&initiation, world.outside[0]), 0);
    world.report_what_was_folded();
    let rejected = world.rejected();
    assert_eq!(rejected[0].reason.as_str(), "unknown-key");
}

#[test]
fn a_key_that_ended_is_not_answered_before_it_is_cleared_away() {
    let mut world = World::new();
    world.configs[0].keys[0].until = Some(1_700_000_000_000 + 5_000);
    world.change(world.configs[0].clone());
    world.now += 5 * SECOND;
    let initiation = world.initiation();
    assert_eq!(world.answers_to(&initiation, world.outside[0]), 0);
}

#[test]
fn the_end_of_the_key_before_leaves_the_session_under_the_new_one_alone() {
    let mut world = World::new();
    world.connect(0);
    let flow = open_tcp(&mut world);
    let old = world.keys[0].clone();
    let keys = world.offer_key();
    world.move_to(keys);
    world.configs[0].keys[0].until = Some(1_700_000_000_000 + 1_000);
    world.change(world.configs[0].clone());
    world.pass_time(2 * SECOND);
    assert!(world.ended().is_empty() && world.closed().is_empty());
    world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 101));
    assert_eq!(world.received[0].len(), 2);
    world.restart_client(old, 4001);
    let initiation = world.initiation();
    assert_eq!(world.answers_to(&initiation, world.outside[0]), 0);
}

#[test]
fn removing_the_key_in_use_ends_the_session_when_no_other_tunnel_carried_it() {
    let mut world = World::new();
    world.connect(0);
    open_tcp(&mut world);
    world.offer_key();
    world.configs[0].keys.remove(0);
    world.change(world.configs[0].clone());
    world.drain_events();
    assert_eq!(world.ended(), [SessionEnd::Removed]);
}

#[test]
fn an_agreed_key_needs_a_session_and_a_key_of_the_client() {
    let mut world = World::new();
    let (id, key) = (world.configs[0].info.id, world.configs[0].keys[0].public);
    assert!(!world.gateway.agree(id, key, [8; 32].into()), "no session");
    world.connect(0);
    assert!(!world.gateway.agree(id, world.configs[1].keys[0].public, [8; 32].into()), "another's key");
    assert!(!world.gateway.agree(Uuid::from_u128(99), key, [8; 32].into()), "nobody");
    assert!(world.gateway.agree(id, key, [8; 32].into()));
}

#[test]
fn the_next_agreed_key_ends_the_one_before_whose_tunnel_receives_ten_seconds_more() {
    let mut world = World::new();
    world.connect(0);
    let keys = world.agree(8);
    world.move_to(keys);
    assert!(world.post_quantum());
    let late = [world.sealed(b"late"), world.sealed(b"too late")];
    let keys = world.agree(9);
    world.move_to(keys);
    assert_eq!(world.client_events(), [ClientEvent::Moved; 2]);
    assert!(world.post_quantum());
    let second = world.gateway.peers[0].active;
    world.arrive(&late[0]);
    assert_eq!(world.egress.0.len(), 1);
    assert_eq!(world.gateway.peers[0].active, second, "what comes late is no wish to go back");
    world.pass_time(11 * SECOND);
    world.arrive(&late[1]);
    assert_eq!(world.egress.0.len(), 1);
    assert!(world.passes());
}

#[test]
fn an_offer_that_was_never_used_is_replaced_by_the_next() {
    let mut world = World::new();
    world.connect(0);
    let unused = world.agree(8);
    let keys = world.agree(9);
    world.move_to(unused);
    assert!(world.client_events().is_empty() && !world.post_quantum());
    world.move_to(keys);
    assert_eq!(world.client_events(), [ClientEvent::Moved]);
    assert!(world.post_quantum() && world.passes());
}

#[test]
fn agreed_keys_survive_a_change_of_the_client_and_end_with_the_session() {
    let mut world = World::new();
    world.connect(0);
    let keys = world.agree(8);
    world.change(world.configs[0].clone());
    world.move_to(keys.clone());
    assert!(world.post_quantum());
    world.change(world.configs[0].clone());
    world.connect(0);
    assert!(world.post_quantum() && world.passes());
    world.block(Access::Suspended);
    world.block(Access::Active { until: None });
    world.restart_client(keys, 4001);
    world.connect(0);
    assert_eq!(world.gateway.sessions().count(), 0);
}

#[test]
fn an_initiation_gets_one_answer_when_its_key_is_known_and_one_for_each_otherwise() {
    let mut world = World::new();
    world.connect(0);
    let initiation = world.initiation();
    assert_eq!(world.answers_to(&initiation, world.outside[0]), 1, "nothing is agreed");
    let keys = world.agree(8);
    let initiation = world.initiation();
    assert_eq!(world.answers_to(&initiation, world.outside[0]), 2, "agreed, not used yet");
    world.move_to(keys);
    let initiation = world.initiation();
    assert_eq!(world.answers_to(&initiation, world.outside[0]), 1, "in use");
    let initiation = world.initiation();
    assert_eq!(world.answers_to(&initiation, world.outside[0]), 2, "the last answer was not confirmed");
    world.connect(0);
    let initiation = world.initiation();
    let elsewhere = "203.0.113.9:999".parse().unwrap();
    assert_eq!(world.answers_to(&initiation, elsewhere), 2, "from elsewhere");
}

#[test]
fn replayed_initiations_open_nothing_and_change_nothing() {
    let mut world = World::new();
    let initiation = world.initiation();
    world.block(Access::Suspended);
    world.block(Access::Active { until: None });
    let elsewhere = "203.0.113.9:999".parse().unwrap();
    world.answers_to(&initiation, elsewhere);
    world.drain_events();
    assert_eq!(world.gateway.sessions().count(), 0);
    assert!(world.events.is_empty());

    world.connect(0);
    let keys = world.agree(8);
    let under_registered = world.initiation();
    world.move_to(keys);
    assert!(world.passes());
    let events = world.events.len();
    for old in [&initiation, &under_registered] {
        for from in [elsewhere, world.outside[0]] {
            world.answers_to(old, from);
        }
    }
    world.drain_events();
    assert_eq!(world.events.len(), events);
    assert!(world.post_quantum() && world.passes());
    let flow = world.egress.0[0].0;
    world.answer(flow, &udp(SERVER, ALICE, b"!"));
    assert_eq!(world.received[0].len(), 1);
}

#[test]
fn a_role_that_insists_reaches_servers_only_under_an_agreed_key_and_control_services_always() {
    let mut world = World::new();
    world.configure(requiring_post_quantum());
    world.connect(0);
    world.send(0, &tcp(ALICE, SERVER, SYN, 100, 0));
    world.send(0, &tcp(ALICE, "10.99.0.1:80", SYN, 100, 0));
    let tried: Vec<bool> = world.gateway.flows().iter().map(|flow| flow.allowed.control).collect();
    assert_eq!(tried, [true]);
    let keys = world.agree(8);
    world.move_to(keys);
    open_tcp(&mut world);
    assert_eq!(world.gateway.flows().len(), 2);
    assert_eq!(world.denials()[0].reason, DenyReason::PostQuantumRequired);

    // The shim lost it.
    let registered = ClientKeys { agreed: None, ..world.keys[0].clone() };
    world.restart_client(registered, 4001);
    world.connect(0);
    assert_eq!(world.closed(), [CloseReason::Policy]);
    assert!(world.gateway.flows().iter().all(|flow| flow.allowed.control));
    assert!(!world.post_quantum());
}

/// A session that its role lets reach servers, with a connection.
fn insisting() -> World {
    let mut world = World::new();
    world.configure(requiring_post_quantum());
    world.connect(0);
    let keys = world.agree(8);
    world.move_to(keys);
    open_tcp(&mut world);
    world
}

#[test]
fn a_role_that_insists_lets_a_connection_go_on_when_the_key_is_rotated_in_band() {
    let mut world = insisting();
    let keys = world.offer_key();
    let registered = keys.preshared.clone().unwrap();
    let (id, new) = (world.configs[0].info.id, PublicKey::from(&keys.secret));
    assert!(world.gateway.agree(id, new, registered));
    world.move_to(keys.clone());
    assert!(world.closed().is_empty() && world.post_quantum());
    assert_eq!(world.gateway.sessions().next().unwrap().info.key, new);

    // With the next agreement the registered one is no agreed one any more.
    let fresh = world.agree(9);
    world.move_to(fresh);
    assert!(world.closed().is_empty() && world.post_quantum());
    world.restart_client(ClientKeys { agreed: None, ..keys }, 4001);
    world.connect(0);
    assert_eq!(world.closed(), [CloseReason::Policy]);
    assert!(!world.post_quantum());
}

#[test]
fn a_registered_key_that_nobody_agreed_in_the_session_is_none_for_a_role_that_insists() {
    let mut world = insisting();
    let keys = world.offer_key();
    world.move_to(keys);
    assert_eq!(world.closed(), [CloseReason::Policy]);
    assert!(!world.post_quantum());
}
