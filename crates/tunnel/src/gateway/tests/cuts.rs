//! The end of a session tells when the last packet passed, and how many flows it cut.

use super::*;

impl World {
    fn cut(&self) -> (Option<UnixMillis>, u64) {
        let cut = |event: &GatewayEvent| match event {
            GatewayEvent::SessionClosed { last_forwarded, flows_cut, .. } => {
                Some((*last_forwarded, *flows_cut))
            }
            _ => None,
        };
        self.events.iter().find_map(cut).unwrap()
    }
}

const START: UnixMillis = 1_700_000_000_000;

#[test]
fn a_revocation_tells_the_last_packet_of_either_direction_and_the_flows_that_it_cut() {
    let mut world = World::new();
    world.connect(0);
    let flow = open_tcp(&mut world);
    world.pass_time(Duration::from_millis(2500));
    world.send(0, &udp(ALICE, SERVER, b"a second flow"));
    world.pass_time(Duration::from_millis(1000));
    world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 101));
    world.pass_time(Duration::from_secs(1));
    // Neither the gateway's own services nor what is refused goes to the recording network.
    world.send(0, &tcp(ALICE, "10.99.0.1:80", SYN, 1, 0));
    world.send(0, &tcp(ALICE, "192.168.10.10:3389", SYN, 1, 0));
    world.block(Access::Revoked);
    world.drain_events();
    assert_eq!(world.cut(), (Some(START + 3500), 2));
}

#[test]
fn a_session_remembers_the_last_packet_of_flows_that_are_over_and_none_if_none_passed() {
    let mut world = World::new();
    world.connect(0);
    world.pass_time(Duration::from_millis(1500));
    let flow = open_tcp(&mut world);
    world.gateway.close_flow(flow, CloseReason::ServerUnreachable, world.now);
    world.pass_time(Duration::from_secs(5));
    world.block(Access::Suspended);
    world.drain_events();
    assert_eq!(world.cut(), (Some(START + 1500), 0));

    let mut world = World::new();
    world.connect(0);
    world.block(Access::Revoked);
    world.drain_events();
    assert_eq!(world.cut(), (None, 0));
}
