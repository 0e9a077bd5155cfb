//! A flood of worthless datagrams from many sources, at a steady rate: what a gateway on the internet must bear.
//!
//! Four kinds take turns: random bytes under every message type; handshakes of strangers who know the gateway's public key,
//! so that mac1 is right; one genuine handshake of a client, played again; and datagrams of an open session, played again.
//! Sources are drawn from the 65,534 addresses of a crowd's machine, anew for each train of equal datagrams.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use boringtun::{
    noise::Tunn,
    x25519::{PublicKey, StaticSecret},
};
use quinn_udp::{Transmit, UdpSocketState};

use super::handshakes::initiate;
use crate::{raw::Keys, site::SOURCES, topology::ClientHost};

/// Different handshakes of strangers; each is sent again and again.
const FORGED: u32 = 256;
/// Datagrams of one train: one system call, so that the sender leaves most of the machine to the gateway.
const TRAIN: usize = 16;
/// The sender rests between bursts, and gives up a gap larger than `BURST` instead of catching up.
const REST: Duration = Duration::from_micros(200);
const BURST: u64 = 4096;

/// What to send again.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// A handshake initiation that the gateway has answered.
    pub initiation: Vec<u8>,
    /// Datagrams of an open session that the gateway has had.
    pub session: Vec<Vec<u8>>,
}

/// A running flood. Dropping it ends it.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Sent>>,
}

/// How much was sent, by kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// Random bytes.
    pub random: u64,
    /// Handshakes of strangers.
    pub forged: u64,
    /// Handshakes played again.
    pub replayed: u64,
    /// Datagrams of a session played again.
    pub session: u64,
    /// How long the flood went on.
    pub time: Duration,
}

impl Sent {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.random + self.forged + self.replayed + self.session
    }
}

impl Flood {
    /// Sends `rate` datagrams per second from `crowd` to `gateway`, whose public key is that of `keys`.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn start(
        crowd: &ClientHost,
        gateway: SocketAddr,
        keys: &Keys,
        recorded: Recorded,
        rate: u32,
        seed: u64,
    ) -> Result<Self> {
        let socket = crowd.namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        socket.set_nonblocking(true)?;
        let offload = UdpSocketState::new((&socket).into())?;
        offload.set_send_buffer_size((&socket).into(), 4 << 20)?;
        let mut random = fastrand::Rng::with_seed(seed);
        let forged = (0..FORGED).map(|i| forged(keys.gateway, i, &mut random)).collect::<Result<_>>()?;
        let stop = Arc::<AtomicBool>::default();
        let mut sender = Sender {
            socket,
            offload,
            gateway,
            forged,
            recorded,
            random,
            train: Vec::new(),
            sent: Sent::default(),
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("flood".into()).spawn(move || {
            sender.run(rate, &stopped);
            sender.sent
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it and says how much was sent.
    ///
    /// # Errors
    /// When its thread panicked.
    pub fn stop(mut self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the flood has ended")?;
        thread.join().map_err(|_| anyhow!("the flood's thread panicked"))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Sender {
    socket: UdpSocket,
    offload: UdpSocketState,
    gateway: SocketAddr,
    forged: Vec<Vec<u8>>,
    recorded: Recorded,
    random: fastrand::Rng,
    train: Vec<u8>,
    sent: Sent,
}

impl Sender {
    fn run(&mut self, rate: u32, stop: &AtomicBool) {
        let began = Instant::now();
        let (mut due, mut turn) = (0_u64, 0_u64);
        while !stop.load(Ordering::Relaxed) {
            let now = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            let mut left = (now - due).min(BURST);
            due = now - left % TRAIN as u64;
            while left >= TRAIN as u64 {
                self.train(turn);
                turn += 1;
                left -= TRAIN as u64;
            }
            thread::sleep(REST);
        }
        self.sent.time = began.elapsed();
    }

    /// Sends one train of the kind whose turn it is, from one source. A full queue is loss, as on any path.
    fn train(&mut self, turn: u64) {
        self.train.clear();
        let pick = self.random.usize(..);
        let (length, counter) = match turn % 4 {
            0 => {
                let length = self.random.usize(1..=256);
                self.train.resize(length * TRAIN, 0);
                self.random.fill(&mut self.train);
                for datagram in self.train.chunks_exact_mut(length).filter(|datagram| datagram.len() >= 4) {
                    let kind = self.random.u8(0..6);
                    if let Some(start) = datagram.get_mut(..4) {
                        start.copy_from_slice(&[kind, 0, 0, 0]);
                    }
                }
                (length, &mut self.sent.random)
            }
            1 => (repeat(&mut self.train, &self.forged, pick), &mut self.sent.forged),
            2 => {
                let initiation = std::slice::from_ref(&self.recorded.initiation);
                (repeat(&mut self.train, initiation, pick), &mut self.sent.replayed)
            }
            _ => (repeat(&mut self.train, &self.recorded.session, pick), &mut self.sent.session),
        };
        let host = self.random.u32(1..65_535);
        let transmit = Transmit {
            destination: self.gateway,
            ecn: None,
            contents: &self.train,
            segment_size: Some(length),
            src_ip: Some(IpAddr::V4(Ipv4Addr::from_bits(SOURCES.to_bits() + host))),
        };
        if self.offload.try_send((&self.socket).into(), &transmit).is_ok() {
            *counter += TRAIN as u64;
        }
    }
}

/// Fills `train` with neighbours of the same length and returns that length.
fn repeat(train: &mut Vec<u8>, datagrams: &[Vec<u8>], pick: usize) -> usize {
    let count = datagrams.len().max(1);
    let length = datagrams.get(pick % count).map_or(0, Vec::len);
    let equal = datagrams.iter().cycle().skip(pick % count).filter(|datagram| datagram.len() == length);
    equal.take(TRAIN).for_each(|datagram| train.extend(datagram));
    length
}

/// The first message of somebody who knows the gateway's public key and is no client.
fn forged(gateway: [u8; 32], index: u32, random: &mut fastrand::Rng) -> Result<Vec<u8>> {
    let mut private = [0; 32];
    random.fill(&mut private);
    let mut tunnel =
        Tunn::new(StaticSecret::from(private), PublicKey::from(gateway), None, None, index, None);
    initiate(&mut tunnel)
}
