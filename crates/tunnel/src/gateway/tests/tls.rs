//! What TCP connections are seen to carry, and what `require-tls` lets pass.

use super::lan::Train;
use super::*;
use crate::flow::FirstBytes;

const RULE: &str = "service web: require-tls";
const HELLO: [u8; 9] = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc];

fn strict() -> World {
    let mut world = World::new();
    world.gateway.set_settings(
        settings_with(443, Some(RULE.into())),
        world.now,
        &mut DatagramQueue::default(),
    );
    world.connect(0);
    world
}

/// A segment with data, its checksum right.
pub(super) fn data(from: &str, to: &str, sequence: u32, acknowledgement: u32, payload: &[u8]) -> Vec<u8> {
    use smoltcp::wire::{IpAddress, Ipv4Packet, TcpPacket};
    let mut bytes = tcp(from, to, ACK, sequence, acknowledgement);
    bytes.extend(payload);
    let mut ip = Ipv4Packet::new_unchecked(&mut bytes);
    ip.set_total_len(40 + payload.len() as u16);
    ip.fill_checksum();
    let ip = |address: &str| IpAddress::from(address.parse::<SocketAddr>().unwrap().ip());
    TcpPacket::new_unchecked(&mut bytes[20..]).fill_checksum(&ip(from), &ip(to));
    bytes
}

impl World {
    fn say(&mut self, offset: u32, payload: &[u8]) {
        self.send(0, &data(ALICE, SERVER, 101 + offset, 501, payload));
    }

    /// The payload bytes that went on towards the server.
    fn reached_the_server(&self) -> Vec<u8> {
        let payload = |(_, bytes): &(FlowId, Vec<u8>)| Packet::parse(bytes).unwrap().payload().to_vec();
        self.egress.0.iter().flat_map(payload).collect()
    }

    /// How the one connection that ended did, and where the server believes a RST.
    fn how_it_ended(&self) -> (CloseReason, Option<FirstBytes>, Option<u32>) {
        let mut closed = self.events.iter().filter_map(|event| match event {
            GatewayEvent::FlowClosed { reason, first_bytes, reset_at, .. } => {
                Some((*reason, *first_bytes, *reset_at))
            }
            _ => None,
        });
        let one = closed.next().unwrap();
        assert!(closed.next().is_none(), "{:?}", self.events);
        one
    }

    fn end(&mut self) -> Option<FirstBytes> {
        let mut out = DatagramQueue::default();
        self.gateway.shut_down(self.now, &mut out);
        self.drain_events();
        self.how_it_ended().1
    }

    /// Whether the client's last packet is a RST that it believes.
    fn was_reset(&self) -> bool {
        let last = Packet::parse(self.received[0].last().unwrap()).unwrap().transport;
        matches!(last, Transport::Tcp { flags, sequence: 501, .. } if flags.rst)
    }
}

#[test]
fn the_closing_record_of_a_connection_says_what_was_seen_and_lets_all_of_it_pass() {
    for (payload, seen) in [
        (&HELLO[..], FirstBytes::Tls),
        (b"GET / HTTP/1.1", FirstBytes::Plain),
        (&HELLO[..3], FirstBytes::Plain),
        (&[], FirstBytes::Nothing),
    ] {
        let mut world = World::new();
        world.connect(0);
        open_tcp(&mut world);
        world.say(0, payload);
        assert_eq!(world.reached_the_server(), payload);
        assert_eq!(world.end(), Some(seen), "{payload:?}");
    }
    let mut world = World::new();
    world.connect(0);
    world.send(0, &udp(ALICE, SERVER, &HELLO));
    assert_eq!(world.end(), None, "UDP is not looked into");
}

#[test]
fn where_tls_is_required_clear_text_is_cut_at_both_ends_before_its_first_byte_passes() {
    let mut world = strict();
    let flow = open_tcp(&mut world);
    world.say(0, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(world.reached_the_server(), b"");
    assert!(world.was_reset());
    assert_eq!(world.how_it_ended(), (CloseReason::TlsRequired, Some(FirstBytes::Plain), Some(101)));
    world.say(0, b"GET / HTTP/1.1\r\n\r\n");
    world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 101));
    assert_eq!(world.reached_the_server(), b"", "sent again");
    let denials = world.denials();
    let [denial] = &denials[..] else { panic!("{denials:?}") };
    assert_eq!((denial.reason, &*denial.rule, denial.count), (DenyReason::TlsRequired, RULE, 1));
    assert_eq!((denial.server.as_deref(), &denial.ports[..]), (Some("mgmt"), &[443..=443][..]));
}

