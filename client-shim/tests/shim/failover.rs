//! Several endpoints: the shim goes to another when one falls silent, and back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use vmsgate_shim::{Event, Profile, Shim};

use crate::end_to_end::{PATIENCE, greeting, run};
use crate::support::{Line, Server, Site, own_endpoint};

fn servers(site: &Site) -> Vec<Server> {
    vec![site.server("rec", "192.168.10.21", 7563..=7563)]
}

/// Brings up the profile with `endpoint` from a file, so that it has a place to remember.
fn up(site: &Site, endpoint: SocketAddr) -> (Shim, mpsc::UnboundedReceiver<Event>) {
    let path = site.profile_file_of(&site.profile_text_through(endpoint));
    let (tell, events) = mpsc::unbounded_channel();
    (Shim::start(Profile::read(&path).unwrap(), Vec::new(), tell), events)
}

async fn ready(events: &mut mpsc::UnboundedReceiver<Event>) {
    let told = async { while events.recv().await.expect("the shim runs") != Event::SiteChanged {} };
    tokio::time::timeout(PATIENCE, told).await.expect("the servers are told");
}

/// Waits until the link works over `endpoint`.
async fn works_over(shim: &Shim, endpoint: SocketAddr) {
    let mut link = shim.link();
    let there = link.wait_for(|link| link.is_connected() && link.endpoint == Some(endpoint));
    let there = tokio::time::timeout(PATIENCE, there).await.is_ok();
    assert!(there, "not over {endpoint}: {:?}", shim.link().borrow());
}

async fn connect(shim: &Shim) -> TcpStream {
    let listen = shim.report().servers[0].listeners[0].listen;
    let mut socket = TcpStream::connect(listen).await.unwrap();
    greeting(&mut socket).await.unwrap();
    socket
}

async fn echoes(socket: &mut TcpStream, text: &str) {
    let exchange = async {
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut back = vec![0; text.len()];
        socket.read_exact(&mut back).await.unwrap();
        assert_eq!(back, text.as_bytes());
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("the connection goes on");
}

#[test]
fn with_two_lines_to_one_gateway_a_connection_survives_the_change_to_the_other_and_back() {
    run(async {
        let site = Site::new();
        let (first, second) = (Line::to(site.endpoint).await, Line::to(site.endpoint).await);
        site.registry.lock().unwrap().endpoints =
            [&first, &second].map(|line| line.address.to_string()).to_vec();
        let _gateway = site.start(&servers(&site));
        let (shim, mut events) = up(&site, first.address);
        ready(&mut events).await;
        works_over(&shim, first.address).await;
        let mut socket = connect(&shim).await;

        first.cut();
        works_over(&shim, second.address).await;
        echoes(&mut socket, "over the second line").await;

        first.mend();
        works_over(&shim, first.address).await;
        echoes(&mut socket, "and back").await;
        shim.stop().await;
    });
}

#[test]
fn the_other_endpoints_are_known_at_the_next_start() {
    run(async {
        let site = Site::new();
        let (first, second) = (Line::to(site.endpoint).await, Line::to(site.endpoint).await);
        site.registry.lock().unwrap().endpoints =
            [&first, &second].map(|line| line.address.to_string()).to_vec();
        let _gateway = site.start(&servers(&site));
        let (shim, mut events) = up(&site, first.address);
        ready(&mut events).await;
        shim.stop().await;

        first.cut();
        let (shim, mut events) = up(&site, first.address);
        ready(&mut events).await;
        works_over(&shim, second.address).await;
        shim.stop().await;
    });
}

#[test]
fn with_two_gateways_a_connection_is_reset_by_the_other_and_an_idle_client_goes_back() {
    run(async {
        let site = Site::new();
        let other = own_endpoint();
        site.registry.lock().unwrap().endpoints = vec![site.endpoint.to_string(), other.to_string()];
        let gateway = site.start(&servers(&site));
        let _other = site.start_at(other, &servers(&site));
        let (shim, mut events) = up(&site, site.endpoint);
        ready(&mut events).await;
        let mut socket = connect(&shim).await;

        drop(gateway);
        works_over(&shim, other).await;
        let told = tokio::time::timeout(PATIENCE, socket.read_u8()).await.expect("the program is told");
        assert_eq!(told.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        drop(connect(&shim).await);

        let _gateway = site.start(&servers(&site));
        works_over(&shim, site.endpoint).await;
        drop(connect(&shim).await);
        shim.stop().await;
    });
}
