//! What people, programs, administrators, networks and disks do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vmsgate_tests::packets::datagram;
use vmsgate_tunnel::packet::{TcpFlags, Transport};
use vmsgate_tunnel::peer::Access;
use vmsgate_tunnel::sink::DatagramQueue;

use crate::model::{GATEWAY, NEVER, SERVERS};
use crate::network::Datagram;
use crate::packets::{ACK, FIN, RST, SYN, echo, tcp};
use crate::world::{Cause, Connection, World, settings};

impl World {
    /// One thing happens, and then some time passes.
    pub(crate) fn act(&mut self) {
        let at = self.random.usize(..self.people.len());
        match self.random.u8(..100) {
            0..30 => self.sends_datagram(at),
            30..42 => self.opens_connection(at),
            42..60 => self.goes_on(at),
            60..64 => self.echoes(at),
            64..68 => self.sends_as_another(at),
            68..72 => self.moves(at),
            72..76 => self.is_replayed(),
            76..79 => self.garbage(),
            79..82 => self.slow_answers(),
            82..88 => self.is_changed(at),
            88..90 => self.swaps_addresses(at),
            90..92 => self.reconfigured(),
            92..95 => self.set_failing(!self.store.failing),
            95 => self.cut(),
            96 => self.restart(),
            _ => self.reconnects(at),
        }
        let time = match self.random.u8(..40) {
            0 => Duration::from_secs(self.random.u64(20..200)),
            1..6 => Duration::from_millis(self.random.u64(..6000)),
            _ => Duration::from_millis(self.random.u64(..50)),
        };
        self.pass(time);
    }

    /// To where at least one role of one configuration may.
    pub(crate) fn ask(&mut self, at: usize) {
        let own = self.own(at);
        self.number += 1;
        let content = self.number.to_be_bytes();
        self.send(at, datagram(own, SocketAddr::new(GATEWAY, 53), &content));
    }

    fn sends_datagram(&mut self, at: usize) {
        let (own, to) = (self.own(at), self.destination());
        self.number += 1;
        let content = self.number.to_be_bytes();
        self.send(at, datagram(own, to, &content));
    }

    fn opens_connection(&mut self, at: usize) {
        let (own, server) = (self.own(at), self.destination());
        let connection = Connection { own, server, sequence: 1001, expected: 0 };
        self.shims[at].connections.push(connection);
        self.send(at, tcp(own, server, SYN, (1000, 0), b""));
    }

    /// More of a connection: bytes, an end, or a rude one.
    fn goes_on(&mut self, at: usize) {
        let count = self.shims[at].connections.len();
        let Some(which) = count.checked_sub(1).map(|last| last - self.random.usize(..count.min(4))) else {
            return self.sends_datagram(at);
        };
        self.number += 1;
        let content = self.number.to_be_bytes();
        let (flags, payload): (u8, &[u8]) = match self.random.u8(..10) {
            0 | 1 => (FIN | ACK, b""),
            2 => (RST, b""),
            3 => (ACK, b""),
            _ => (ACK, &content),
        };
        let Connection { own, server, sequence, expected } = &mut self.shims[at].connections[which];
        let packet = tcp(*own, *server, flags, (*sequence, *expected), payload);
        *sequence += payload.len() as u32 + u32::from(flags & FIN);
        self.send(at, packet);
    }

    pub(crate) fn follow_connection(&mut self, at: usize, transport: Transport) {
        let Transport::Tcp {
            flags: TcpFlags { syn, fin, .. }, destination_port, sequence, payload_len, ..
        } = transport
        else {
            return;
        };
        let connections = &mut self.shims[at].connections;
        let Some(connection) = connections.iter_mut().find(|one| one.own.port() == destination_port) else {
            return;
        };
        connection.expected = sequence + payload_len + u32::from(syn) + u32::from(fin);
        let Connection { own, server, sequence, expected } = *connection;
        if syn || fin {
            self.send(at, tcp(own, server, ACK, (sequence, expected), b""));
        }
    }

    fn echoes(&mut self, at: usize) {
        let to = self.destination().ip();
        self.number += 1;
        let (own, number) = (self.people[at].address, self.number as u16);
        self.send(at, echo(own, to, 8, at as u16 + 1, number));
    }

    /// From another's address, or a server's.
    fn sends_as_another(&mut self, at: usize) {
        let other = self.random.usize(..self.people.len());
        let address = if other == at { SERVERS[0] } else { self.people[other].address };
        let (port, to) = (self.own(at).port(), self.destination());
        // Not noted as sent: it may not come out.
        self.seal(at, datagram(SocketAddr::new(address, port), to, b"as another"));
    }

    /// A NAT forgets, a computer changes its network, or two get each other's address.
    fn moves(&mut self, at: usize) {
        let other = self.random.usize(..self.shims.len());
        let (ip, port) = (self.shims[at].outside.ip(), self.random.u16(1024..));
        match self.random.u8(..3) {
            0 => self.shims[at].outside = SocketAddr::new(ip, port),
            1 => self.shims[at].outside = SocketAddr::new([203, 0, 113, self.random.u8(1..)].into(), port),
            _ => {
                let (one, two) = (self.shims[at].outside, self.shims[other].outside);
                (self.shims[at].outside, self.shims[other].outside) = (two, one);
            }
        }
    }

