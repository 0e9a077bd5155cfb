//! The proxy as SOCKS5 programs see it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use vmsgate_shim::proxy::{Access, Password};

use crate::end_to_end::{PATIENCE, Running, greeting, run, servers};
use crate::support::Site;

const NO_AUTHENTICATION: &[u8] = &[5, 1, 0];

/// The proxy's address and, in the right form, its password.
fn proxy(running: &Running<'_>) -> SocketAddr {
    running.shim.report().proxy.expect("it is a proxy").listen
}

fn credentials(password: &str) -> Vec<u8> {
    [&[1, 7][..], b"vmsgate", &[password.len() as u8], password.as_bytes()].concat()
}

fn request(command: u8, host: &str, port: u16) -> Vec<u8> {
    let address = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => [&[1][..], &v4.octets()].concat(),
        Ok(IpAddr::V6(v6)) => [&[4][..], &v6.octets()].concat(),
        Err(_) => [&[3, host.len() as u8][..], host.as_bytes()].concat(),
    };
    [&[5, command, 0][..], &address, &port.to_be_bytes()].concat()
}

async fn read<const N: usize>(socket: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    let read = tokio::time::timeout(PATIENCE, socket.read_exact(&mut bytes)).await;
    read.expect("an answer comes").unwrap();
    bytes
}

/// Asks an open proxy for a connection: the reply code, and the connection.
async fn connect(at: SocketAddr, host: &str, port: u16) -> (u8, TcpStream) {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(NO_AUTHENTICATION).await.unwrap();
    assert_eq!(read(&mut socket).await, [5, 0]);
    socket.write_all(&request(1, host, port)).await.unwrap();
    let [version, reply, rest @ ..] = read::<10>(&mut socket).await;
    assert_eq!((version, rest), (5, [0, 1, 0, 0, 0, 0, 0, 0]));
    (reply, socket)
}

async fn is_closed(socket: &mut TcpStream) {
    let read = tokio::time::timeout(PATIENCE, socket.read_u8()).await.expect("it is closed");
    assert_eq!(read.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn servers_are_reached_by_their_names_and_addresses() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::open());
        running.ready().await;
        let at = proxy(&running);

        for (host, port, expected) in [
            (site.name("mgmt"), 8081, "192.168.10.10:8081"),
            (format!("{}.vms.local", site.name("mgmt")).to_uppercase(), 8081, "192.168.10.10:8081"),
            (format!("{}.", site.name("rec01")), 7563, "192.168.10.21:7563"),
            (site.name("rec02"), 7563, "[fd00:10::22]:7563"),
            ("192.168.10.21".to_owned(), 7563, "192.168.10.21:7563"),
            ("fd00:10::22".to_owned(), 7563, "[fd00:10::22]:7563"),
        ] {
            let (reply, mut socket) = connect(at, &host, port).await;
            assert_eq!(reply, 0, "{host}");
            assert_eq!(greeting(&mut socket).await.unwrap(), expected);
        }
        let report = running.shim.report();
        assert!(report.servers.iter().all(|server| server.loopback.is_none() && server.listeners.is_empty()));
        assert_eq!((report.servers[0].services[0].first, report.servers[0].services[0].last), (8081, 8082));
        running.shim.stop().await;
    });
}

#[test]
fn a_dialogue_that_comes_at_once_or_byte_by_byte_is_the_same() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let password = Password::random();
        let mut running = Running::start_as_proxy(&site, Access::with(password.clone()));
        running.ready().await;
        let whole = [
            &[5, 2, 0, 2][..],
            &credentials(password.reveal()),
            &request(1, &site.name("rec01"), 7563),
            b"early data",
        ]
        .concat();
        for piece in [1, 7, whole.len()] {
            let mut socket = TcpStream::connect(proxy(&running)).await.unwrap();
            socket.set_nodelay(true).unwrap();
            for bytes in whole.chunks(piece) {
                socket.write_all(bytes).await.unwrap();
                // Lets the shim, which runs on this thread, read it by itself.
                tokio::task::yield_now().await;
            }
            assert_eq!(read(&mut socket).await, [5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            assert_eq!(greeting(&mut socket).await.unwrap(), "192.168.10.21:7563");
            assert_eq!(&read(&mut socket).await, b"early data");
        }
        running.shim.stop().await;
    });
}

#[test]
fn without_the_password_nobody_comes_in() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::with(Password::random()));
        running.ready().await;
        let at = proxy(&running);

        let mut socket = TcpStream::connect(at).await.unwrap();
        socket.write_all(NO_AUTHENTICATION).await.unwrap();
        assert_eq!(read(&mut socket).await, [5, 0xff]);
        is_closed(&mut socket).await;

        let mut socket = TcpStream::connect(at).await.unwrap();
        socket.write_all(&[5, 1, 2]).await.unwrap();
        assert_eq!(read(&mut socket).await, [5, 2]);
        socket.write_all(&credentials("guessed")).await.unwrap();
        assert_eq!(read(&mut socket).await, [1, 1]);
        is_closed(&mut socket).await;
        running.shim.stop().await;
    });
}

