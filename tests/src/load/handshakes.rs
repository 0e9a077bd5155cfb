//! First handshakes of many clients, so many in flight at a time, each client from an address of its own.
//!
//! One socket serves them all: every address of the range must be local to its namespace, and each datagram names the one
//! that it leaves from. Cookies are answered as any client answers them.

use std::{
    collections::VecDeque,
    hint::black_box,
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use boringtun::{
    noise::{Tunn, TunnResult},
    x25519::{PublicKey, StaticSecret},
};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use serde::Serialize;

use crate::raw::Keys;

/// A handshake that has not completed after so long is given up.
const TIMEOUT: Duration = Duration::from_secs(1);
const BUFFER: usize = 16 << 20;
const RESPONSE: u8 = 2;
const COOKIE: u8 = 3;

/// How it went.
#[derive(Debug, Serialize)]
pub struct Outcome {
    completed: usize,
    cookies: usize,
    timeouts: usize,
    seconds: f64,
    per_second: f64,
    p50_us: u128,
    p99_us: u128,
    /// What the four X25519 of a handshake's responder cost alone, on one core.
    floor_us: f64,
}

/// Performs the handshake of every client, `window` of them at a time; client `i` has the address `sources` + 1 + `i`.
///
/// # Errors
/// When the socket fails; a handshake that fails is counted.
pub fn run(clients: &[Keys], gateway: SocketAddr, sources: Ipv4Addr, window: usize) -> Result<Outcome> {
    let mut load = Handshakes::prepare(clients, gateway, sources)?;
    let began = Instant::now();
    while load.next < load.clients.len() || !load.in_flight.is_empty() {
        while load.in_flight.len() < window && load.next < load.clients.len() {
            load.begin()?;
        }
        load.receive()?;
        load.give_up_on_late_ones();
    }
    Ok(load.outcome(began))
}

struct Handshakes {
    clients: Vec<Client>,
    socket: UdpSocket,
    offload: UdpSocketState,
    buffers: Vec<Vec<u8>>,
    gateway: SocketAddr,
    sources: u32,
    next: usize,
    in_flight: VecDeque<usize>,
    finished: Option<Instant>,
    latencies: Vec<u128>,
    cookies: usize,
    timeouts: usize,
}

struct Client {
    tunnel: Tunn,
    initiation: Vec<u8>,
    began: Option<Instant>,
    done: bool,
}

impl Handshakes {
    /// Everything that is not the handshake itself happens before the clock runs: the first messages too.
    fn prepare(clients: &[Keys], gateway: SocketAddr, sources: Ipv4Addr) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let offload = UdpSocketState::new((&socket).into())?;
        offload.set_recv_buffer_size((&socket).into(), BUFFER)?;
        socket.set_nonblocking(true)?;
        let prepare = |(i, keys): (u32, &Keys)| {
            let (secret, gateway) = (StaticSecret::from(keys.private), PublicKey::from(keys.gateway));
            let mut tunnel = Tunn::new(secret, gateway, keys.preshared, None, i, None);
            let initiation = initiate(&mut tunnel)?;
            Ok(Client { tunnel, initiation, began: None, done: false })
        };
        Ok(Self {
            clients: (0..).zip(clients).map(prepare).collect::<Result<_>>()?,
            socket,
            offload,
            buffers: vec![vec![0; 1 << 16]; BATCH_SIZE],
            gateway,
            sources: sources.into(),
            next: 0,
            in_flight: VecDeque::new(),
            finished: None,
            latencies: Vec::new(),
            cookies: 0,
            timeouts: 0,
        })
    }

    fn begin(&mut self) -> Result<()> {
        let client = self.clients.get_mut(self.next).context("no more clients")?;
        client.began = Some(Instant::now());
        let initiation = std::mem::take(&mut client.initiation);
        self.send(self.next, &initiation)?;
        self.in_flight.push_back(self.next);
        self.next += 1;
        Ok(())
    }

    fn send(&self, client: usize, contents: &[u8]) -> Result<()> {
        let source = Ipv4Addr::from(self.sources + 1 + u32::try_from(client)?);
        let src_ip = Some(IpAddr::V4(source));
        let transmit =
            Transmit { destination: self.gateway, ecn: None, contents, segment_size: None, src_ip };
        // A full queue is loss, as on any path.
        let _ = self.offload.try_send((&self.socket).into(), &transmit);
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut buffers = std::mem::take(&mut self.buffers);
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let count = self.offload.recv((&self.socket).into(), &mut slices, &mut metas).unwrap_or(0);
        for (meta, buffer) in metas.iter().zip(&buffers).take(count) {
            let train = buffer.get(..meta.len).unwrap_or_default();
            for datagram in train.chunks(meta.stride.max(1)) {
                self.datagram(meta.dst_ip, datagram)?;
            }
        }
        self.buffers = buffers;
        Ok(())
    }

    fn datagram(&mut self, to: Option<IpAddr>, datagram: &[u8]) -> Result<()> {
        let Some(IpAddr::V4(to)) = to else { bail!("a datagram without its destination") };
        let number = u32::from(to).wrapping_sub(self.sources + 1) as usize;
        let Some(client) = self.clients.get_mut(number) else { return Ok(()) };
        let mut scratch = [0; 2048];
        let mut answer = match client.tunnel.decapsulate(None, datagram, &mut scratch) {
            TunnResult::WriteToNetwork(answer) => answer.to_vec(),
            _ => Vec::new(),
        };
        match datagram.first() {
            Some(&RESPONSE) if !client.done && !answer.is_empty() => {
                let now = Instant::now();
                client.done = true;
                self.latencies.extend(client.began.map(|began| (now - began).as_micros()));
                self.finished = Some(now);
                self.in_flight.retain(|other| *other != number);
            }
            Some(&COOKIE) if !client.done => {
                self.cookies += 1;
                answer = initiate(&mut client.tunnel)?;
            }
            _ => {}
        }
        if answer.is_empty() { Ok(()) } else { self.send(number, &answer) }
    }

    fn give_up_on_late_ones(&mut self) {
        let now = Instant::now();
        while let Some(client) = self.in_flight.front().and_then(|number| self.clients.get_mut(*number)) {
            if client.began.is_none_or(|began| now - began < TIMEOUT) {
                break;
            }
            client.done = true;
            self.timeouts += 1;
            self.in_flight.pop_front();
        }
    }

    fn outcome(mut self, began: Instant) -> Outcome {
        self.latencies.sort_unstable();
        let completed = self.latencies.len();
        let percentile =
            |share: usize| self.latencies.get(completed * share / 100).copied().unwrap_or_default();
        let seconds = self.finished.map_or(0.0, |finished| (finished - began).as_secs_f64());
        Outcome {
            completed,
            cookies: self.cookies,
            timeouts: self.timeouts,
            seconds,
            per_second: completed as f64 / seconds.max(1e-9),
            p50_us: percentile(50),
            p99_us: percentile(99),
            floor_us: floor(),
        }
    }
}

fn floor() -> f64 {
    const ROUNDS: u32 = 2000;
    let (secret, public) = (StaticSecret::from([9; 32]), PublicKey::from(&StaticSecret::from([5; 32])));
    let began = Instant::now();
    for _ in 0..ROUNDS {
        black_box(black_box(&secret).diffie_hellman(black_box(&public)));
    }
    4e6 * began.elapsed().as_secs_f64() / f64::from(ROUNDS)
}

pub(super) fn initiate(tunnel: &mut Tunn) -> Result<Vec<u8>> {
    let mut scratch = [0; 256];
    match tunnel.format_handshake_initiation(&mut scratch, true) {
        TunnResult::WriteToNetwork(initiation) => Ok(initiation.to_vec()),
        other => bail!("no handshake initiation: {other:?}"),
    }
}
