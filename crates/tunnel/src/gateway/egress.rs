//! From the egress back to the client: only packets of flows that a client opened.

use std::time::Instant;

use super::GatewayState;
use crate::counters::Drop;
use crate::flow::{CloseReason, Direction, Flow, FlowId, Progress, Volume};
use crate::packet::{FiveTuple, Packet, Transport};
use crate::reply::{self, Unreachable};
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
        let parsed = match packet.get(..len).map(Packet::parse_trusted) {
            Some(Ok(packet)) => packet,
            Some(Err(why)) => return self.counters.count(why.into()),
            None => return self.counters.count(Drop::BadLength),
        };
        let (transport, payload) = (parsed.transport, parsed.payload());
        // TCP that ends here waited for its turn; everything else comes when it comes.
        if let Transport::Tcp { .. } = transport {
            self.charge(id, len, now);
        } else if !self.is_within_limit(id, Direction::Down, len, 1, now) {
            return;
        }
        let progress = self.flows.follow(id, Direction::Down, transport, payload, Volume::packet(len), now);
        if progress == Progress::ClearText {
            return self.refuse_clear_text(id, now, datagrams);
        }
        match self.route(client) {
            Some(route) => self.seal_to(route, packet, len, now, datagrams),
            None => self.counters.count(Drop::NoEndpoint),
        }
        if let Progress::Over(reason) = progress {
            self.close_flow(id, reason, now);
        }
    }

    /// Ends a flow that the egress could not open: `first`, its first packet, is answered as the network would have
    /// without a gateway in between.
    pub fn refuse_flow(
        &mut self,
        id: FlowId,
        first: &Packet<'_>,
        reason: CloseReason,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Some(flow) = self.flows.get(id) else { return };
        let client = flow.client;
        self.answer_with(client, now, datagrams, |out| match (reason, first.transport) {
            (CloseReason::ServerRefused, Transport::Tcp { .. }) => reply::reset(first, out),
            (CloseReason::ServerRefused, _) => reply::unreachable(first, Unreachable::Port, out),
            _ => reply::unreachable(first, Unreachable::Host, out),
        });
        self.close_flow(id, reason, now);
    }

    /// Ends a live flow and tells the client's end with a RST, so that the program there does not wait.
    pub(super) fn cut_flow(
        &mut self,
        id: FlowId,
        reason: CloseReason,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        if let Some(flow) = self.flows.close(id) {
            self.tell_client(&flow, now, datagrams);
            self.report_closed(flow, reason, now);
        }
    }

    /// A RST for a TCP connection that ends for a reason of ours.
    pub(super) fn tell_client(&mut self, flow: &Flow, now: Instant, datagrams: &mut impl DatagramSink) {
        let FiveTuple { source, destination, .. } = flow.tuple;
        if let Some(sequence) = flow.reset_sequence() {
            self.answer_with(flow.client, now, datagrams, |out| {
                reply::reset_at(destination, source, sequence, out)
            });
        }
    }

    /// Ends a flow and reports it.
    pub fn close_flow(&mut self, id: FlowId, reason: CloseReason, now: Instant) {
        if let Some(flow) = self.flows.close(id) {
            self.report_closed(flow, reason, now);
        }
    }

    pub(super) fn expire_flows(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        while let Some(flow) = self.flows.expire(now) {
            self.tell_client(&flow, now, datagrams);
            self.report_closed(flow, CloseReason::Idle, now);
        }
    }
}
