//! A program's socket, a tunnel of two userspace stacks, and a server's socket:
//!
//! ```text
//! program <-tcp-> pump <-> stack <-memory-> stack <-> pump <-tcp-> server
//! ```

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep_until, timeout};
use vmsgate_pump::{PumpEnd, Stack, Stream, Traffic, pump};
use vmsgate_tunnel::netstack::{ConnectionId, NetStack, OwnerId, StackConfig};

const OWNER: OwnerId = OwnerId(1);

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends of the whole path, and the pumps between them.
pub(crate) struct Path {
    pub(crate) program: TcpStream,
    pub(crate) server: TcpStream,
    pub(crate) near: Pump,
    pub(crate) far: Pump,
}

pub(crate) struct Pump {
    pub(crate) traffic: Rc<Traffic>,
    pub(crate) end: JoinHandle<PumpEnd>,
}

/// Runs a test on one thread, as pumps are meant to, and fails it if it hangs.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = async { timeout(PATIENCE, test).await.expect("the test hangs") };
    LocalSet::new().block_on(&runtime, done);
}

impl Path {
    pub(crate) async fn open() -> Self {
        let (near, far) = tunnel().await;
        let (program, near_socket) = sockets().await;
        let (server, far_socket) = sockets().await;
        Self { program, server, near: Pump::start(near, near_socket), far: Pump::start(far, far_socket) }
    }
}

impl Pump {
    pub(crate) fn start(stream: Stream, socket: TcpStream) -> Self {
        let traffic = Rc::new(Traffic::default());
        let counted = traffic.clone();
        Self { traffic, end: spawn_local(async move { pump(stream, socket, &counted).await }) }
    }
}

/// A connected pair of sockets on loopback.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// A connected pair of streams of two stacks.
pub(crate) async fn tunnel() -> (Stream, Stream) {
    let now = Instant::now();
    let stack = |seed| Stack::new(NetStack::new(StackConfig::default(), seed, now));
    let (near, far) = (stack(1), stack(2));
    let ends = ["10.0.0.1:40000", "192.168.1.1:7563"].map(|end| end.parse::<SocketAddr>().unwrap());
    let stream = near.connect(OWNER, ends.into(), u16::MAX, now).unwrap();
    let accepted = Rc::new(RefCell::new(None));
    spawn_local(carry(near, stream.id(), far, accepted.clone()));
    stream.connected().await.unwrap();
    let accepted = accepted.borrow_mut().take().expect("the far stack has accepted");
    (stream, accepted)
}

/// Carries packets between two stacks that have one connection.
async fn carry(near: Stack, near_id: ConnectionId, far: Stack, accepted: Rc<RefCell<Option<Stream>>>) {
    let mut far_id = None;
    loop {
        let now = Instant::now();
        let mut packets = Vec::new();
        let mut more = near.poll_transmit(now, 64, &mut |_, packet| packets.push(packet.to_vec()));
        for packet in packets.drain(..) {
            match far_id {
                // Stragglers of a finished connection are unknown, and fail.
                Some(id) => drop(far.handle_packet(id, &packet, now)),
                None => {
                    let stream = far.accept(OWNER, &packet, now).unwrap();
                    far_id = Some(stream.id());
                    *accepted.borrow_mut() = Some(stream);
                }
            }
        }
        more |= far.poll_transmit(now, 64, &mut |_, packet| packets.push(packet.to_vec()));
        for packet in packets {
            let _ = near.handle_packet(near_id, &packet, now);
        }
        if more || near.inspect(NetStack::has_work) {
            tokio::task::yield_now().await;
            continue;
        }
        let next = near.poll_timeout().into_iter().chain(far.poll_timeout()).min();
        let next = next.unwrap_or(now + PATIENCE);
        tokio::select! {
            () = near.work() => {}
            () = far.work() => {}
            () = sleep_until(next.into()) => {}
        }
    }
}

/// Bytes that show a wrong order, a gap and a repetition.
pub(crate) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8 ^ (n / 65_537) as u8 ^ seed).collect()
}
