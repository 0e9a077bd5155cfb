//! Messages of tunnels that exist: opened, and sealed.

use std::net::SocketAddr;
use std::time::Instant;

use super::{GatewayState, send};
use crate::counters::Drop;
use crate::flow::{Direction, Volume};
use crate::noise::{Opened, Refused, padded_len, sealed_len};
use crate::peer::Route;
use crate::sink::{DatagramSink, InnerSink};

impl GatewayState {
    /// A handshake response, cookie reply or transport message.
    #[expect(clippy::too_many_arguments, reason = "the hop between two public ones with the same arguments")]
    pub(super) fn handle_message(
        &mut self,
        (slot, index): (u32, u32),
        from: SocketAddr,
        datagram: &[u8],
        room: &mut [u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
        inner: &mut impl InnerSink,
    ) {
        let Some(found) = self.tunnels.get_mut(slot as usize) else {
            return self.counters.count(Drop::NoSession);
        };
        let at = found.peer;
        match found.tunnel.open(from.ip(), datagram, room) {
            Ok(Opened::Packet(packet)) => {
                let volume = Volume::packet(datagram.len());
                if self.authenticated(at, (slot, index), from, volume, now, datagrams) {
                    self.flush(slot, from, datagrams);
                    self.handle_inner(at, packet, now, datagrams, inner);
                }
            }
            Ok(Opened::Keepalive) => {
                self.authenticated(at, (slot, index), from, Volume::packet(datagram.len()), now, datagrams);
                self.flush(slot, from, datagrams);
            }
            Ok(Opened::Reply(message)) => {
                send(from, message, datagrams);
                self.counters.handshakes += 1;
                self.authenticated(at, (slot, index), from, Volume::packet(datagram.len()), now, datagrams);
                self.flush(slot, from, datagrams);
            }
            Ok(Opened::Done) => {}
            Err(why) => self.counters.count(why.into()),
        }
    }

    /// Sends what waited for a session.
    fn flush(&mut self, slot: u32, to: SocketAddr, datagrams: &mut impl DatagramSink) {
        let Some(found) = self.tunnels.get_mut(slot as usize) else { return };
        while let Some(message) = found.tunnel.flush(&mut self.answer) {
            send(to, message, datagrams);
        }
    }

    /// Seals an inner packet for a client; `packet` has spare room for padding after its first `len` bytes.
    pub(super) fn seal_to(
        &mut self,
        Route { slot, endpoint }: Route,
        packet: &mut [u8],
        len: usize,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Some(found) = self.tunnels.get_mut(slot as usize) else { return };
        let padded = padded_len(len, self.mtu).min(packet.len());
        let Some(packet) = packet.get_mut(..padded) else { return };
        let room = datagrams.reserve(endpoint, sealed_len(len));
        match found.tunnel.seal(packet, len, room) {
            Ok(Some(message)) => {
                let (length, rekey) = (message.len(), found.tunnel.wants_rekey(message));
                let volume = Volume::packet(length);
                datagrams.commit(length);
                if let Some(session) =
                    self.peers.get_mut(found.peer as usize).and_then(|p| p.session.as_mut())
                {
                    session.traffic.count(Direction::Down, volume);
                }
                self.counters.traffic.count(Direction::Down, volume);
                if rekey {
                    self.initiate(slot, endpoint, now, datagrams);
                }
            }
            Ok(None) => {}
            Err(why) => {
                self.counters.count(why.into());
                if why == Refused::Exhausted {
                    self.initiate(slot, endpoint, now, datagrams);
                }
            }
        }
    }

    pub(super) fn initiate(
        &mut self,
        slot: u32,
        to: SocketAddr,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Some(found) = self.tunnels.get_mut(slot as usize) else { return };
        if let Some(message) = found.tunnel.initiate(&mut self.answer, false, now, &mut self.rng) {
            send(to, message, datagrams);
        }
    }
}
