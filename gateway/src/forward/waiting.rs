//! Packets of flows whose record is not on disk yet. They are few and soon gone: while a flow waits for its server or
//! for the disk, its client repeats a packet or two.

use std::collections::HashMap;

use vmsgate_tunnel::flow::FlowId;
use vmsgate_tunnel::packet::Packet;

/// Of one flow: a repeated SYN, the first datagrams of a UDP exchange. What comes beyond is lost, as on a busy link.
const PACKETS_MAX: usize = 8;

#[derive(Debug, Default)]
pub struct Waiting(HashMap<FlowId, Held>);

/// What one flow's client has sent so far.
#[derive(Debug, Default)]
pub struct Held {
    pub client: u32,
    pub packets: Vec<Box<[u8]>>,
}

impl Waiting {
    /// From now on the flow's packets wait.
    pub fn begin(&mut self, flow: FlowId) {
        self.0.insert(flow, Held::default());
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn contains(&self, flow: FlowId) -> bool {
        // Nearly always nobody waits, and then nothing is hashed.
        !self.0.is_empty() && self.0.contains_key(&flow)
    }

    pub fn hold(&mut self, flow: FlowId, client: u32, packet: &Packet<'_>) {
        if let Some(held) = self.0.get_mut(&flow)
            && held.packets.len() < PACKETS_MAX
        {
            held.client = client;
            held.packets.push(packet.bytes().into());
        }
    }

    /// The flow waits no more: these packets may go, or are dropped with it.
    pub fn end(&mut self, flow: FlowId) -> Option<Held> {
        self.0.remove(&flow)
    }
}
