//! Egress `tun`: what the kernel brings back.

use super::*;
use crate::reply::Unreachable;
use crate::sink::PacketTrain;

/// Packets as an offload would bring them, with the whole of them in front.
pub(super) struct Train {
    whole: Vec<u8>,
    packets: VecDeque<Vec<u8>>,
    current: Vec<u8>,
}

impl Train {
    pub(super) fn of(packets: Vec<Vec<u8>>) -> Train {
        Train { whole: packets[0].clone(), packets: packets.into(), current: Vec::new() }
    }
}

impl PacketTrain for Train {
    fn bytes(&self) -> &[u8] {
        &self.whole
    }

    fn packets(&self) -> usize {
        self.packets.len()
    }

    fn next_packet(&mut self) -> Option<(&mut [u8], usize)> {
        self.current = self.packets.pop_front()?;
        let len = self.current.len();
        self.current.extend([0; 15]);
        Some((&mut self.current, len))
    }
}

impl World {
    fn arrives(&mut self, packets: Vec<Vec<u8>>) {
        let mut out = DatagramQueue::default();
        assert_eq!(self.gateway.handle_lan(&mut Train::of(packets), self.now, &mut out), None);
        self.carry_down(out);
        self.drain_events();
    }
}

#[test]
fn a_train_of_an_open_flow_reaches_the_client_packet_by_packet_and_is_counted() {
    let mut world = World::new();
    world.connect(0);
    world.send(0, &udp(ALICE, SERVER, b"question"));
    let answers: Vec<Vec<u8>> = (0..5u8).map(|n| udp(SERVER, ALICE, &[n; 100])).collect();
    world.arrives(answers.clone());
    assert_eq!(world.received[0], answers);
    let traffic = world.gateway.flows().iter().next().unwrap().traffic;
    assert_eq!(traffic.packets_down, 5);
    // The test's train shows its first packet as the whole: one body, five headers.
    assert_eq!(traffic.bytes_down, 100 + 5 * 28);
}

#[test]
fn the_recording_network_opens_no_flow() {
    let mut world = World::new();
    world.connect(0);
    world.arrives(vec![tcp(SERVER, ALICE, SYN, 1, 0)]);
    world.arrives(vec![udp(SERVER, ALICE, b"hello")]);
    world.arrives(vec![udp(SERVER, "10.99.0.77:1", b"nobody")]);
    world.arrives(vec![vec![0x45; 19]]);
    assert!(world.received[0].is_empty());
    assert_eq!(world.gateway.counters().dropped(Drop::NoFlow), 3);
    assert_eq!(world.gateway.counters().dropped(Drop::BadLength), 1);
}

#[test]
fn a_router_may_say_that_a_packet_is_too_big_but_only_about_a_live_flow() {
    let mut world = World::new();
    world.connect(0);
    let request = udp(ALICE, SERVER, &[1; 1000]);
    world.send(0, &request);
    let about = |packet: &[u8]| {
        let mut error = vec![0; 600];
        let length = reply::unreachable(&Packet::parse(packet).unwrap(), Unreachable::Host, &mut error);
        error.truncate(length.unwrap());
        error
    };
    world.arrives(vec![about(&request)]);
    world.arrives(vec![about(&udp(ALICE, "192.168.10.10:444", b"another"))]);
    assert_eq!(world.received[0], [about(&request)]);
}

#[test]
fn a_syn_is_clamped_both_ways() {
    let mut world = World::new();
    world.connect(0);
    world.send(0, &syn(ALICE, SERVER, SYN, 1460));
    assert_eq!(mss(&world.egress.0[0].1), 1380);
    world.arrives(vec![syn(SERVER, ALICE, SYN | ACK, 8960)]);
    assert_eq!(mss(&world.received[0][0]), 1380);
    assert!(Packet::parse(&world.received[0][0]).is_ok());
}

#[test]
fn padding_does_not_make_a_full_packet_larger_than_the_mtu() {
    let mut world = World::new();
    world.connect(0);
    world.send(0, &udp(ALICE, SERVER, b"question"));
    // 1420 is no multiple of sixteen; 1397 is padded to 1408.
    for (len, sealed) in [(1420, 1452), (1397, 1440)] {
        let mut out = DatagramQueue::default();
        let answer = udp(SERVER, ALICE, &vec![7; len - 28]);
        assert_eq!(world.gateway.handle_lan(&mut Train::of(vec![answer]), world.now, &mut out), None);
        assert_eq!(out.datagrams[0].1.len(), sealed);
    }
}

fn syn(from: &str, to: &str, flags: u8, mss: u16) -> Vec<u8> {
    use smoltcp::wire::{IpAddress, Ipv4Packet, TcpPacket};
    let mut packet = tcp(from, to, flags, 1, 1);
    packet.extend([2, 4]);
    packet.extend(mss.to_be_bytes());
    packet[32] = 6 << 4;
    let ends = [from, to].map(|end| IpAddress::from(end.parse::<SocketAddr>().unwrap().ip()));
    TcpPacket::new_unchecked(&mut packet[20..]).fill_checksum(&ends[0], &ends[1]);
    let mut ip = Ipv4Packet::new_unchecked(&mut packet);
    ip.set_total_len(44);
    ip.fill_checksum();
    packet
}

fn mss(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[42], packet[43]])
}

/// The registry's changes come one by one, in any order.
#[test]
fn who_gets_the_address_of_another_client_is_answered_whichever_change_comes_first() {
    for removed in [false, true] {
        let mut world = World::new();
        let address = world.configs[0].info.addresses[0];
        let mut bob = world.configs[1].clone();
        bob.info.addresses = vec![address];
        world.gateway.upsert_client(bob, world.now, &mut DatagramQueue::default());
        let mut alice = world.configs[0].clone();
        alice.info.addresses = vec![IpAddr::from([10, 99, 0, 9])];
        if removed {
            world.gateway.remove_client(alice.info.id, world.now, &mut DatagramQueue::default());
        } else {
            world.gateway.upsert_client(alice, world.now, &mut DatagramQueue::default());
        }
        let keys = world.keys[1].clone();
        let settings = ClientSettings { keys, addresses: vec![address], persistent_keepalive: None };
        world.clients[1] = ClientState::new(settings, GATEWAY.parse().unwrap(), world.now, 77);
        world.connect(1);
        world.send(1, &udp(ALICE, SERVER, b"from bob, at the address that was alice's"));
        assert_eq!(world.egress.0.len(), 1);
        let answer = udp(SERVER, ALICE, b"to bob");
        world.arrives(vec![answer.clone()]);
        assert_eq!(world.received[1], [answer]);
    }
}
