//! Two workers: each knows its own clients, and where the others are.

use super::*;
use crate::gateway::shard::{Directory, Handover, owner};

/// A worker without clients, and alice's owner beside it.
fn pair() -> (World, GatewayState) {
    let world = World::with_shard(Shard::new(1, 2));
    let mut other = GatewayState::new(settings(443), Shard::new(0, 2), world.now, 1_700_000_000_000, 2);
    let own = vec![Identity::new(world.identity.clone())];
    other.set_identities(own, world.now, &mut DatagramQueue::default());
    let mut directory = Directory::default();
    directory.add(&world.configs[0], 1);
    other.set_directory(directory.into());
    (world, other)
}

#[test]
fn an_initiation_at_the_wrong_worker_is_handed_over_with_its_sender_and_answered() {
    let (mut world, mut other) = pair();
    let (mut up, mut down) = (DatagramQueue::default(), DatagramQueue::default());
    world.clients[0].connect(world.now, &mut up);
    let (from, initiation) = (world.outside[0], up.datagrams[0].1.clone());
    let World { room, now, egress, .. } = &mut world;
    let handover = other.handle_datagram(from, &initiation, room, *now, &mut down, egress).unwrap();
    assert_eq!(handover.worker, 1);
    assert!(down.datagrams.is_empty());

    world.gateway.handle_initiator(handover.initiator.unwrap(), from, &initiation, world.now, &mut down);
    let transport = world.carry_down(down);
    assert_eq!(transport.len(), 1, "the response was accepted and confirmed");

    // What the client sends from now on says itself where it belongs.
    let World { gateway, room, now, egress, .. } = &mut world;
    let mut down = DatagramQueue::default();
    let handover = other.handle_datagram(from, &transport[0], room, *now, &mut down, egress);
    assert_eq!(handover, Some(Handover { worker: 1, initiator: None }));
    assert_eq!(gateway.handle_datagram(from, &transport[0], room, *now, &mut down, egress), None);
    world.drain_events();
    assert!(matches!(world.events[0], GatewayEvent::SessionOpened { .. }));
}

#[test]
fn an_unknown_key_and_an_unknown_worker_are_nobodys() {
    let (mut world, mut other) = pair();
    let (mut up, mut down) = (DatagramQueue::default(), DatagramQueue::default());
    world.clients[1].connect(world.now, &mut up);
    let World { room, now, egress, outside, .. } = &mut world;
    let initiation = &up.datagrams[0].1;
    assert_eq!(other.handle_datagram(outside[1], initiation, room, *now, &mut down, egress), None);
    assert_eq!(other.counters().dropped(Drop::HandshakeRejected), 1);
    let mut transport = vec![4, 0, 0, 0, 0, 0, 0, 63 << 2];
    transport.resize(48, 0);
    assert_eq!(other.handle_datagram(outside[1], &transport, room, *now, &mut down, egress), None);
    assert_eq!(other.counters().dropped(Drop::NoSession), 1);
}

#[test]
fn clients_spread_over_the_workers_and_stay_where_they_are() {
    let mut counts = [0; 3];
    for n in 0..3000 {
        let id = Uuid::from_u128(n << 64 | 7);
        assert_eq!(owner(id, 3), owner(id, 3));
        counts[usize::from(owner(id, 3))] += 1;
    }
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
}
