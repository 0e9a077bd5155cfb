//! The harness itself, against a gateway of stock WireGuard and kernel routing that lets everything through.
//!
//! Each measure that later says "nothing was lost" or "nothing got through" must be able to say the opposite.

use std::{
    io::Read,
    net::{SocketAddr, TcpStream, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use vmsgate_tests::{
    binaries,
    netns::{self, Netns},
    process::{Process, User, command},
    recording::{OPEN_TCP, RECORDER, Recording},
    reference::Reference,
    relay::{Path, Relay},
    require::can_run,
    sniffer::Sniffer,
    stock::{PROGRAMS, StockClient},
    topology::{Family, Server, Topology},
    video::Clip,
    web::{self, FILE_BYTES, Web},
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
        let clip = Clip::make(&binaries::cache().unwrap()).unwrap();
        let recording = Recording::start(&topology, clip.clone()).unwrap();
        let sniffer = Sniffer::start(&topology.recording).unwrap();
        let web = Web::start(&topology, folder.path()).unwrap();
        let gateway = Reference::start(&topology, outside).unwrap();
        let client = StockClient::up(topology.add_client().unwrap(), gateway.profile()).unwrap();

        for inside in Family::BOTH {
            let site = SocketAddr::new(Server::Mgmt.address(inside), 80);
            let fetched = web::fetch(client.command("curl"), &format!("http://{site}/file")).unwrap();
            assert_eq!(fetched, (FILE_BYTES as u64, web.checksum.clone()), "{outside} outside, {inside} inside");
            web::upload(client.command("curl"), &web.file(), &format!("http://{site}/upload/{inside}")).unwrap();
            assert_eq!(web.uploaded(&inside.to_string()).unwrap(), web.checksum);
            let recorder = SocketAddr::new(Server::Rec01.address(inside), RECORDER);
            clip.watch(client.command("ffmpeg"), &format!("tcp://{recorder}")).unwrap();
            // A reference gateway lets everything through, and the servers notice.
            for port in OPEN_TCP {
                let forbidden = SocketAddr::new(Server::Rec02.address(inside), port);
                let mut stream = client.host.namespace.run(|| TcpStream::connect(forbidden)).unwrap().unwrap();
                stream.read_exact(&mut [0; 3]).unwrap();
                assert!(recording.arrivals().iter().any(|arrival| arrival.to == forbidden), "{forbidden}");
                assert!(
                    sniffer.seen().iter().any(|seen| seen.opens && (seen.destination, seen.port) == (forbidden.ip(), port)),
                    "{forbidden}"
                );
            }
        }
    }
}

#[test]
fn a_missing_frame_and_a_damaged_frame_are_found() {
    if !can_run(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip::make(&binaries::cache().unwrap()).unwrap();
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
        Relay::start(inner, far.local_addr().unwrap(), Box::new(|| UdpSocket::bind("127.0.0.1:0")), path).unwrap();
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
