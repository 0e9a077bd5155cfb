//! Packets from a client to a server and back: client – `vmsgate0` host `lan0` – server.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use vmsgate_netsetup::{Kernel, apply};

use crate::namespace::{Namespace, plan, sh};

const CLIENT: [&str; 2] = ["10.99.0.2", "fd00:99::2"];
const HOST: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const SERVER: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

#[test]
fn servers_see_the_hosts_address_and_answers_reach_the_client() {
    let Some(site) = Site::create(true) else { return };
    for family in 0..2 {
        let client = site.client.run(move || socket(CLIENT[family]));
        let server = site.server.run(move || socket(SERVER[family]));
        let seen = deliver(&client, &server);
        assert_eq!(seen.ip(), address(HOST[family]));
        server.send_to(b"answer", seen).unwrap();
        let mut answer = [0; 16];
        let (length, from) = client.recv_from(&mut answer).unwrap();
        assert_eq!((&answer[..length], from), (&b"answer"[..], server.local_addr().unwrap()));
    }
}

#[test]
fn without_masquerade_servers_see_the_clients_own_address() {
    let Some(site) = Site::create(false) else { return };
    for family in 0..2 {
        let client = site.client.run(move || socket(CLIENT[family]));
        let server = site.server.run(move || socket(SERVER[family]));
        assert_eq!(deliver(&client, &server), client.local_addr().unwrap());
    }
}

#[test]
fn what_does_not_come_from_clients_keeps_its_source() {
    let Some(site) = Site::create(true) else { return };
    for family in 0..2 {
        let client = site.client.run(move || socket(CLIENT[family]));
        let server = site.server.run(move || socket(SERVER[family]));
        // On a cable the host first has to learn the client's Ethernet address; a TUN has none.
        let earlier = site.client.run(move || socket(CLIENT[family]));
        deliver(&earlier, &server);
        assert_eq!(deliver(&server, &client), server.local_addr().unwrap());
    }
}

struct Site {
    client: Namespace,
    server: Namespace,
    _host: Namespace,
    _kernel: Kernel,
}

impl Site {
    /// A cable stands for the tunnel: the kernel does not care how packets come out of `vmsgate0`.
    fn create(masquerade: bool) -> Option<Self> {
        let (host, client, server) = (Namespace::create()?, Namespace::create()?, Namespace::create()?);
        let (client_thread, server_thread) = (client.thread(), server.thread());
        let kernel = host.run(move || {
            sh(&format!("ip link add vmsgate0 type veth peer name eth0 netns {client_thread}"));
            sh(&format!("ip link add lan0 type veth peer name eth0 netns {server_thread}"));
            sh("ip link set lan0 up");
            for address in HOST {
                sh(&format!("ip address add {} dev lan0", with_prefix(address)));
            }
            apply(&plan(masquerade)).unwrap()
        });
        attach(&client, CLIENT, ["10.99.0.1", "fd00:99::1"]);
        attach(&server, SERVER, HOST);
        Some(Self { client, server, _host: host, _kernel: kernel })
    }
}

fn attach(namespace: &Namespace, addresses: [&'static str; 2], routers: [&'static str; 2]) {
    namespace.run(move || {
        sh("ip link set eth0 up");
        for (address, router) in addresses.into_iter().zip(routers) {
            sh(&format!("ip address add {} dev eth0", with_prefix(address)));
            sh(&format!("ip route add default via {router}"));
        }
    });
}

fn with_prefix(address: &str) -> String {
    let length = if address.contains(':') { 64 } else { 24 };
    format!("{address}/{length}")
}

fn socket(local: &str) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(address(local), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Sends a datagram; for the source that the receiver sees.
fn deliver(from: &UdpSocket, to: &UdpSocket) -> SocketAddr {
    from.send_to(b"question", to.local_addr().unwrap()).unwrap();
    let mut question = [0; 16];
    let (length, source) = to.recv_from(&mut question).unwrap();
    assert_eq!(&question[..length], b"question");
    source
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
