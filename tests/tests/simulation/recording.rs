//! Both sides of the gateway, and what must be true of everything that passes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use vmsgate_tunnel::flow::FlowId;
use vmsgate_tunnel::packet::{Packet, Transport};
use vmsgate_tunnel::sink::{DatagramQueue, InnerSink, PacketTrain};

use crate::model::{GATEWAY, allows};
use crate::network::Datagram;
use crate::packets::{ACK, FIN, SYN, echo, tcp};
use crate::world::World;

/// Ended validity is looked for once a second.
pub(crate) const GRACE_MS: u64 = 1100;

/// What came out towards the recording network, in its order.
#[derive(Default)]
struct Out(Vec<(FlowId, u32, Vec<u8>)>);

impl InnerSink for Out {
    fn packet(&mut self, flow: FlowId, client: u32, packet: &Packet<'_>, _now: Instant) {
        self.0.push((flow, client, packet.bytes().to_vec()));
    }
}

/// One packet, as an offload would bring it.
struct Train(Vec<u8>, VecDeque<Vec<u8>>);

impl PacketTrain for Train {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn packets(&self) -> usize {
        1
    }

    fn next_packet(&mut self) -> Option<(&mut [u8], usize)> {
        self.1.pop_front()?;
        let length = self.0.len();
        self.0.extend([0; 15]);
        Some((&mut self.0, length))
    }
}

impl World {
    pub(crate) fn at_gateway(&mut self, from: SocketAddr, bytes: &[u8]) {
        let (mut down, mut out) = (DatagramQueue::default(), Out::default());
        let mut room = vec![0; 4096];
        let other = self.gateway.handle_datagram(from, bytes, &mut room, self.now, &mut down, &mut out);
        assert_eq!(other, None);
        self.settle(out.0, down);
    }

    /// What one call brought about: events are recorded, packets checked and passed on, datagrams sent.
    pub(crate) fn settle(&mut self, packets: Vec<(FlowId, u32, Vec<u8>)>, datagrams: DatagramQueue) {
        let mut events = Vec::new();
        while let Some(event) = self.gateway.poll_event() {
            self.store.append(&event);
            self.check_beginning(&event);
            if let vmsgate_tunnel::event::GatewayEvent::HandshakeRejected(refused) = &event {
                self.refused = format!("{refused:?}");
            }
            events.push(event);
        }
        for (flow, client, bytes) in packets {
            let person = self.check_packet(flow, client, &bytes);
            self.waiting.entry(flow).or_default().push((person, bytes));
        }
        self.ends(&events);
        for (to, bytes) in datagrams.datagrams {
            self.network.send(Datagram { from: self.at, to, bytes }, self.now, &mut self.random);
        }
        self.write_down();
    }

    /// The disk, and what waited for it.
    pub(crate) fn write_down(&mut self) {
        self.store.commit();
        let recorded: Vec<FlowId> =
            self.waiting.keys().copied().filter(|flow| self.store.durable.contains(flow)).collect();
        for flow in recorded {
            for (person, bytes) in self.waiting.remove(&flow).unwrap_or_default() {
                self.forward(flow, person, &bytes);
            }
        }
    }

    /// Nothing passes that the model would not let pass, that nobody sent, or that has passed before.
    fn check_packet(&mut self, flow: FlowId, client: u32, bytes: &[u8]) -> usize {
        let packet = Packet::parse(bytes).unwrap_or_else(|why| panic!("malformed at the egress: {why:?}"));
        let (info, _) = self.gateway.client(client).expect("the owner of a packet");
        let at = self.people.iter().position(|person| person.id == info.id).unwrap();
        let unix = self.unix();
        let (role, believed) = (self.people[at].role, self.believed);
        let person = &mut self.people[at];
        assert!(person.may_connect(unix.saturating_sub(GRACE_MS)), "client {at} is shut out");
        assert_eq!(packet.source, person.address, "another's address");
        person.passed = Some(self.now);
        let tuple = packet.five_tuple().expect("a packet of a flow");
        assert!(allows(believed, role, &tuple), "client {at} in role {role} may not reach {tuple:?}");
        let live = self.flows.get_mut(&flow).unwrap_or_else(|| panic!("before its record: {tuple:?}"));
        assert_eq!((live.person, live.tuple), (at, tuple), "in another's flow");
        live.last = self.now;
        let sent = self.up.entry((at, bytes.to_vec())).or_default();
        *sent -= 1;
        assert!(*sent >= 0, "client {at}: a packet passed more often than it was sent: {tuple:?}");
        at
    }

