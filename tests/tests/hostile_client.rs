//! A client with a valid key that sends what it must not gets nothing through, harms nobody, and is counted.
//!
//! The packets are aimed at `rec02:7563`, which the client's role may reach: only their form forbids them. The recording
//! network's side is watched on the wire. Meanwhile another client downloads and loses no byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    curl::Download,
    packets::{TCP, UDP, datagram, echo, fix_header, ip, ipv4, ipv6, put, syn},
    raw::RawClient,
    recording::RECORDER,
    require::{can_run, has_file},
    scapy,
    site::{self, Site},
    sniffer::Sniffer,
    stock::{self, StockClient},
    topology::{Family, Server},
    web::FILE_BYTES,
};

/// How long to wait for an answer that must come; an answer that must not come is ruled out by one that comes after it.
const PATIENCE: Duration = Duration::from_secs(10);
/// A kernel repeats its SYN after this.
const AGAIN: Duration = Duration::from_secs(1);
const SEED: u64 = 0x0b5e_55ed;

struct Scene {
    hostile: RawClient,
    other: StockClient,
    sniffer: Sniffer,
    site: Site,
    /// The source port of the next correct SYN.
    next_port: u16,
}

#[test]
fn forged_inner_source_addresses_get_nothing_through() {
    let Some(mut scene) = scene() else { return };
    let other: IpAddr = scene.other_address();
    let target = target(Family::V4);
    let target6 = target_v6();
    let forged = [
        syn((other, 40_000).into(), target),
        syn((IpAddr::from([10, 99, 0, 1]), 40_000).into(), target),
        syn((IpAddr::from([192, 168, 10, 10]), 40_000).into(), target),
        syn((IpAddr::from([127, 0, 0, 1]), 40_000).into(), target),
        datagram((other, 40_000).into(), target, b"forged"),
        echo(other, target.ip()),
        syn((IpAddr::from(Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 0xbad)), 40_000).into(), target6),
        echo(Ipv6Addr::LOCALHOST.into(), target6.ip()),
    ];
    scene.nothing_passes(&forged, "spoofed-source");
}

#[test]
fn fragments_get_nothing_through() {
    let Some(mut scene) = scene() else { return };
    let (from, to) = scene.pair(Family::V4);
    let whole = syn(from, to);
    let fragment = |flags_and_offset: u16| {
        let mut packet = whole.clone();
        put(&mut packet, 6, flags_and_offset);
        fix_header(&mut packet);
        packet
    };
    let (from6, to6) = scene.pair(Family::V6);
    let segment = syn(from6, to6).split_off(40);
    let fragment6 = |offset_and_more: u16| {
        let mut header = vec![TCP, 0, 0, 0, 0, 0, 0, 7];
        put(&mut header, 2, offset_and_more);
        ipv6(scene.hostile.v6, v6(to6), 44, &[&header[..], &segment].concat())
    };
    // More-fragments first, a middle one, a last one, one that would overwrite the ports (offset 8), and for IPv6
    // the "atomic" fragment too.
    let fragments = [
        fragment(0x2000),
        fragment(0x2001),
        fragment(0x0001),
        fragment(0x1fff),
        fragment6(0x0001),
        fragment6(0x0009),
        fragment6(0x0008),
        fragment6(0x0000),
    ];
    scene.nothing_passes(&fragments, "fragment");
}

