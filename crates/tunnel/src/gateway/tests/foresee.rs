//! What a policy is foretold to cut is what it then cuts.

use super::tls::data;
use super::*;
use crate::gateway::foresee::Cut;
use crate::policy::DenyReason;

#[test]
fn what_is_foreseen_is_what_happens_and_asking_changes_nothing() {
    let strict: Arc<str> = "service web: require-tls".into();
    for (after, foreseen, reason) in [
        (settings(443), None, None),
        (settings(8443), Some(DenyReason::NotInRole), Some(CloseReason::Policy)),
        (settings_with(443, Some(strict)), Some(DenyReason::TlsRequired), Some(CloseReason::TlsRequired)),
    ] {
        let mut world = World::new();
        world.connect(0);
        let flow = open_tcp(&mut world);
        world.send(0, &data(ALICE, SERVER, 101, 501, b"GET / HTTP/1.1"));
        world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 115));
        world.drain_events();
        let check = |cuts: &[Cut]| {
            assert_eq!(cuts.first().map(|cut| cut.refusal.reason), foreseen);
            assert!(cuts.iter().all(|cut| cut.flow.id == flow), "{cuts:?}");
        };
        for _ in 0..2 {
            check(&world.gateway.foresee(&after.policy));
        }
        assert_eq!(world.closed(), []);
        check(&world.gateway.set_settings(after, world.now, &mut DatagramQueue::default()));
        world.drain_events();
        assert_eq!(world.closed(), Vec::from_iter(reason));
    }
}

#[test]
fn those_who_may_connect_are_members_and_those_shut_out_are_not() {
    let mut world = World::new();
    world.connect(0);
    let members = |world: &World| {
        let mut members: Vec<_> = world.gateway.members(world.now).collect();
        members.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        members.iter().map(|member| (member.info.name.to_string(), member.post_quantum)).collect::<Vec<_>>()
    };
    let expected = [("alice".to_owned(), Some(false)), ("bob".to_owned(), None)];
    assert_eq!(members(&world), expected);
    world.block(Access::Suspended);
    assert_eq!(members(&world), expected[1..]);
}