    fn is_replayed(&mut self) {
        let count = self.network.noted.len();
        if count == 0 {
            return;
        }
        let Datagram { to, bytes, .. } = &self.network.noted[self.random.usize(..count)];
        let from = SocketAddr::from(([192, 0, 2, 66], self.random.u16(1..)));
        let again = Datagram { from, to: *to, bytes: bytes.clone() };
        self.network.send(again, self.now, &mut self.random);
    }

    fn garbage(&mut self) {
        let mut bytes = vec![0; self.random.usize(..200)];
        self.random.fill(&mut bytes);
        if let Some(first) = bytes.first_chunk_mut::<4>() {
            *first = [self.random.u8(1..5), 0, 0, 0];
        }
        let from = SocketAddr::from(([192, 0, 2, 67], 4000));
        self.at_gateway(from, &bytes);
        let at = self.random.usize(..self.shims.len());
        self.at_client(at, self.at, &bytes);
    }

    fn slow_answers(&mut self) {
        for (flow, person, bytes) in std::mem::take(&mut self.slow) {
            self.answer(flow, person, bytes);
        }
    }

    /// An administrator's act.
    fn is_changed(&mut self, at: usize) {
        let unix = self.unix();
        let random = &mut self.random;
        let until = Some(unix + random.u64(..60_000)).filter(|_| random.bool());
        let person = &mut self.people[at];
        match random.u8(..8) {
            0 => person.access = Access::Suspended,
            1 => person.access = Access::Revoked,
            2 => person.access = Access::Active { until },
            3 => person.exists = !person.exists,
            4 => person.role = random.usize(..2),
            _ => (person.access, person.exists) = (Access::Active { until: None }, true),
        }
        self.register(at);
    }

    /// Two clients get each other's address in the tunnel; the changes come one by one.
    fn swaps_addresses(&mut self, at: usize) {
        let other = self.random.usize(..self.people.len());
        if other == at {
            return;
        }
        let (one, two) = (self.people[at].address, self.people[other].address);
        (self.people[at].address, self.people[other].address) = (two, one);
        for at in [at, other] {
            let secret = self.shims[at].secret.clone();
            self.shims[at].state = self.client_state(at, &secret);
            self.shims[at].connections.clear();
            if self.people[at].exists {
                self.register(at);
            }
        }
    }

    fn reconfigured(&mut self) {
        self.configuration = 1 - self.configuration;
        self.believed = 1 - self.believed;
        let mut out = DatagramQueue::default();
        self.gateway.set_settings(settings(self.configuration), self.now, &mut out);
        self.settle(Vec::new(), out);
    }

    /// The disk is full, or is not any more.
    pub(crate) fn set_failing(&mut self, failing: bool) {
        self.store.failing = failing;
        self.gateway.set_accepting(!failing);
        self.write_down();
    }

    /// It has been full for too long.
    fn cut(&mut self) {
        if self.store.failing {
            let mut out = DatagramQueue::default();
            self.cause = Cause::Cut;
            self.gateway.cut_unrecorded(self.now, &mut out);
            self.settle(Vec::new(), out);
            self.cause = Cause::None;
        }
    }

    /// As a program does after silence: from the beginning, at the address that it knows. Whoever plays a datagram of the
    /// gateway again, and comes first, has led it to an address of his.
    pub(crate) fn reconnects(&mut self, at: usize) {
        let mut out = DatagramQueue::default();
        self.shims[at].state.set_endpoint(self.at);
        self.shims[at].state.connect(self.now, &mut out);
        self.sends(at, out);
    }

    fn send(&mut self, at: usize, packet: Vec<u8>) {
        *self.up.entry((at, packet.clone())).or_default() += 1;
        self.seal(at, packet);
    }

    fn seal(&mut self, at: usize, mut packet: Vec<u8>) {
        let (length, mut out) = (packet.len(), DatagramQueue::default());
        packet.extend([0; 15]);
        self.shims[at].state.send(&mut packet, length, self.now, &mut out);
        self.sends(at, out);
    }

    /// An address and port that no other client has: the kernel tells flows apart by them alone.
    fn own(&mut self, at: usize) -> SocketAddr {
        let shim = &mut self.shims[at];
        shim.next_port = (shim.next_port + 1) % 5000;
        SocketAddr::new(self.people[at].address, 10_000 + 5000 * at as u16 + shim.next_port)
    }

    fn destination(&mut self) -> SocketAddr {
        let nowhere = IpAddr::from([192, 168, 10, 99]);
        let another = self.people[self.random.usize(..self.people.len())].address;
        let ports = [7563, 443, 161, 53, 80, NEVER.2, 22];
        let address = [SERVERS[0], SERVERS[1], SERVERS[0], SERVERS[1], GATEWAY, nowhere, another];
        SocketAddr::new(address[self.random.usize(..7)], ports[self.random.usize(..7)])
    }
}
