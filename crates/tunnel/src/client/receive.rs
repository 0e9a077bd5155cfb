//! From a datagram to an inner packet: which tunnel it is for, and what that tunnel may do.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{ClientState, transmit};
use crate::counters::{Counters, Drop};
use crate::flow::{Direction, Volume};
use crate::noise::{Kind, Opened, Tunnel, classify, index_of};
use crate::packet::Packet;
use crate::sink::DatagramSink;

impl ClientState {
    /// Takes one datagram from the internet; well-formed packets for this client go to `inner`.
    pub fn handle_datagram(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
        inner: &mut impl FnMut(&Packet<'_>),
    ) {
        match classify(datagram) {
            Some(Kind::ForReceiver(index)) => {
                let index = index_of(index);
                if index == self.current.index {
                    self.receive(from, datagram, now, datagrams, inner);
                } else if self.pending.as_ref().is_some_and(|pending| pending.line.index == index) {
                    self.receive_first(from, datagram, now, datagrams, inner);
                } else {
                    self.receive_late(index, from, datagram, now, inner);
                }
            }
            Some(Kind::Initiation) => self.answer(from, datagram, now, datagrams),
            None => self.counters.count(Drop::NotWireGuard),
        }
    }

    /// For the tunnel in use.
    fn receive(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
        inner: &mut impl FnMut(&Packet<'_>),
    ) {
        let Self { current, opened, addresses, counters, .. } = self;
        if !open(&mut current.tunnel, (from, datagram), opened, addresses, counters, datagrams, inner) {
            return;
        }
        self.cancel_fallback();
        self.heard(from, datagram.len(), now);
        while let Some(message) = self.current.tunnel.flush(&mut self.opened) {
            transmit(self.endpoint, message, datagrams);
        }
        // Its own queue held the same packets, and is empty now.
        self.waiting.clear();
    }

    /// For a second tunnel, which takes over with what is authentic.
    fn receive_first(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
        inner: &mut impl FnMut(&Packet<'_>),
    ) {
        let Self { pending, opened, addresses, counters, .. } = self;
        let Some(pending) = pending else { return };
        if !open(&mut pending.line.tunnel, (from, datagram), opened, addresses, counters, datagrams, inner) {
            return;
        }
        self.heard(from, datagram.len(), now);
        self.take_over(now, datagrams);
    }

    /// For a tunnel from before a move. It shakes hands no more: the gateway would take that for a wish to go back.
    fn receive_late(
        &mut self,
        index: u32,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        inner: &mut impl FnMut(&Packet<'_>),
    ) {
        let Some((line, _)) = self.old.iter_mut().find(|(line, _)| line.index == index) else {
            return self.counters.count(Drop::NoSession);
        };
        if datagram.first() != Some(&4) {
            return self.counters.count(Drop::NoSession);
        }
        match line.tunnel.open(from.ip(), datagram, &mut self.opened) {
            Ok(opened) => {
                if let Opened::Packet(bytes) = opened {
                    deliver(bytes, &self.addresses, &mut self.counters, inner);
                }
                self.last_heard = Some(now);
                self.counters.traffic.count(Direction::Down, Volume::packet(datagram.len()));
            }
            Err(why) => self.counters.count(why.into()),
        }
    }

    /// The gateway began a handshake.
    fn answer(
        &mut self,
        from: SocketAddr,
        initiation: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Self { current, pending, opened, .. } = self;
        let second = pending.iter_mut().map(|pending| &mut pending.line);
        let mut why = None;
        for line in std::iter::once(current).chain(second) {
            match line.tunnel.open(from.ip(), initiation, opened) {
                Ok(Opened::Reply(message)) => {
                    transmit(from, message, datagrams);
                    self.counters.handshakes += 1;
                    self.endpoint = from;
                    self.last_heard = Some(now);
                    self.resting = false;
                    self.counters.traffic.count(Direction::Down, Volume::packet(initiation.len()));
                    return self.answer_as_registered(from, initiation, now, datagrams);
                }
                Ok(_) => {}
                Err(refused) => {
                    why.get_or_insert(refused);
                }
            }
        }
        if let Some(why) = why {
            self.counters.count(why.into());
        }
    }

    /// Authentic, so the gateway is where this came from.
    fn heard(&mut self, from: SocketAddr, bytes: usize, now: Instant) {
        self.endpoint = from;
        self.last_heard = Some(now);
        self.unanswered_since = None;
        self.resting = false;
        self.counters.traffic.count(Direction::Down, Volume::packet(bytes));
    }
}

/// Opens a message and does what it asks for. Whether something authentic came with it.
fn open(
    tunnel: &mut Tunnel,
    (from, datagram): (SocketAddr, &[u8]),
    opened: &mut [u8],
    addresses: &[IpAddr],
    counters: &mut Counters,
    datagrams: &mut impl DatagramSink,
    inner: &mut impl FnMut(&Packet<'_>),
) -> bool {
    match tunnel.open(from.ip(), datagram, opened) {
        Ok(Opened::Done) => return false,
        Ok(Opened::Reply(message)) => {
            transmit(from, message, datagrams);
            counters.handshakes += 1;
        }
        Ok(Opened::Packet(bytes)) => deliver(bytes, addresses, counters, inner),
        Ok(Opened::Keepalive) => {}
        Err(why) => {
            counters.count(why.into());
            return false;
        }
    }
    true
}

fn deliver(bytes: &[u8], addresses: &[IpAddr], counters: &mut Counters, inner: &mut impl FnMut(&Packet<'_>)) {
    match Packet::parse(bytes) {
        Ok(packet) if addresses.contains(&packet.destination) => inner(&packet),
        Ok(_) => counters.count(Drop::SpoofedSource),
        Err(why) => counters.count(why.into()),
    }
}
