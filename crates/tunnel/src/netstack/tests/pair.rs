//! A client's and a server's stack joined by a [`Link`], with the applications at both ends played by the test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::super::segment::Segment;
use super::super::{Broken, ConnectionId, NetStack, Outlet, OwnerId, Readable, StackConfig};
use crate::bandwidth::{Line, Share};

use super::link::{Conditions, Direction, Link};

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) client: NetStack,
    pub(super) server: NetStack,
    pub(super) link: Link,
    /// What the server's end may use towards the client; without it as much as there is.
    pub(super) line: Option<Line>,
    /// The connections by the client's port.
    client_ids: HashMap<u16, ConnectionId>,
    server_ids: HashMap<u16, ConnectionId>,
    next_port: u16,
    /// Packets that have gone onto the link.
    pub(super) packets_sent: u64,
}

pub(super) const OWNER: OwnerId = OwnerId(1);

impl Pair {
    pub(super) fn new(conditions: Conditions, seed: u64) -> Self {
        Self::with_config(StackConfig::default(), conditions, seed)
    }

    pub(super) fn with_config(config: StackConfig, conditions: Conditions, seed: u64) -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            client: NetStack::new(config, seed ^ 1, now),
            server: NetStack::new(config, seed ^ 2, now),
            link: Link::new(conditions, seed),
            line: None,
            client_ids: HashMap::new(),
            server_ids: HashMap::new(),
            next_port: 40_000,
            packets_sent: 0,
        }
    }

    /// Opens a connection and runs until both ends have it.
    pub(super) fn connect(&mut self) -> (ConnectionId, ConnectionId) {
        let (port, client) = self.start_connect("10.0.0.1", "192.168.1.1:7563");
        self.run_until(|pair| pair.established(port, client));
        (client, self.server_ids[&port])
    }

    pub(super) fn start_connect(&mut self, local: &str, remote: &str) -> (u16, ConnectionId) {
        let port = self.next_port;
        self.next_port += 1;
        let local = SocketAddr::new(local.parse().unwrap(), port);
        let id = self.client.connect(OWNER, (local, remote.parse().unwrap()), u16::MAX, self.now).unwrap();
        self.client_ids.insert(port, id);
        (port, id)
    }

    pub(super) fn server_id(&self, port: u16) -> Option<ConnectionId> {
        self.server_ids.get(&port).copied()
    }

    /// Whether the handshake is complete at both ends.
    pub(super) fn established(&mut self, port: u16, client: ConnectionId) -> bool {
        let Some(server) = self.server_id(port) else { return false };
        self.client.poll_connected(client, &mut context()) == Poll::Ready(Ok(()))
            && self.server.poll_connected(server, &mut context()) == Poll::Ready(Ok(()))
    }

    /// Lets both stacks send, then moves on to the next event and delivers what has arrived.
    pub(super) fn step(&mut self) {
        self.transmit();
        let timeouts = [self.client.poll_timeout(), self.server.poll_timeout(), self.link.next_arrival()];
        let next = timeouts.into_iter().flatten().min();
        self.now = next.unwrap_or(self.now + Duration::from_secs(1)).max(self.now);
        self.deliver();
        while self.client.poll_finished().is_some() {}
        while self.server.poll_finished().is_some() {}
    }

    /// Steps until `done`; fails after an hour of virtual time.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let limit = self.now + Duration::from_secs(3600);
        while !done(self) {
            assert!(self.now < limit, "nothing came of it in an hour");
            self.step();
        }
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Opens `n` connections on which the server sends as much as it can, and counts what the client has of each.
    pub(super) fn received_by_greedy(&mut self, n: usize, during: Duration) -> Vec<usize> {
        let ids: Vec<_> = (0..n).map(|_| self.connect()).collect();
        let data = pattern(64 << 10, 1);
        let mut received = vec![0; n];
        let end = self.now + during;
        self.run_until(|pair| {
            for (&(client, server), received) in ids.iter().zip(&mut received) {
                write(&mut pair.server, server, &data);
                *received += read(&mut pair.client, client, &mut Vec::new());
            }
            pair.now >= end
        });
        received
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn transmit(&mut self) {
        let Self { client, server, link, line, now, packets_sent, .. } = self;
        let now = *now;
        let mut send = |direction, packet: &[u8]| {
            *packets_sent += 1;
            link.send(direction, packet, now);
        };
        for _ in 0..10_000 {
            let more = client.poll_transmit(now, 64, &mut |_, packet| send(Direction::ToServer, packet));
            let mut out = Limited { line, send: |packet: &[u8]| send(Direction::ToClient, packet) };
            if !server.poll_transmit_to(now, 64, &mut out) && !more {
                return;
            }
        }
        panic!("a stack sends without end");
    }

    fn deliver(&mut self) {
        for (direction, packet) in self.link.arrived(self.now) {
            let segment = Segment::parse(&packet).expect("stacks send TCP");
            let known = match direction {
                Direction::ToServer => {
                    let port = segment.source.port;
                    if segment.syn && !self.server_ids.contains_key(&port) {
                        let id = self.server.accept(OWNER, &packet, self.now).unwrap();
                        self.server_ids.insert(port, id);
                        continue;
                    }
                    self.server_ids.get(&port).map(|&id| (&mut self.server, id))
                }
                Direction::ToClient => {
                    self.client_ids.get(&segment.destination.port).map(|&id| (&mut self.client, id))
                }
            };
            if let Some((stack, id)) = known {
                // A straggler of a finished connection is unknown, as it should be.
                let _ = stack.handle_packet(id, &packet, self.now);
            }
        }
    }
}

