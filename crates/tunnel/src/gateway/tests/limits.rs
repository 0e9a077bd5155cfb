//! What one client may use up, and what it leaves to others.

use super::verdicts::{one_flow, one_flow_per_second};
use super::*;

const BURST: u16 = 5;

fn datagram(host: u8, port: u16) -> Vec<u8> {
    udp(&format!("10.99.0.{host}:{port}"), SERVER, b"x")
}

fn denied(world: &mut World) -> Vec<(DenyReason, u64)> {
    world.denials().iter().map(|denial| (denial.reason, denial.count)).collect()
}

#[test]
fn flows_above_the_rate_are_one_record_and_another_client_s_pass() {
    let mut world = World::new();
    world.configure(one_flow_per_second());
    world.connect(0);
    world.connect(1);
    (0..100).for_each(|n| world.send(0, &datagram(2, 5000 + n)));
    assert_eq!(world.egress.0.len(), usize::from(BURST));
    world.send(1, &datagram(3, 5000));
    assert_eq!(world.egress.0.len(), usize::from(BURST) + 1);
    assert_eq!(world.gateway.counters().flows_opened, u64::from(BURST) + 1);
    assert_eq!(world.gateway.refusals().denials["new-flow-limit"], 95);
    assert_eq!(denied(&mut world), [(DenyReason::NewFlowLimit, 95)]);
}

#[test]
fn a_connection_above_the_rate_is_not_turned_away_and_opens_when_tcp_asks_again() {
    let mut world = World::new();
    world.configure(one_flow_per_second());
    world.connect(0);
    (0..BURST).for_each(|n| world.send(0, &datagram(2, 6000 + n)));
    let (syn, before) = (tcp(ALICE, SERVER, SYN, 100, 0), world.received[0].len());
    world.send(0, &syn);
    assert_eq!((world.egress.0.len(), world.received[0].len()), (usize::from(BURST), before));
    world.pass_time(Duration::from_secs(1));
    world.send(0, &syn);
    assert_eq!(world.egress.0.len(), usize::from(BURST) + 1);
}

#[test]
fn another_rate_holds_from_the_next_flow_on_and_live_flows_go_on() {
    let mut world = World::new();
    world.configure(one_flow_per_second());
    world.connect(0);
    (0..BURST + 1).for_each(|n| world.send(0, &datagram(2, 5000 + n)));
    assert_eq!(world.egress.0.len(), usize::from(BURST));
    world.configure(settings(443));
    world.pass_time(Duration::from_millis(10));
    (0..BURST + 1).for_each(|n| world.send(0, &datagram(2, 5000 + n)));
    assert_eq!(world.egress.0.len(), 2 * usize::from(BURST) + 1);
}

#[test]
fn flows_above_the_number_are_one_record_that_names_the_limit() {
    let mut world = World::new();
    world.configure(one_flow());
    world.connect(0);
    (0..20).for_each(|n| world.send(0, &datagram(2, 5000 + n)));
    assert_eq!(world.egress.0.len(), 1);
    let denials = world.denials();
    let [denial] = &denials[..] else { panic!("{denials:?}") };
    assert_eq!((denial.reason, denial.count), (DenyReason::FlowLimit, 19));
    assert_eq!(&*denial.rule, "limits: flows-per-client = 1");
}
