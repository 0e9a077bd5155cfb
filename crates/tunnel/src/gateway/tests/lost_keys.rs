//! One end forgets an agreed pre-shared key: it was in memory only.

use super::*;
use crate::client::ClientEvent;

/// Alice's session is under an agreed pre-shared key.
fn agreed() -> World {
    let mut world = World::new();
    world.connect(0);
    let keys = world.agree(8);
    world.move_to(keys);
    assert_eq!(world.client_events(), [ClientEvent::Moved]);
    assert!(world.passes());
    world
}

impl World {
    fn restart_gateway(&mut self) {
        self.gateway = GatewayState::new(settings(443), Shard::whole(), self.now, 1_700_000_000_000, 9);
        let own = vec![Identity::new(self.identity.clone())];
        self.gateway.set_identities(own, self.now, &mut DatagramQueue::default());
        self.change(self.configs[0].clone());
    }

    /// Time passes for alice's timers.
    fn client_waits(&mut self, duration: Duration) {
        self.now += duration;
        let mut up = DatagramQueue::default();
        self.clients[0].handle_timeout(self.now, &mut up);
        self.carry_up(0, up);
    }
}

#[test]
fn a_gateway_that_lost_the_agreed_key_is_found_again_under_the_registered_one() {
    let mut world = agreed();
    world.restart_gateway();
    assert!(!world.passes());
    world.client_waits(Duration::from_millis(4100));
    assert!(world.client_events().is_empty(), "the agreed one has its chance first");
    world.client_waits(Duration::from_secs(1));
    assert_eq!(world.client_events(), [ClientEvent::FellBack]);
    assert!(!world.status().post_quantum);
    assert!(world.passes());
    assert!(world.client_events().is_empty());
}

#[test]
fn a_fallback_that_gets_no_answer_is_tried_again_and_a_move_is_given_up_for_it() {
    let mut world = agreed();
    world.restart_gateway();
    // A move to another agreed key, which the gateway has lost as well.
    let keys = ClientKeys { agreed: Some([9; 32].into()), ..world.keys[0].clone() };
    world.clients[0].move_to(keys, world.now, &mut DatagramQueue::default());
    world.sealed(b"into the void");
    for _ in 0..60 {
        world.now += Duration::from_millis(500);
        world.clients[0].handle_timeout(world.now, &mut DatagramQueue::default());
    }
    assert_eq!(world.client_events(), [ClientEvent::MoveFailed]);
    world.connect(0);
    assert_eq!(world.client_events(), [ClientEvent::FellBack]);
    assert!(world.passes());
}

#[test]
fn an_outage_alone_loses_no_agreed_key() {
    let mut world = agreed();
    world.sealed(b"lost");
    for _ in 0..100 {
        world.now += Duration::from_millis(500);
        world.clients[0].handle_timeout(world.now, &mut DatagramQueue::default());
    }
    world.connect(0);
    assert!(world.client_events().is_empty());
    assert!(world.status().post_quantum && world.passes());
    assert!(world.gateway.sessions().next().unwrap().info.post_quantum);
}

#[test]
fn a_restarted_gateway_that_calls_its_client_is_answered_under_the_registered_key_at_once() {
    let mut world = agreed();
    world.restart_gateway();
    world.offer_key();
    let mut out = DatagramQueue::default();
    world.gateway.reconnect(world.interrupted(u64::MAX), world.now, &mut out);
    assert_eq!(out.datagrams.len(), 2, "under either client key");
    let answers = world.carry_down(out);
    let mut queue = DatagramQueue::default();
    queue.datagrams.extend(answers.into_iter().map(|bytes| (GATEWAY.parse().unwrap(), bytes)));
    world.carry_up(0, queue);
    assert_eq!(world.client_events(), [ClientEvent::FellBack]);
    assert!(world.passes());
}

#[test]
fn a_client_that_lost_the_agreed_key_is_answered_at_its_first_initiation_from_a_new_port() {
    let mut world = agreed();
    let registered = ClientKeys { agreed: None, ..world.keys[0].clone() };
    world.restart_client(registered.clone(), 4001);
    world.connect(0);
    assert!(world.passes());
    assert!(!world.gateway.sessions().next().unwrap().info.post_quantum);
    assert!(world.ended().is_empty());
    // It agrees anew, as after any beginning.
    let keys = world.agree(9);
    world.move_to(keys);
    assert_eq!(world.client_events(), [ClientEvent::Moved]);
    assert!(world.gateway.sessions().next().unwrap().info.post_quantum);

    // At the same port the first answer is for the lost key, and the second for each.
    world.restart_client(registered, 4001);
    world.connect(0);
    assert!(world.status().handshake_age.is_none());
    world.connect(0);
    assert!(world.status().handshake_age.is_some() && world.passes());
}
