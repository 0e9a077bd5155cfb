//! From the recording network back to the client, when the kernel routes: whole packets, often a train of segments.

use std::time::Instant;

use super::GatewayState;
use crate::counters::Drop;
use crate::flow::{Direction, Progress, Volume};
use crate::mss;
use crate::packet::{Packet, TcpFlags, Transport};
use crate::sink::{DatagramSink, PacketTrain};

impl GatewayState {
    /// Takes what came in from the recording network: one packet, or a train that one look-up is enough for. Answers
    /// which worker it belongs to, if not to this one.
    pub fn handle_lan(
        &mut self,
        train: &mut impl PacketTrain,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> Option<u8> {
        let packets = train.packets();
        let packet = match Packet::parse_trusted(train.bytes()) {
            Ok(packet) => packet,
            Err(why) => {
                self.counters.count(why.into());
                return None;
            }
        };
        let Some(&at) = self.by_address.get(&packet.destination) else {
            let owner = self.shard.of_address(packet.destination);
            if owner.is_none() {
                self.counters.count(Drop::NoFlow);
            }
            return owner;
        };
        let tuple = match packet.transport {
            // The error quotes a packet of the client's.
            Transport::IcmpError { about } => Some(about),
            _ => packet.five_tuple().map(|tuple| tuple.reversed()),
        };
        let Some(id) = tuple.and_then(|tuple| self.flows.find(at, tuple)) else {
            self.counters.count(Drop::NoFlow);
            return None;
        };
        let headers = packet.bytes().len() - packet.payload().len();
        let repeated = headers * packets.saturating_sub(1);
        let bytes = (packet.bytes().len() + repeated) as u64;
        if !self.is_within_limit(id, Direction::Down, bytes as usize, packets, now) {
            return None;
        }
        let is_syn = matches!(packet.transport, Transport::Tcp { flags: TcpFlags { syn: true, .. }, .. });
        let volume = Volume { packets: packets as u64, bytes };
        let progress =
            self.flows.follow(id, Direction::Down, packet.transport, packet.payload(), volume, now);
        if progress == Progress::ClearText {
            self.refuse_clear_text(id, now, datagrams);
            return None;
        }
        match self.route(at) {
            Some(route) => {
                while let Some((packet, len)) = train.next_packet() {
                    if is_syn && let Some(packet) = packet.get_mut(..len) {
                        mss::clamp(packet, self.mtu);
                    }
                    self.seal_to(route, packet, len, now, datagrams);
                }
            }
            None => self.counters.count(Drop::NoEndpoint),
        }
        if let Progress::Over(reason) = progress {
            self.close_flow(id, reason, now);
        }
        None
    }
}
