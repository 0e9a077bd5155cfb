//! The servers of the recording network: what clients may reach, and what nobody may.
//!
//! - `mgmt:80`: nginx, a real web server ([`web`](crate::web)).
//! - `rec*:7563`: the recorder, which plays the clip to each client at the speed it was filmed ([`video`]).
//! - every other port of [`OPEN_TCP`] and [`OPEN_UDP`]: open, as on a real Windows server, and greeting whoever comes.
//!
//! Every connection and datagram that arrives is written down. That is the proof of a refusal: not that the client saw
//! an error, but that the server saw nothing.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    runtime::Runtime,
    time::{self, Instant},
};

use crate::{
    topology::{Family, Server, Topology},
    video::{self, Clip},
};

/// Where recorders serve video.
pub const RECORDER: u16 = 7563;

/// Open TCP ports besides the web and recorder ports, on every server: two that a role may reach (HTTPS and the event
/// server) and a choice of those that no client may.
pub const OPEN_TCP: [u16; 11] = [22, 135, 443, 445, 1433, 3389, 5432, 5985, 8080, 9000, 22_331];

/// Open UDP ports on every server. No role may reach any.
pub const OPEN_UDP: [u16; 4] = [53, 161, 1434, 3702];

/// What one arrival looked like from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// Whether it came by UDP.
    pub udp: bool,
    /// The server's address and port.
    pub to: SocketAddr,
    /// Who it seemed to come from.
    pub from: SocketAddr,
}

/// The running servers. Dropping it ends them.
#[derive(Debug)]
pub struct Recording {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    runtime: Option<Runtime>,
}

impl Recording {
    /// Opens the recorder and every other port in the recording network. nginx is started apart, by [`crate::web`].
    ///
    /// # Errors
    /// When a port cannot be opened.
    pub fn start(topology: &Topology, clip: Clip) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let clip = Arc::new(clip);
        let in_runtime = runtime.enter();
        for port in OPEN_TCP {
            let listener = topology.recording.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))??;
            runtime.spawn(accept(nonblocking(listener)?, Arc::clone(&arrivals), None));
        }
        for server in [Server::Rec01, Server::Rec02] {
            for family in Family::BOTH {
                let address = (server.address(family), RECORDER);
                let listener = topology.recording.run(|| TcpListener::bind(address))??;
                runtime.spawn(accept(nonblocking(listener)?, Arc::clone(&arrivals), Some(Arc::clone(&clip))));
            }
        }
        for port in OPEN_UDP {
            let socket = topology.recording.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)))??;
            socket.set_nonblocking(true)?;
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            runtime.spawn(answer(socket, port, Arc::clone(&arrivals)));
        }
        drop(in_runtime);
        Ok(Self { arrivals, runtime: Some(runtime) })
    }

    /// Everything that has arrived at these ports so far.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Arrivals = Arc<Mutex<Vec<Arrival>>>;

/// Serves every connection: the clip at the speed it was filmed, or a greeting and an echo.
async fn accept(listener: tokio::net::TcpListener, arrivals: Arrivals, clip: Option<Arc<Clip>>) {
    while let Ok((stream, from)) = listener.accept().await {
        let Ok(to) = stream.local_addr() else { continue };
        note(&arrivals, Arrival { udp: false, to: plain(to), from: plain(from) });
        let clip = clip.clone();
        tokio::spawn(async move {
            // The client may leave at any time; that is its affair.
            let _ = match clip {
                Some(clip) => play(stream, &clip).await,
                None => greet(stream).await,
            };
        });
    }
}

async fn play(mut stream: TcpStream, clip: &Clip) -> io::Result<()> {
    let start = Instant::now();
    for (i, chunk) in (0..).zip(clip.bytes().chunks(clip.bytes_per_tick())) {
        time::sleep_until(start + video::TICK * i).await;
        stream.write_all(chunk).await?;
    }
    stream.shutdown().await
}

async fn greet(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"220 recording network\r\n").await?;
    let (mut from_client, mut to_client) = stream.split();
    tokio::io::copy(&mut from_client, &mut to_client).await?;
    to_client.shutdown().await
}

/// Echoes every datagram.
async fn answer(socket: tokio::net::UdpSocket, port: u16, arrivals: Arrivals) {
    let mut datagram = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
        let unknown = if plain(from).is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            IpAddr::from(Ipv6Addr::UNSPECIFIED)
        };
        note(&arrivals, Arrival { udp: true, to: SocketAddr::new(unknown, port), from: plain(from) });
        let _ = socket.send_to(datagram.get(..length).unwrap_or_default(), from).await;
    }
}

fn note(arrivals: &Arrivals, arrival: Arrival) {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
}

fn nonblocking(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// An IPv4 address that came mapped into IPv6 is IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