#[test]
fn where_tls_is_required_tls_passes_whole_and_afterwards_nothing_is_looked_at() {
    for split in 1..HELLO.len() {
        let mut world = strict();
        let flow = open_tcp(&mut world);
        world.say(0, &HELLO[..split]);
        world.say(split as u32, &HELLO[split..]);
        world.answer(flow, &data(SERVER, ALICE, 501, 110, b"server hello"));
        world.say(9, b"GET / in a later place");
        assert_eq!(world.reached_the_server(), [&HELLO[..], b"GET / in a later place"].concat());
        assert_eq!(Packet::parse(world.received[0].last().unwrap()).unwrap().payload(), b"server hello");
        assert_eq!(world.end(), Some(FirstBytes::Tls));
    }
}

#[test]
fn where_tls_is_required_a_beginning_passes_and_the_reset_is_where_the_server_has_it() {
    let mut world = strict();
    open_tcp(&mut world);
    world.say(0, &HELLO[..5]);
    world.say(5, b"\0 and no client hello");
    assert_eq!(world.reached_the_server(), HELLO[..5]);
    assert_eq!(world.how_it_ended(), (CloseReason::TlsRequired, Some(FirstBytes::Plain), Some(106)));
}

#[test]
fn where_tls_is_required_a_server_that_speaks_first_is_cut_at_both_egresses() {
    let banner = data(SERVER, ALICE, 501, 101, b"220 ready\r\n");
    let by_the_proxy = |world: &mut World, flow| world.answer(flow, &banner);
    let by_the_kernel = |world: &mut World, _| {
        let mut out = DatagramQueue::default();
        assert_eq!(world.gateway.handle_lan(&mut Train::of(vec![banner.clone()]), world.now, &mut out), None);
        world.carry_down(out);
        world.drain_events();
    };
    for speak in [&by_the_proxy as &dyn Fn(&mut World, FlowId), &by_the_kernel] {
        let mut world = strict();
        let flow = open_tcp(&mut world);
        speak(&mut world, flow);
        assert!(world.was_reset());
        assert_eq!(world.how_it_ended(), (CloseReason::TlsRequired, Some(FirstBytes::Plain), Some(101)));
        assert_eq!(world.denials()[0].reason, DenyReason::TlsRequired);
    }
}

#[test]
fn where_tls_is_required_bytes_out_of_order_wait_for_their_predecessors() {
    let mut world = strict();
    let flow = open_tcp(&mut world);
    world.say(6, &HELLO[6..]);
    assert_eq!(world.reached_the_server(), b"");
    assert_eq!(world.gateway.counters().dropped(Drop::TlsNotToldYet), 1);
    world.say(0, &HELLO[..6]);
    world.say(6, &HELLO[6..]);
    assert_eq!(world.reached_the_server(), HELLO);
    world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 110));
    assert!(world.closed().is_empty());
}

#[test]
fn a_refusal_in_silence_still_resets_a_live_connection() {
    let mut world = strict();
    let silent = Settings { answer_refused: false, ..settings_with(443, Some(RULE.into())) };
    world.gateway.set_settings(silent, world.now, &mut DatagramQueue::default());
    open_tcp(&mut world);
    world.say(0, b"GET /");
    assert!(world.was_reset());
}

#[test]
fn a_changed_configuration_cuts_live_clear_text_and_leaves_live_tls_and_silence_alone() {
    for (payload, cut) in [(&HELLO[..], false), (&[], false), (b"GET / HTTP/1.1", true)] {
        let mut world = World::new();
        world.connect(0);
        let flow = open_tcp(&mut world);
        world.say(0, payload);
        world.answer(flow, &tcp(SERVER, ALICE, ACK, 501, 101 + payload.len() as u32));
        let mut out = DatagramQueue::default();
        world.gateway.set_settings(settings_with(443, Some(RULE.into())), world.now, &mut out);
        world.carry_down(out);
        world.drain_events();
        let expected: &[CloseReason] = if cut { &[CloseReason::TlsRequired] } else { &[] };
        assert_eq!(world.closed(), expected, "{payload:?}");
        world.say(payload.len() as u32, b"GET /");
        let passed_on = world.reached_the_server().ends_with(b"GET /");
        assert_eq!(passed_on, payload == HELLO, "from now on the requirement holds: {payload:?}");
    }
}
