//! The gateway's own keys come and go.

use super::*;

#[test]
fn an_identity_that_ends_gets_no_answer_and_ends_the_sessions_that_live_on_it_alone() {
    let mut world = World::new();
    world.connect(0);
    world.connect(1);
    open_tcp(&mut world);
    world.send(1, &udp("10.99.0.3:5000", SERVER, b"bob"));
    let keys = world.offer_identity();
    world.move_to(keys);
    let session = world.gateway.sessions().next().unwrap().info.id;
    let stays = vec![Identity::new(world.other_identity.clone().unwrap())];
    world.gateway.set_identities(stays, world.now, &mut DatagramQueue::default());
    world.drain_events();
    assert_eq!(world.ended(), [SessionEnd::Removed], "bob's, which had no other");
    assert_eq!(world.closed(), [CloseReason::ClientBlocked]);
    assert_eq!(world.gateway.sessions().map(|status| status.info.id).collect::<Vec<_>>(), [session]);
    assert!(world.passes());

    let mut up = DatagramQueue::default();
    world.clients[1].connect(world.now, &mut up);
    let from = world.outside[1];
    assert_eq!(world.answers_to(&up.datagrams[0].1, from), 0);
    assert_eq!(world.gateway.counters().dropped(Drop::UnknownIdentity), 1);
}

#[test]
fn an_identity_that_stays_keeps_what_proves_a_source() {
    let mut world = World::new();
    let handshakes = HandshakeLimits { per_source: 0, total: 1000 };
    world.configure(Settings { handshakes, ..settings(443) });
    // Answered with a cookie, which only the same secret accepts.
    world.connect(0);
    assert_eq!(world.gateway.counters().dropped(Drop::CookieDemanded), 1);
    world.offer_identity();
    world.connect(0);
    assert_eq!(world.gateway.counters().dropped(Drop::CookieDemanded), 1);
}