#[test]
fn ip_options_and_source_routing_get_nothing_through() {
    let Some(mut scene) = scene() else { return };
    let (from, to) = scene.pair(Family::V4);
    let segment = syn(from, to).split_off(20);
    let with_options = |options: &[u8]| ipv4(scene.hostile.v4, Server::Rec02.v4(), TCP, options, &segment);
    let (from6, to6) = scene.pair(Family::V6);
    let segment6 = syn(from6, to6).split_off(40);
    let with_extension = |kind: u8, body: [u8; 6]| {
        let extension = [&[TCP, 0][..], &body, &segment6].concat();
        ipv6(scene.hostile.v6, v6(to6), kind, &extension)
    };
    let gateway = [192, 168, 10, 1];
    let loose_source_route = [&[131, 7, 4][..], &gateway, &[0]].concat();
    let strict_source_route = [&[137, 7, 4][..], &gateway, &[0]].concat();
    let packets = [
        with_options(&[1, 1, 1, 0]),
        with_options(&[7, 7, 4, 0, 0, 0, 0, 0]),
        with_options(&loose_source_route),
        with_options(&strict_source_route),
        with_options(&[148, 4, 0, 0]),
        with_options(&[0xff; 40]),
        with_extension(0, [1, 4, 0, 0, 0, 0]),
        with_extension(43, [0, 1, 0, 0, 0, 0]),
        with_extension(60, [1, 4, 0, 0, 0, 0]),
    ];
    scene.nothing_passes(&packets, "ip-options");
}

#[test]
fn wrong_lengths_and_checksums_get_nothing_through() {
    let Some(mut scene) = scene() else { return };
    let mut packets = Vec::new();
    for family in Family::BOTH {
        let (from, to) = scene.pair(family);
        let whole = syn(from, to);
        let header = if family == Family::V4 { 20 } else { 40 };
        // Cut anywhere, the stated length no longer fits. Nothing at all is a keepalive, so not counted here.
        packets.extend((1..whole.len()).map(|length| whole[..length].to_vec()));
        let wrong = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = whole.clone();
            change(&mut packet);
            if family == Family::V4 {
                fix_header(&mut packet);
            }
            packet
        };
        packets.push(wrong(&|packet| packet[header + 12] = 0xf0)); // TCP header longer than the packet
        packets.push(wrong(&|packet| packet[header + 12] = 0x40)); // TCP header shorter than a TCP header
        packets.push(wrong(&|packet| packet[header + 16] ^= 0xff)); // TCP checksum
        let mut udp = datagram(from, to, b"length");
        put(&mut udp, header + 4, 200); // UDP length beyond the packet
        packets.push(udp);
        let mut udp = datagram(from, to, b"length");
        put(&mut udp, header + 4, 3); // UDP length below a UDP header
        packets.push(udp);
        packets.push(ip(from.ip(), to.ip(), UDP, vec![0; 7], 6)); // a UDP header that is not all there
    }
    let (from, to) = scene.pair(Family::V4);
    for (at, value) in [(2, 0), (2, 19), (2, 41), (2, 0xffff), (10, 0xdead)] {
        let mut packet = syn(from, to);
        put(&mut packet, at, value); // total length, header checksum
        packets.push(packet);
    }
    for first in [0x40, 0x41, 0x44, 0x4f] {
        let mut packet = syn(from, to);
        packet[0] = first; // header length below the minimum, or beyond the packet
        packets.push(packet);
    }
    scene.nothing_passes(&packets, "bad-length");
}

#[test]
fn random_bytes_get_nothing_through() {
    let Some(mut scene) = scene() else { return };
    eprintln!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut packets: Vec<Vec<u8>> = (0..2000)
        .map(|_| {
            let mut packet = vec![0; random.usize(1..1400)];
            random.fill(&mut packet);
            packet
        })
        .collect();
    // Random behind a header that looks right: version and addresses as they should be.
    for _ in 0..2000 {
        let (from, to) = scene.pair(Family::V4);
        let mut packet = syn(from, to);
        packet.resize(random.usize(20..200), 0);
        random.fill(&mut packet[20..]);
        let total = u16::try_from(packet.len()).unwrap();
        put(&mut packet, 2, total);
        packet[9] = random.u8(..);
        fix_header(&mut packet);
        packets.push(packet);
    }
    scene.nothing_passes(&packets, "bad-ip-version");
}