    /// A server hears a packet, and answers at once, later, or never.
    fn forward(&mut self, flow: FlowId, person: usize, bytes: &[u8]) {
        assert!(self.store.durable.contains(&flow), "forwarded before its record was on disk");
        let packet = Packet::parse(bytes).unwrap();
        let Some(tuple) = packet.five_tuple() else { return };
        let (client, server) = (tuple.source, tuple.destination);
        let answer = match packet.transport {
            Transport::Tcp { flags, sequence, acknowledgement, payload_len, .. } => {
                let next = sequence + payload_len + u32::from(flags.syn) + u32::from(flags.fin);
                match (flags.rst, flags.syn, flags.fin) {
                    (true, ..) => return,
                    (_, true, _) => tcp(server, client, SYN | ACK, (5000, next), b""),
                    (_, _, true) => tcp(server, client, FIN | ACK, (acknowledgement, next), b""),
                    _ if payload_len > 0 => {
                        tcp(server, client, ACK, (acknowledgement, next), packet.payload())
                    }
                    _ => return,
                }
            }
            Transport::Udp { .. } => vmsgate_tests::packets::datagram(server, client, packet.payload()),
            Transport::EchoRequest { identifier } => {
                echo(server.ip(), client.ip(), 0, identifier, self.number as u16)
            }
            Transport::EchoReply { .. } | Transport::IcmpError { .. } | Transport::Other(_) => return,
        };
        match self.random.u8(..10) {
            0 => {}
            1 => self.slow.push((flow, person, answer)),
            _ => self.answer(flow, person, answer),
        }
    }

    /// A server's packet comes back.
    pub(crate) fn answer(&mut self, flow: FlowId, person: usize, bytes: Vec<u8>) {
        let packet = Packet::parse(&bytes).unwrap();
        let routed = self.routed && packet.source != GATEWAY;
        *self.down.entry((person, bytes.clone())).or_default() += 1;
        let (mut out, now) = (DatagramQueue::default(), self.now);
        if routed {
            let other =
                self.gateway.handle_lan(&mut Train(bytes.clone(), VecDeque::from([bytes])), now, &mut out);
            assert_eq!(other, None);
        } else {
            let (mut padded, length) = (bytes.clone(), bytes.len());
            padded.extend([0; 15]);
            self.gateway.handle_egress(flow, &mut padded, length, now, &mut out);
        }
        // Of a flow that is over, by its identity or its addresses, nothing may come out.
        let over = !self.flows.contains_key(&flow);
        assert!(routed || !over || out.datagrams.is_empty(), "an answer in a flow that is over");
        if let Some(live) = self.flows.get_mut(&flow) {
            live.last = now;
        }
        self.settle(Vec::new(), out);
    }

    /// What a client gets is its own, and a server's or plainly the gateway's.
    pub(crate) fn at_client(&mut self, at: usize, from: SocketAddr, bytes: &[u8]) {
        let (mut out, mut received) = (DatagramQueue::default(), Vec::new());
        let now = self.now;
        let mut inner = |packet: &Packet<'_>| received.push(packet.bytes().to_vec());
        self.shims[at].state.handle_datagram(from, bytes, now, &mut out, &mut inner);
        self.sends(at, out);
        for bytes in received {
            self.receives(at, bytes);
        }
    }

    fn receives(&mut self, at: usize, bytes: Vec<u8>) {
        let packet = Packet::parse(&bytes).unwrap();
        let of_gateway = match packet.transport {
            Transport::Tcp { flags, .. } => flags.rst,
            Transport::IcmpError { .. } => true,
            Transport::EchoReply { .. } => packet.source == GATEWAY,
            Transport::Udp { .. } | Transport::EchoRequest { .. } | Transport::Other(_) => false,
        };
        let transport = packet.transport;
        if of_gateway {
            return;
        }
        let sent = self.down.entry((at, bytes)).or_default();
        *sent -= 1;
        assert!(*sent >= 0, "client {at} received what no server sent, or twice: {transport:?}");
        self.shims[at].answers += 1;
        self.follow_connection(at, transport);
    }

    /// Since when a client's last packet passed.
    pub(crate) fn quiet(&self, at: usize) -> Option<Duration> {
        self.people[at].passed.map(|passed| self.now.duration_since(passed))
    }
}
