//! The harness itself, against a gateway of stock WireGuard and kernel routing that lets everything through.
//!
//! Each measure that later says "nothing was lost" or "nothing got through" must be able to say the opposite.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Read,
    net::{SocketAddr, TcpStream, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    binaries, carries,
    netns::{self, Netns},
    packets,
    process::{Process, User, command},
    raw::RawClient,
    recording::{OPEN_TCP, RECORDER, Recording},
    reference::Reference,
    relay::{Path, Relay},
    require::can_run,
    sniffer::Sniffer,
    stock::{PROGRAMS, StockClient},
    topology::{Family, Server, Topology},
    video::{self, Clip},
    web::Web,
};

#[test]
fn an_ordinary_user_of_the_harness_holds_no_capability() {
    if !can_run(&["setpriv"]) {
        return;
    }
    let host = Netns::create("caps").unwrap();
    let mut cat = command(&host, User::Gateway, "cat");
    cat.arg("/proc/self/status");
    let (_, status) = Process::start("cat", cat).unwrap().wait().unwrap();
    let capabilities: Vec<_> = status.lines().filter(|line| line.starts_with("Cap")).collect();
    assert_eq!(capabilities.len(), 5, "{status}");
    assert!(capabilities.iter().all(|line| line.ends_with("\t0000000000000000")), "{capabilities:?}");
}

#[test]
fn a_namespace_ends_with_its_owner_and_the_leftover_of_a_dead_process_is_removed() {
    if !can_run(&[]) {
        return;
    }
    let exists = |name: &str| std::path::Path::new("/run/netns").join(name).exists();
    let host = Netns::create("owned").unwrap();
    let name = host.name().to_owned();
    assert!(exists(&name));
    drop(host);
    assert!(!exists(&name));

    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let leftover = format!("vmsgate-t{}-0-left", dead.id());
    assert!(Command::new("ip").args(["netns", "add", &leftover]).status().unwrap().success());
    netns::remove_leftovers();
    assert!(!exists(&leftover));
}

#[test]
fn files_and_video_cross_a_stock_tunnel_and_the_recording_network_sees_who_came() {
    if !can_run(&[&PROGRAMS[..], &["nginx", "curl", "ffmpeg"]].concat()) {
        return;
    }
    for outside in Family::BOTH {
        let topology = Topology::build().unwrap();
        let folder = shared_folder();
        let clip = Clip::make(&binaries::cache().unwrap(), video::CAMERA).unwrap();
        let recording = Recording::start(&topology, clip.clone()).unwrap();
        let sniffer = Sniffer::start(&topology.recording).unwrap();
        let web = Web::start(&topology, folder.path()).unwrap();
        let gateway = Reference::start(&topology, outside).unwrap();
        let client = StockClient::up(topology.add_client().unwrap(), gateway.profile()).unwrap();

        for inside in Family::BOTH {
            let site = SocketAddr::new(Server::Mgmt.address(inside), 80);
            carries::files(&web, || client.command("curl"), &format!("http://{site}")).unwrap();
            // A reference gateway lets everything through, and the servers notice.
            for port in OPEN_TCP {
                let forbidden = SocketAddr::new(Server::Rec02.address(inside), port);
                let mut stream =
                    client.host.namespace.run(|| TcpStream::connect(forbidden)).unwrap().unwrap();
                stream.read_exact(&mut [0; 3]).unwrap();
                assert!(recording.arrivals().iter().any(|arrival| arrival.to == forbidden), "{forbidden}");
                assert!(
                    sniffer
                        .seen()
                        .unwrap()
                        .iter()
                        .any(|seen| seen.opens && (seen.destination, seen.port) == (forbidden.ip(), port)),
                    "{forbidden}"
                );
            }
        }
        let recorders = Family::BOTH.map(|inside| SocketAddr::new(Server::Rec01.address(inside), RECORDER));
        let urls = recorders.map(|recorder| format!("tcp://{recorder}"));
        carries::streams(&clip, || client.command("ffmpeg"), &urls).unwrap();
    }
}