#[test]
fn malformed_packets_made_by_scapy_get_nothing_through() {
    let Some((mut scene, made)) = scene_with_scapy(0) else { return };
    assert!(made.malformed.len() > 150, "{} packets", made.malformed.len());
    scene.nothing_passes(&made.malformed, "bad-length");
    // Each kind of fault is among them, and known for what it is.
    let counted = scene.counted();
    for reason in [
        "fragment",
        "ip-options",
        "bad-ip-version",
        "bad-checksum",
        "bad-address",
        "bad-transport-header",
        "spoofed-source",
        "denied",
        "no-flow",
    ] {
        let count = counted.iter().find(|(name, _)| name == reason).map_or(0, |(_, count)| *count);
        assert!(count > 0, "{reason}: {counted:?}");
    }
}

#[test]
fn what_scapys_fuzzer_makes_reaches_no_port_but_the_roles_and_disturbs_nobody() {
    let Some((mut scene, made)) = scene_with_scapy(1000) else { return };
    let download = Download::start(scene.other.command("curl"), "http://192.168.10.10/slow").unwrap();
    download.wait_for(1_000_000).unwrap();
    for packet in &made.fuzzed {
        scene.hostile.send(packet).unwrap();
    }
    scene.answers();
    let servers = [Server::Mgmt, Server::Rec02].map(|server| [server.v4().into(), server.v6().into()]);
    let [mgmt, rec02]: [[IpAddr; 2]; 2] = servers;
    for seen in scene.sniffer.seen().unwrap() {
        // The download, and what the servers say themselves.
        if mgmt.contains(&seen.destination) || mgmt.contains(&seen.source) || rec02.contains(&seen.source) {
            continue;
        }
        let echo = [1, 58].contains(&seen.protocol);
        assert!(rec02.contains(&seen.destination), "{seen:?}");
        assert!(echo || (seen.protocol, seen.port) == (TCP, RECORDER), "{seen:?}");
    }
    assert_eq!(download.finish().unwrap(), (FILE_BYTES as u64, scene.site.web.checksum.clone()));
}