struct Limited<'a, F> {
    line: &'a mut Option<Line>,
    send: F,
}

impl<F: FnMut(&[u8])> Outlet for Limited<'_, F> {
    fn may_send(&mut self, _: ConnectionId, now: Instant) -> bool {
        self.line.as_mut().is_none_or(|line| line.may_send(now))
    }

    fn turn(&mut self, _: ConnectionId, now: Instant) -> Option<Instant> {
        self.line.as_mut()?.turn(now)
    }

    fn send(&mut self, _: ConnectionId, packet: &[u8]) {
        if let Some(line) = &mut *self.line {
            line.charge(&mut Share::default(), packet.len() as u32);
        }
        (self.send)(packet);
    }
}

/// Writes as much of `data` as there is room for.
pub(super) fn write(stack: &mut NetStack, id: ConnectionId, data: &[u8]) -> usize {
    let mut written = 0;
    while written < data.len() {
        let part = stack.send_with(id, |space| {
            let len = space.len().min(data.len() - written);
            space[..len].copy_from_slice(&data[written..written + len]);
            (len, len)
        });
        match part {
            Some(len) if len > 0 => written += len,
            _ => break,
        }
    }
    written
}

/// Reads what is there.
pub(super) fn read(stack: &mut NetStack, id: ConnectionId, into: &mut Vec<u8>) -> usize {
    let before = into.len();
    while let Some(len) = stack.recv_with(id, |bytes| {
        into.extend_from_slice(bytes);
        (bytes.len(), bytes.len())
    }) {
        if len == 0 {
            break;
        }
    }
    into.len() - before
}

pub(super) fn readable(stack: &mut NetStack, id: ConnectionId) -> Option<Readable> {
    match stack.poll_readable(id, &mut context()) {
        Poll::Ready(readable) => Some(readable),
        Poll::Pending => None,
    }
}

pub(super) fn broken(stack: &mut NetStack, id: ConnectionId) -> Option<Broken> {
    stack.broken(id)
}

/// The tests look again after every step, so nobody needs waking.
pub(super) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Bytes that show a wrong order, a gap and a repetition.
pub(super) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}
