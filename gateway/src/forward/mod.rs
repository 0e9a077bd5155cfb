//! How allowed packets reach the recording network.

pub mod proxy;
pub mod tun;
mod waiting;

use std::time::Instant;

use vmsgate_tunnel::flow::FlowId;
use vmsgate_tunnel::packet::Packet;
use vmsgate_tunnel::sink::InnerSink;

pub use self::waiting::{Held, Waiting};

use self::proxy::Proxy;

/// Takes what policy allowed of one datagram: the gateway's own services and, with egress `proxy`, everything goes to
/// the userspace stack; with egress `tun` the rest is the kernel's. Packets of a new flow wait for its record.
pub struct Forward<'a> {
    proxy: &'a mut Proxy,
    waiting: &'a mut Waiting,
    routed: bool,
    /// The flow and length of a packet for the kernel, which lies where it was decrypted to.
    for_kernel: Option<(FlowId, usize)>,
}

impl<'a> Forward<'a> {
    pub fn new(proxy: &'a mut Proxy, waiting: &'a mut Waiting, routed: bool) -> Self {
        Forward { proxy, waiting, routed, for_kernel: None }
    }

    pub fn for_kernel(self) -> Option<(FlowId, usize)> {
        self.for_kernel
    }
}

impl InnerSink for Forward<'_> {
    fn opened(&mut self, flow: FlowId) {
        self.waiting.begin(flow);
    }

    fn packet(&mut self, flow: FlowId, client: u32, packet: &Packet<'_>, now: Instant) {
        if self.waiting.contains(flow) {
            if !self.routed {
                // Its record names the address and port that it will leave from.
                self.proxy.prepare(flow, client, packet, now);
            }
            self.waiting.hold(flow, client, packet);
        } else if self.routed && !self.proxy.is_own(packet.destination) {
            self.for_kernel = Some((flow, packet.bytes().len()));
        } else {
            self.proxy.packet(flow, client, packet, now);
        }
    }
}