#[test]
fn garbage_from_outside_the_tunnel_is_answered_by_silence() {
    let Some(mut scene) = scene() else { return };
    eprintln!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let stranger = scene.site.topology.add_client().unwrap();
    let gateway = "198.51.100.10:51820";
    let socket = stranger.namespace.run(|| std::net::UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    for i in 0..4000 {
        // Of every message type and length, also lengths that WireGuard uses.
        let length = [random.usize(0..1400), 148, 92, 64, 32][i % 5];
        let mut datagram = vec![0; length];
        random.fill(&mut datagram);
        if let [kind, a, b, c, ..] = datagram.as_mut_slice() {
            (*kind, *a, *b, *c) = (random.u8(0..6), 0, 0, 0);
        }
        socket.send_to(&datagram, gateway).unwrap();
    }
    scene.answers();
    socket.set_nonblocking(true).unwrap();
    let answer = socket.recv_from(&mut [0; 2048]);
    assert!(answer.is_err(), "the gateway answered a stranger: {answer:?}");
}

impl Scene {
    /// Sends the packets; then shows that the gateway still serves this client and the other, that the recording network
    /// saw nothing of it, and that every one was counted, at least one under a reason that contains `reason`.
    fn nothing_passes(&mut self, packets: &[Vec<u8>], reason: &str) {
        let path = "http://192.168.10.10/slow";
        let download = Download::start(self.other.command("curl"), path).unwrap();
        download.wait_for(1_000_000).unwrap();
        let counted_before = self.counted();
        let sessions_before = self.site.status().unwrap().sessions.len();
        for packet in packets {
            self.hostile.send(packet).unwrap();
        }
        self.answers();
        let passed: Vec<_> = self
            .sniffer
            .seen()
            .unwrap()
            .into_iter()
            .filter(|seen| ![seen.source, seen.destination].contains(&Server::Mgmt.v4().into()))
            .collect();
        assert_eq!(passed, [], "the recording network saw this");
        let counted: u64 = self.counted().iter().map(|(_, count)| count).sum();
        let before: u64 = counted_before.iter().map(|(_, count)| count).sum();
        assert!(
            counted - before >= packets.len() as u64,
            "{} packets sent, {} counted: {counted_before:?} then {:?}",
            packets.len(),
            counted - before,
            self.counted()
        );
        assert!(
            self.counted().iter().any(|(name, _)| name.contains(reason)),
            "{reason}: {:?}",
            self.counted()
        );
        assert_eq!(self.site.status().unwrap().sessions.len(), sessions_before);
        assert_eq!(download.finish().unwrap(), (FILE_BYTES as u64, self.site.web.checksum.clone()));
    }

    /// A correct SYN to an allowed port is still answered: all that was sent before it has been dealt with.
    fn answers(&mut self) {
        let port = self.next_port;
        self.next_port += 1;
        let from = SocketAddr::new(self.hostile.v4.into(), port);
        let syn = syn(from, SocketAddr::new(Server::Mgmt.v4().into(), 80));
        let deadline = Instant::now() + PATIENCE;
        self.hostile.send(&syn).unwrap();
        while Instant::now() < deadline {
            let Some(packet) = self.hostile.receive(AGAIN).unwrap() else {
                // Above its new flows per second a client's SYN is dropped, and its kernel would ask again.
                self.hostile.send(&syn).unwrap();
                continue;
            };
            let is_answer =
                packet.get(9) == Some(&TCP) && packet.get(22..24) == Some(&port.to_be_bytes()[..]);
            if is_answer {
                assert_eq!(packet.get(33).map(|flags| flags & 0x12), Some(0x12), "SYN and ACK");
                return;
            }
        }
        panic!("the gateway does not answer a correct SYN");
    }

    /// Everything that the gateway counts as dropped or refused, by reason.
    fn counted(&self) -> Vec<(String, u64)> {
        self.site.status().unwrap().totals.drops.into_iter().collect()
    }

    /// The hostile client's own address, and the target.
    fn pair(&self, family: Family) -> (SocketAddr, SocketAddr) {
        (SocketAddr::new(family.pick(self.hostile.v4, self.hostile.v6), 40_000), target(family))
    }

    fn other_address(&self) -> IpAddr {
        let profile = std::fs::read_to_string(self.site.data().join("other.conf")).unwrap();
        let profile = vmsgate_tests::profile::Profile::new(profile);
        profile.values("Address")[0].split('/').next().unwrap().parse().unwrap()
    }
}

fn target(family: Family) -> SocketAddr {
    SocketAddr::new(Server::Rec02.address(family), RECORDER)
}

fn target_v6() -> SocketAddr {
    target(Family::V6)
}

fn v6(address: SocketAddr) -> Ipv6Addr {
    match address.ip() {
        IpAddr::V6(address) => address,
        IpAddr::V4(address) => address.to_ipv6_mapped(),
    }
}

/// With packets that scapy made for the client, `fuzzed` of them by its fuzzer.
fn scene_with_scapy(fuzzed: usize) -> Option<(Scene, scapy::Made)> {
    let scene = has_file(Path::new(scapy::MODULE)).then(scene).flatten()?;
    let own = (scene.hostile.v4, scene.hostile.v6);
    let to = (Server::Rec02.v4(), v6(target_v6()));
    let made = scapy::packets(own, to, RECORDER, SEED, fuzzed).unwrap();
    Some((scene, made))
}

fn scene() -> Option<Scene> {
    let programs = [&site::PROGRAMS[..], &stock::PROGRAMS, &["curl"]].concat();
    can_run(&programs).then(|| {
        let site = Site::start(Family::V4).unwrap();
        let other = site.stock_client("other", "smart-client").unwrap();
        let profile = site.add_client("hostile", "smart-client").unwrap();
        let hostile = RawClient::connect(&site.topology.add_client().unwrap(), &profile).unwrap();
        let sniffer = Sniffer::start(&site.topology.recording).unwrap();
        let mut scene = Scene { hostile, other, sniffer, site, next_port: 50_001 };
        scene.answers();
        scene
    })
}