#[test]
fn each_reason_has_its_reply() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::open());
        running.ready().await;
        let at = proxy(&running);
        let mgmt = site.name("mgmt");
        for (host, port, expected) in [
            (mgmt.as_str(), 1433, 2),
            ("192.168.10.99", 80, 2),
            ("localhost", 80, 4),
            ("example.org", 443, 4),
            ("not a name", 80, 4),
        ] {
            let (reply, mut socket) = connect(at, host, port).await;
            assert_eq!(reply, expected, "{host}:{port}");
            is_closed(&mut socket).await;
        }
        let failure = running.shim.report().last_failure.expect("it is remembered");
        assert_eq!(failure.to, "example.org:443");

        for (bytes, expected) in [
            (request(2, "192.168.10.10", 8081), 7),
            (request(9, "192.168.10.10", 8081), 7),
            (vec![5, 1, 0, 2], 8),
        ] {
            let mut socket = TcpStream::connect(at).await.unwrap();
            socket.write_all(&[NO_AUTHENTICATION, &bytes].concat()).await.unwrap();
            let [0x05, 0, 5, reply, ..] = read::<12>(&mut socket).await else { panic!() };
            assert_eq!(reply, expected);
            is_closed(&mut socket).await;
        }
        running.shim.stop().await;
    });
}

#[test]
fn before_the_gateway_has_answered_names_are_refused_and_said_why() {
    run(async {
        let site = Site::new();
        let running = Running::start_as_proxy(&site, Access::open());
        let (reply, mut socket) = connect(proxy(&running), &site.name("mgmt"), 8081).await;
        assert_eq!(reply, 3);
        is_closed(&mut socket).await;
        running.shim.stop().await;
    });
}

#[test]
fn what_is_no_proxy_protocol_is_closed_and_stopping_resets_what_is_open() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::open());
        running.ready().await;
        let at = proxy(&running);
        for other in [&b"\x04"[..], b"\x16\x03\x01", b"get"] {
            let mut socket = TcpStream::connect(at).await.unwrap();
            socket.write_all(other).await.unwrap();
            let read = tokio::time::timeout(PATIENCE, socket.read_u8()).await.expect("it is closed");
            read.unwrap_err();
        }
        let (reply, mut socket) = connect(at, &site.name("rec01"), 7563).await;
        assert_eq!(reply, 0);
        greeting(&mut socket).await.unwrap();
        assert_eq!(running.shim.report().open_connections, 1);

        running.shim.stop().await;

        assert_eq!(socket.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(TcpStream::connect(at).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

/// Asks for an association: the connection that keeps it, and where it is.
async fn associate(at: SocketAddr, from: SocketAddr) -> (TcpStream, SocketAddr) {
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(NO_AUTHENTICATION).await.unwrap();
    assert_eq!(read(&mut socket).await, [5, 0]);
    socket.write_all(&request(3, &from.ip().to_string(), from.port())).await.unwrap();
    let [5, 0, 0, 1, 127, 0, 0, 1, high, low] = read(&mut socket).await else { panic!() };
    (socket, SocketAddr::new(at.ip(), u16::from_be_bytes([high, low])))
}

fn datagram(host: &str, port: u16, payload: &[u8]) -> Vec<u8> {
    let header = request(0, host, port);
    [&[0, 0, 0], &header[3..], payload].concat()
}

async fn next(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 2048];
    let received = tokio::time::timeout(PATIENCE, socket.recv(&mut bytes)).await;
    let length = received.expect("a datagram comes").unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn datagrams_reach_servers_by_name_and_their_answers_come_back() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::open());
        running.ready().await;
        let program = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (kept, relay) = associate(proxy(&running), "0.0.0.0:0".parse().unwrap()).await;
        program.connect(relay).await.unwrap();

        for (host, port, payload, from) in [
            (site.name("mgmt"), 8081, &b"one"[..], "192.168.10.10"),
            ("192.168.10.21".to_owned(), 7563, &[7; 1392][..], "192.168.10.21"),
            (site.name("rec02"), 7563, &b""[..], "fd00:10::22"),
        ] {
            // Neither a fragment, nor an unknown name, nor one that is too long for the tunnel has an answer.
            let mut fragment = datagram(&host, port, b"fragment");
            fragment[2] = 1;
            program.send(&fragment).await.unwrap();
            program.send(&datagram("example.org", port, b"unknown")).await.unwrap();
            program.send(&datagram(&host, port, &[0; 1400])).await.unwrap();
            program.send(b"\0").await.unwrap();
            program.send(&datagram(&host, port, payload)).await.unwrap();
            assert_eq!(next(&program).await, datagram(from, port, payload));
        }

        drop(kept);
        let ended = async {
            while running.shim.report().open_connections > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the association ends with its connection");
        let _ = program.send(b"\0").await;
        let error =
            tokio::time::timeout(PATIENCE, program.recv(&mut [0; 16])).await.expect("the port is closed");
        assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        running.shim.stop().await;
    });
}

#[test]
fn an_association_is_its_programs_alone() {
    run(async {
        let site = Site::new();
        let _gateway = site.start(&servers(&site));
        let mut running = Running::start_as_proxy(&site, Access::open());
        running.ready().await;
        let [program, other] =
            [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let (_kept, relay) = associate(proxy(&running), program.local_addr().unwrap()).await;
        let mgmt = site.name("mgmt");
        other.send_to(&datagram(&mgmt, 8081, b"other"), relay).await.unwrap();
        program.send_to(&datagram(&mgmt, 8081, b"mine"), relay).await.unwrap();
        assert_eq!(next(&program).await, datagram("192.168.10.10", 8081, b"mine"));
        assert_eq!(other.try_recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock);
        running.shim.stop().await;
    });
}
