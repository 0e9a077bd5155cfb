//! Limits of bandwidth where packets pass: what is dropped, whose it is, and the record of it.

use super::*;
use crate::bandwidth::{Bandwidth, Limit};
use crate::event::LimitedSession;

/// 8 Mbit/s: a byte in a microsecond.
const LIMIT: u32 = 1_000_000;
const PAYLOAD: usize = 1000;

fn limited(bytes_per_second: Option<u32>) -> Settings {
    let limit =
        |way: &str| bytes_per_second.map(|bytes_per_second| Limit { bytes_per_second, rule: way.into() });
    let bandwidth = Bandwidth { up: limit("up"), down: limit("down") };
    let bandwidths =
        Bandwidths { roles: [("smart-client".into(), bandwidth)].into(), others: Bandwidth::default() };
    Settings { bandwidths, ..settings(443) }
}

fn world() -> World {
    let mut world = World::new();
    world.configure(limited(Some(LIMIT)));
    world.connect(0);
    world.connect(1);
    world
}

/// Sends datagrams of one flow of a client for a while, one each millisecond and so many at once.
fn send(world: &mut World, host: u8, port: u16, at_once: usize, during: Duration) -> usize {
    let packet = udp(&format!("10.99.0.{host}:{port}"), SERVER, &[7; PAYLOAD]);
    let before = world.egress.0.len();
    for _ in 0..during.as_millis() {
        world.now += Duration::from_millis(1);
        (0..at_once).for_each(|_| world.send(usize::from(host) - 2, &packet));
    }
    world.egress.0.len() - before
}

fn reports(world: &World) -> Vec<LimitedSession> {
    let report = |event: &GatewayEvent| match event {
        GatewayEvent::SessionLimited(limited) => Some(limited.clone()),
        _ => None,
    };
    world.events.iter().filter_map(report).collect()
}

#[test]
fn what_a_client_sends_above_its_limit_is_dropped_and_counted_and_another_client_is_whole() {
    let mut world = world();
    send(&mut world, 2, 5000, 10, Duration::from_millis(500));
    let passed = send(&mut world, 2, 5000, 10, Duration::from_secs(1));
    let whole = LIMIT as usize / (PAYLOAD + 28);
    assert!((whole * 96 / 100..=whole * 102 / 100).contains(&passed), "{passed} of {whole}");
    assert!(world.gateway.counters().dropped(Drop::Bandwidth) > 8000);
    assert_eq!(send(&mut world, 3, 5000, 1, Duration::from_millis(100)), 100);
}

#[test]
fn an_answer_above_the_limit_is_dropped_unless_it_is_tcp_which_waits_for_its_turn() {
    let mut world = world();
    world.send(0, &udp(ALICE, SERVER, b"question"));
    let udp_flow = world.egress.0[0].0;
    let answer = udp(SERVER, ALICE, &[7; PAYLOAD]);
    (0..1000).for_each(|_| world.answer(udp_flow, &answer));
    let passed = world.received[0].len();
    assert!((200..700).contains(&passed), "{passed} of 1000 at once");
    let tcp_flow = open_tcp(&mut world);
    let before = world.received[0].len();
    let segment = super::tls::data(SERVER, ALICE, 501, 101, b"data");
    world.answer(tcp_flow, &segment);
    assert_eq!(world.received[0].len(), before + 1);
    let turn = world.gateway.turn(tcp_flow, world.now).unwrap();
    assert!(turn > world.now);
    assert_eq!(world.gateway.turn(tcp_flow, turn + Duration::from_secs(1)), None);
    assert_eq!(world.gateway.counters().turns_waited, 1);
}

#[test]
fn a_limit_that_bites_is_one_record_a_minute_and_the_rest_comes_with_the_end_of_the_session() {
    let mut world = world();
    send(&mut world, 2, 5000, 10, Duration::from_secs(2));
    assert!(reports(&world).is_empty());
    world.pass_time(Duration::from_secs(60));
    let told = reports(&world);
    let [first] = &told[..] else { panic!("{told:?}") };
    assert_eq!((first.reason(), &*first.rule), ("bandwidth-up", "up"));
    assert_eq!(first.count, world.gateway.counters().dropped(Drop::Bandwidth));
    assert!(first.first < first.last);
    world.pass_time(Duration::from_secs(60));
    assert_eq!(reports(&world).len(), 1, "nothing was held up since");
    send(&mut world, 2, 5000, 10, Duration::from_secs(1));
    world.gateway.shut_down(world.now, &mut DatagramQueue::default());
    world.drain_events();
    assert_eq!(reports(&world).len(), 2);
    let place = |kind: fn(&GatewayEvent) -> bool| world.events.iter().rposition(kind).unwrap();
    let limited = place(|event| matches!(event, GatewayEvent::SessionLimited(_)));
    let closed = place(
        |event| matches!(event, GatewayEvent::SessionClosed { session, .. } if &*session.client.name == "alice"),
    );
    assert!(limited < closed);
}

#[test]
fn a_limit_comes_changes_and_goes_with_the_configuration_under_live_flows() {
    let mut world = World::new();
    world.connect(0);
    let second = Duration::from_secs(1);
    assert_eq!(send(&mut world, 2, 5000, 4, second), 4000);
    world.configure(limited(Some(LIMIT)));
    send(&mut world, 2, 5000, 4, second);
    let whole = send(&mut world, 2, 5000, 4, second);
    world.configure(limited(Some(LIMIT / 2)));
    send(&mut world, 2, 5000, 4, second);
    let half = send(&mut world, 2, 5000, 4, second);
    assert!((45..=55).contains(&(half * 100 / whole)), "{half} after {whole}");
    world.configure(limited(None));
    assert_eq!(send(&mut world, 2, 5000, 4, second), 4000);
    assert!(!world.gateway.limits_bandwidth());
}

#[test]
fn the_limit_goes_with_the_role() {
    let mut world = world();
    let mut config = world.configs[0].clone();
    config.info.role = "another".into();
    world.change(config.clone());
    world.gateway.remove_client(world.configs[1].info.id, world.now, &mut DatagramQueue::default());
    assert!(!world.gateway.limits_bandwidth(), "neither of the two is limited any more");
    config.info.role = "smart-client".into();
    world.change(config);
    assert!(world.gateway.limits_bandwidth());
}
