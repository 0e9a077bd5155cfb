//! What a client hears when it is shut out, and what nobody hears.

use super::*;

const PORT: u16 = 51_819;

impl World {
    /// A world whose gateway says why, with alice connected and a flow of hers.
    fn telling() -> (World, FlowId) {
        let mut world = World::new();
        let text = |text: &str| text.as_bytes().into();
        let last_notices = LastNotices {
            from: ["fd00:99::1".parse().unwrap(), "10.99.0.1".parse().unwrap()].into(),
            port: PORT,
            revoked: text("revoked"),
            suspended: text("suspended"),
            expired: text("expired"),
        };
        let settings = Settings { last_notices, ..settings(443) };
        world.gateway.set_settings(settings, world.now, &mut DatagramQueue::default());
        world.connect(0);
        let flow = open_tcp(&mut world);
        world.received[0].clear();
        (world, flow)
    }

    fn shut_out(&mut self, access: Access) {
        let mut out = DatagramQueue::default();
        let config = ClientConfig { access, ..self.configs[0].clone() };
        self.gateway.upsert_client(config, self.now, &mut out);
        self.carry_down(out);
    }

    /// The payloads of the notices among what alice received.
    fn notices(&self) -> Vec<String> {
        let notice = |bytes: &Vec<u8>| {
            let packet = Packet::parse(bytes).unwrap();
            let expected = Transport::Udp { source_port: PORT, destination_port: PORT };
            (packet.transport == expected).then(|| {
                assert_eq!((packet.source, packet.destination), ("10.99.0.1".parse().unwrap(), ip(ALICE)));
                String::from_utf8(bytes[28..].to_vec()).unwrap()
            })
        };
        self.received[0].iter().filter_map(notice).collect()
    }
}

fn ip(end: &str) -> IpAddr {
    end.parse::<SocketAddr>().unwrap().ip()
}

#[test]
fn a_client_that_is_shut_out_is_told_why_once_and_nothing_of_it_passes_any_more() {
    for (access, text) in [
        (Access::Revoked, "revoked"),
        (Access::Suspended, "suspended"),
        (Access::Active { until: Some(1) }, "expired"),
    ] {
        let (mut world, _) = World::telling();
        world.shut_out(access);
        assert_eq!(world.notices(), [text]);
        // A RST of its connection before, and the notice last.
        assert_eq!(world.received[0].len(), 2, "{text}");

        let passed = world.egress.0.len();
        world.send(0, &tcp(ALICE, SERVER, ACK, 101, 501));
        world.send(0, &udp(ALICE, SERVER, b"let me in"));
        world.connect(0);
        assert_eq!((world.egress.0.len(), world.received[0].len()), (passed, 2), "{text}");
    }
}

#[test]
fn a_validity_that_runs_out_by_itself_is_told() {
    let (mut world, _) = World::telling();
    let until = world.gateway.unix(world.now) + 5_000;
    world.shut_out(Access::Active { until: Some(until) });
    assert_eq!(world.notices(), Vec::<String>::new(), "not yet");
    world.pass_time(Duration::from_secs(6));
    assert_eq!(world.notices(), ["expired"]);
}

#[test]
fn an_end_that_is_no_refusal_a_client_without_a_session_and_an_invitation_are_told_nothing() {
    let (mut world, _) = World::telling();
    let mut out = DatagramQueue::default();
    world.gateway.shut_down(world.now, &mut out);
    world.carry_down(out);
    assert_eq!(world.notices(), Vec::<String>::new(), "shutdown");

    let mut out = DatagramQueue::default();
    let config = ClientConfig { access: Access::Revoked, ..world.configs[0].clone() };
    world.gateway.upsert_client(config, world.now, &mut out);
    assert!(out.datagrams.is_empty(), "no session");

    let (mut world, _) = World::telling();
    world.configs[0].kind = ClientKind::Invitation;
    world.shut_out(Access::Revoked);
    assert_eq!(world.notices(), Vec::<String>::new(), "an invitation");
}

#[test]
fn a_client_at_rest_says_only_what_it_is_told_to_and_is_back_when_it_is_let_in_again() {
    let (mut world, _) = World::telling();
    world.shut_out(Access::Suspended);
    world.clients[0].rest(world.now);
    for _ in 0..2_000 {
        world.now += Duration::from_secs(1);
        let mut out = DatagramQueue::default();
        world.clients[0].handle_timeout(world.now, &mut out);
        let packet = udp(ALICE, SERVER, b"anybody?");
        let mut padded = [&packet[..], &[0; 15]].concat();
        world.clients[0].send(&mut padded, packet.len(), world.now, &mut out);
        assert!(out.datagrams.is_empty());
    }
    world.connect(0);
    assert_eq!(world.egress.0.len(), 2, "still shut out");

    world.shut_out(Access::Active { until: None });
    world.now += Duration::from_secs(6);
    world.connect(0);
    world.send(0, &udp(ALICE, SERVER, b"I am back"));
    assert_eq!(world.egress.0.last().unwrap().1, udp(ALICE, SERVER, b"I am back"));
}
