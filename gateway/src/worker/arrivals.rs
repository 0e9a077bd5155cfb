//! What arrives at a worker: datagrams from the internet, packets from the kernel, parcels from other workers.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use vmsgate_netio::{Frame, RecvBatch};
use vmsgate_tunnel::counters::Drop;
use vmsgate_tunnel::gateway::room_for;
use vmsgate_tunnel::noise::OVERHEAD;

use super::core::Core;
use super::handover::{Misdirected, Parcel};
use crate::forward::Forward;
use crate::forward::tun::Arrived;
use crate::run::OwnDatagram;

/// Packets or trains taken from the kernel before the sockets are served again.
const LAN_BATCH: usize = 32;
/// The most packets in a train: 64 KiB in segments of 536 bytes, the smallest that TCP must accept (RFC 9293).
const LAN_TRAIN: usize = 128;

/// What the reader of the TUN queue waits for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Packet,
    /// In the queues towards the internet.
    Room,
    /// Nothing: there may be more, but others get their turn.
    Yield,
}

impl Core {
    /// Takes what one socket received.
    pub fn handle_batch(&mut self, batch: &RecvBatch, now: Instant) {
        for datagram in batch.datagrams() {
            if datagram.bytes.len() == OwnDatagram::LEN && self.health.heard(datagram.from, datagram.bytes) {
                continue;
            }
            self.take_datagram(datagram.from, datagram.bytes, now);
        }
        let dropped = self.couriers.send_off();
        self.state.count(Drop::HandoverFull, dropped as u64);
        self.finish_batch(now);
    }

    /// Takes what another worker handed over.
    pub fn handle_parcel(&mut self, parcel: Parcel, now: Instant) {
        match parcel {
            Parcel::Datagrams(datagrams) => {
                for Misdirected { from, initiator, bytes } in datagrams {
                    match initiator {
                        Some(sender) => {
                            self.state.handle_initiator(sender, from, &bytes, now, &mut self.outlets);
                        }
                        None => self.take_datagram(from, &bytes, now),
                    }
                }
            }
            Parcel::Lan(mut frame) => self.take_frame(&mut frame, now),
        }
        self.finish_batch(now);
    }

    /// Takes what the kernel brings from the recording network, a bounded part of it. Answers what to wait for.
    pub fn handle_lan(&mut self, frame: &mut Frame, now: Instant) -> io::Result<Next> {
        let mut next = Next::Yield;
        for _ in 0..LAN_BATCH {
            if !self.outlets.have_room(LAN_TRAIN, self.mtu + OVERHEAD) {
                next = Next::Room;
                break;
            }
            let Some(lan) = &self.lan else { break };
            if !lan.read(frame)? {
                next = Next::Packet;
                break;
            }
            self.take_frame(frame, now);
            self.outlets.flush_long();
        }
        self.finish_batch(now);
        Ok(next)
    }

    fn take_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        let Core { state, outlets, proxy, lan, staging, couriers, waiting, .. } = self;
        let needed = room_for(datagram);
        let mut forward = Forward::new(proxy, waiting, lan.is_some());
        let room = match lan {
            Some(lan) => lan.room(needed),
            None => staging.get_mut(..needed),
        };
        let Some(room) = room else { return state.count(Drop::EgressFull, 1) };
        let handover = state.handle_datagram(from, datagram, room, now, outlets, &mut forward);
        if let Some(handover) = handover {
            couriers.collect(handover, from, datagram);
        }
        if let (Some((flow, len)), Some(lan)) = (forward.for_kernel(), lan) {
            lan.push(flow, len);
        }
    }

    fn take_frame(&mut self, frame: &mut Frame, now: Instant) {
        let owner = self.state.handle_lan(&mut Arrived(frame), now, &mut self.outlets);
        if let Some(owner) = owner
            && !self.couriers.send_frame(owner, std::mem::take(frame))
        {
            self.state.count(Drop::HandoverFull, 1);
        }
    }

    fn finish_batch(&mut self, now: Instant) {
        self.turn(now);
        if self.next_due() < self.armed {
            self.rearm.notify_one();
        }
    }
}
