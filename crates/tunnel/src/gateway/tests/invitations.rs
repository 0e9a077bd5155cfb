//! An invitation is good for enrolment, whatever its role would allow.

use super::*;

#[test]
fn an_invitation_reaches_tcp_port_80_of_the_gateway_and_nothing_else() {
    let mut world = World::new();
    world.change(ClientConfig { kind: ClientKind::Invitation, ..world.configs[0].clone() });
    world.connect(0);
    world.send(0, &tcp(ALICE, "10.99.0.1:80", SYN, 1, 0));
    let opened: Vec<SocketAddr> = world.gateway.flows().iter().map(|flow| flow.destination()).collect();
    assert_eq!(opened, ["10.99.0.1:80".parse().unwrap()]);

    let attempts = [
        tcp(ALICE, SERVER, SYN, 1, 0),
        udp(ALICE, SERVER, b"x"),
        tcp(ALICE, "10.99.0.1:443", SYN, 1, 0),
        udp(ALICE, "10.99.0.1:80", b"x"),
        udp(ALICE, "10.99.0.1:53", b"x"),
        tcp(ALICE, "10.99.0.1:53", SYN, 1, 0),
        tcp(ALICE, "10.99.0.3:80", SYN, 1, 0),
        tcp(ALICE, "192.168.10.99:80", SYN, 1, 0),
        echo_request("10.99.0.1"),
        echo_request("192.168.10.10"),
        verdicts::other_protocol(),
    ];
    for attempt in &attempts {
        world.send(0, attempt);
    }
    assert_eq!(world.gateway.flows().len(), 1);
    let denials = world.denials();
    assert_eq!(denials.iter().map(|denial| denial.count).sum::<u64>(), attempts.len() as u64);
    for denial in denials {
        assert_eq!(denial.reason, DenyReason::Invitation, "{denial:?}");
        assert_eq!(&*denial.rule, "an invitation reaches enrolment only");
    }
}

#[test]
fn a_client_that_becomes_an_invitation_loses_its_flows() {
    let mut world = World::new();
    world.connect(0);
    open_tcp(&mut world);
    world.change(ClientConfig { kind: ClientKind::Invitation, ..world.configs[0].clone() });
    world.drain_events();
    assert_eq!(world.closed(), [CloseReason::Policy]);
}