#[test]
fn a_raw_client_gets_options_and_fragments_through_a_gateway_that_does_not_look() {
    if !can_run(&PROGRAMS) {
        return;
    }
    let topology = Topology::build().unwrap();
    let gateway = Reference::start(&topology, Family::V4).unwrap();
    let sniffer = Sniffer::start(&topology.recording).unwrap();
    let host = topology.add_client().unwrap();
    let mut client = RawClient::connect(&host, gateway.profile()).unwrap();
    let (from, to) =
        (SocketAddr::new(client.v4.into(), 40_000), SocketAddr::new(Server::Rec02.v4().into(), 9));
    let whole = packets::syn(from, to);
    let with_option = packets::ipv4(client.v4, Server::Rec02.v4(), packets::TCP, &[1, 1, 1, 0], &whole[20..]);
    let mut fragment = packets::datagram(from, to, b"part");
    packets::put(&mut fragment, 6, 0x2000);
    packets::fix_header(&mut fragment);
    for packet in [&with_option, &fragment, &whole] {
        client.send(packet).unwrap();
    }
    // The server refuses the last one, in an answer that arrives whole.
    let answer = client.receive(Duration::from_secs(10)).unwrap().unwrap();
    assert_eq!(answer.get(9), Some(&packets::TCP));
    let seen: Vec<_> = sniffer
        .seen()
        .unwrap()
        .iter()
        .filter(|seen| seen.destination == to.ip())
        .map(|seen| seen.protocol)
        .collect();
    assert_eq!(seen, [packets::TCP, packets::UDP, packets::TCP]);
}

#[test]
fn a_missing_frame_and_a_damaged_frame_are_found() {
    if !can_run(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip::make(&binaries::cache().unwrap(), video::CAMERA).unwrap();
    let whole = folder.path().join("whole.ts");
    std::fs::write(&whole, clip.bytes()).unwrap();
    clip.watch(Command::new("ffmpeg"), &whole.display().to_string()).unwrap();

    let short = folder.path().join("short.ts");
    std::fs::write(&short, &clip.bytes()[..clip.bytes().len() / 2 / 188 * 188]).unwrap();
    clip.watch(Command::new("ffmpeg"), &short.display().to_string()).unwrap_err();

    let mut bytes = clip.bytes().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let damaged = folder.path().join("damaged.ts");
    std::fs::write(&damaged, bytes).unwrap();
    clip.watch(Command::new("ffmpeg"), &damaged.display().to_string()).unwrap_err();
}

#[test]
fn the_relay_delays_loses_blacks_out_and_changes_its_address_as_told() {
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    for socket in [&far, &near] {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    let path = Path { delay: Duration::from_millis(40), loss: 0.2, seed: 7 };
    let inner = UdpSocket::bind("127.0.0.1:0").unwrap();
    let relay =
        Relay::start(inner, far.local_addr().unwrap(), Box::new(|| UdpSocket::bind("127.0.0.1:0")), path)
            .unwrap();
    let mut buffer = [0; 100];

    let sent = Instant::now();
    for i in 0..1000_u16 {
        near.send_to(&i.to_be_bytes(), relay.address()).unwrap();
    }
    let (_, first_address) = far.recv_from(&mut buffer).unwrap();
    assert!(sent.elapsed() >= path.delay, "arrived after {:?}", sent.elapsed());
    far.send_to(b"back", first_address).unwrap();
    assert_eq!(near.recv_from(&mut buffer).unwrap(), (4, relay.address()));
    let (lost, carried) = relay.counts();
    assert_eq!(lost + carried, 1001);
    assert!((150..250).contains(&lost), "lost {lost} of 1000 at 20 %, seed {}", path.seed);

    let changed = relay.change_address().unwrap();
    near.send_to(b"moved", relay.address()).unwrap();
    while far.recv_from(&mut buffer).unwrap().1 != changed {}

    relay.set_blackout(true);
    let before = relay.counts();
    near.send_to(b"lost", relay.address()).unwrap();
    while relay.counts().0 == before.0 {
        std::thread::yield_now();
    }
    assert_eq!(relay.counts(), (before.0 + 1, before.1));
}

/// A folder that every user may enter.
fn shared_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}
