//! From the egress back to the client: only packets of flows that a client opened.

use std::time::Instant;

use super::GatewayState;
use crate::counters::Drop;
use crate::flow::{CloseReason, Direction, FlowId, Progress};
use crate::packet::Packet;
use crate::sink::DatagramSink;

impl GatewayState {
    /// Sends a packet of a flow to its client. The packet is the first `len` bytes of `packet`; up to fifteen bytes
    /// of room after it are used for padding. Its checksums are not verified: the egress made them.
    pub fn handle_egress(
        &mut self,
        id: FlowId,
        packet: &mut [u8],
        len: usize,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Some(flow) = self.flows.get(id) else { return self.counters.count(Drop::NoFlow) };
        let client = flow.client;
        let transport = match packet.get(..len).map(Packet::parse_trusted) {
            Some(Ok(packet)) => packet.transport,
            Some(Err(why)) => return self.counters.count(why.into()),
            None => return self.counters.count(Drop::BadLength),
        };
        let progress = self.flows.follow(id, Direction::Down, transport, len, now);
        match self.route(client) {
            Some(route) => self.seal_to(route, packet, len, now, datagrams),
            None => self.counters.count(Drop::NoEndpoint),
        }
        if let Progress::Over(reason) = progress {
            self.close_flow(id, reason, now);
        }
    }

    /// Ends a flow and reports it.
    pub fn close_flow(&mut self, id: FlowId, reason: CloseReason, now: Instant) {
        if let Some(flow) = self.flows.close(id) {
            self.report_closed(flow, reason, now);
        }
    }

    pub(super) fn expire_flows(&mut self, now: Instant) {
        while let Some(flow) = self.flows.expire(now) {
            self.report_closed(flow, CloseReason::Idle, now);
        }
    }
}
