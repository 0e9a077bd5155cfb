//! The stateful flow table: a client opens flows, the recording network never does.
//!
//! Flows of one idle class (established TCP, half-open or closing TCP, UDP, ICMP) share an idle limit, so each class
//! is a list in order of last use and expiry only ever looks at its head. A flow moves to the tail of its list at
//! most once a second, which keeps the packet path to one hash look-up. When the table is full, the flow that has
//! been idle longest makes room, but never one that was used in the last [`EVICTION_GRACE`].

mod list;
mod reason;
mod tcp;
mod tls;
mod traffic;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::FixedState;
use slab::Slab;

use crate::bandwidth::Share;
use crate::packet::{FiveTuple, TcpFlags, Transport};
use crate::policy::{Allowed, Protocol};
use list::{Links, List};
use tcp::TcpState;
use tls::{Segment, Sight, TlsWatch};

pub use reason::CloseReason;
pub use tls::FirstBytes;
pub use traffic::{Direction, Traffic, Volume};

/// A flow in recent use is never evicted: the new one is refused instead.
pub const EVICTION_GRACE: Duration = Duration::from_secs(30);
/// Precision of "last use" in the lists.
const TOUCH_INTERVAL: Duration = Duration::from_secs(1);

/// Names a flow; never reused while the gateway runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    slot: u32,
    generation: u32,
}

impl FlowId {
    pub fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }
}

/// One flow.
#[derive(Debug)]
pub struct Flow {
    pub id: FlowId,
    /// The owner, by its place in the gateway's table of clients.
    pub client: u32,
    /// Seen from the client.
    pub tuple: FiveTuple,
    pub allowed: Allowed,
    pub opened: Instant,
    pub traffic: Traffic,
    last_used: Instant,
    last_packet: Option<Instant>,
    class: Class,
    tcp: TcpState,
    tls: TlsWatch,
    links: Links,
    /// Its part in the client's bandwidth, each way.
    shares: [Share; 2],
}

/// Idle limits and sizes. Defaults: `docs/configuration.md`.
#[derive(Debug, Clone)]
pub struct FlowLimits {
    pub tcp_established: Duration,
    /// TCP that is opening or closing.
    pub tcp_transitory: Duration,
    pub udp: Duration,
    pub icmp: Duration,
    pub per_client: usize,
    pub total: usize,
    /// What one client may open per second, in the long run.
    pub new_per_second: u32,
}

/// Idle classes, in the order in which they give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Icmp,
    Udp,
    TcpTransitory,
    TcpEstablished,
}

const CLASSES: [Class; 4] = [Class::Icmp, Class::Udp, Class::TcpTransitory, Class::TcpEstablished];

/// Every live flow of one worker.
#[derive(Debug)]
pub struct FlowTable {
    limits: FlowLimits,
    flows: Slab<Flow>,
    by_tuple: HashMap<(u32, FiveTuple), u32, FixedState>,
    lists: [List; 4],
    per_client: HashMap<u32, Vec<u32>, FixedState>,
    next_generation: u32,
}

/// The table is full of flows in recent use: as many as this allows.
#[derive(Debug, PartialEq, Eq)]
pub enum Full {
    /// [`FlowLimits::per_client`]
    Client,
    /// [`FlowLimits::total`]
    Total,
}

/// What a packet did to its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Continues,
    /// The flow is over for this reason: close it once the packet is on its way.
    Over(CloseReason),
    /// TLS is required and not told yet: the packet goes no further, its sender repeats it.
    Held,
    /// TLS is required and this is clear text: the packet goes no further, the flow is to be cut.
    ClearText,
}

impl FlowTable {
    pub fn new(limits: FlowLimits, seed: u64) -> Self {
        FlowTable {
            limits,
            flows: Slab::new(),
            by_tuple: HashMap::with_hasher(FixedState::with_seed(seed)),
            lists: Default::default(),
            per_client: HashMap::with_hasher(FixedState::with_seed(seed)),
            next_generation: 0,
        }
    }

    pub fn set_limits(&mut self, limits: FlowLimits) {
        self.limits = limits;
    }

    pub fn limits(&self) -> &FlowLimits {
        &self.limits
    }

    pub fn len(&self) -> usize {
        self.flows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    pub fn get(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(id.slot as usize).filter(|flow| flow.id == id)
    }

    pub fn find(&self, client: u32, tuple: FiveTuple) -> Option<FlowId> {
        let slot = *self.by_tuple.get(&(client, tuple))?;
        self.flows.get(slot as usize).map(|flow| flow.id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().map(|(_, flow)| flow)
    }

    pub fn of_client(&self, client: u32) -> impl Iterator<Item = &Flow> {
        let slots = self.per_client.get(&client).map(Vec::as_slice).unwrap_or_default();
        slots.iter().filter_map(|slot| self.flows.get(*slot as usize))
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.flows.get_mut(id.slot as usize).filter(|flow| flow.id == id)
    }

    pub(crate) fn each_of_client(&mut self, client: u32, mut act: impl FnMut(&mut Flow)) {
        for slot in self.per_client.get(&client).map(Vec::as_slice).unwrap_or_default() {
            if let Some(flow) = self.flows.get_mut(*slot as usize) {
                act(flow);
            }
        }
    }

    /// Adds a flow, and gives back the one that had to make room.
    pub fn open(
        &mut self,
        client: u32,
        tuple: FiveTuple,
        allowed: Allowed,
        now: Instant,
    ) -> Result<(FlowId, Option<Flow>), Full> {
        let evicted = match self.victim(client) {
            None => None,
            Some((slot, full)) => match slot.and_then(|slot| self.flows.get(slot as usize)) {
                Some(victim) if now.saturating_duration_since(victim.last_used) >= EVICTION_GRACE => {
                    self.close(victim.id)
                }
                _ => return Err(full),
            },
        };
        let entry = self.flows.vacant_entry();
        let slot = entry.key() as u32;
        self.next_generation = self.next_generation.wrapping_add(1);
        let id = FlowId { slot, generation: self.next_generation };
        let class = match tuple.protocol {
            Protocol::Tcp => Class::TcpTransitory,
            Protocol::Udp => Class::Udp,
            Protocol::Icmp => Class::Icmp,
        };
        entry.insert(Flow {
            id,
            client,
            tuple,
            allowed,
            opened: now,
            traffic: Traffic::default(),
            last_used: now,
            last_packet: None,
            class,
            tcp: TcpState::default(),
            tls: TlsWatch::default(),
            links: Links::default(),
            shares: Default::default(),
        });
        self.lists[class as usize].push(&mut self.flows, slot);
        self.by_tuple.insert((client, tuple), slot);
        self.per_client.entry(client).or_default().push(slot);
        Ok((id, evicted))
    }

    /// Counts a packet of the flow, or a train of packets with one header, and follows its TCP state. What must not
    /// pass is not counted.
    pub fn follow(
        &mut self,
        id: FlowId,
        direction: Direction,
        transport: Transport,
        payload: &[u8],
        volume: Volume,
        now: Instant,
    ) -> Progress {
        let Some(flow) = self.flows.get_mut(id.slot as usize).filter(|flow| flow.id == id) else {
            return Progress::Continues;
        };
        if !flow.tls.is_settled()
            && let Some(stopped) = flow.watch(direction, transport, payload)
        {
            return stopped;
        }
        flow.traffic.count(direction, volume);
        flow.last_packet = Some(now);
        let mut class = flow.class;
        if let Transport::Tcp { flags, sequence, acknowledgement, payload_len, .. } = transport {
            flow.tcp.follow(direction, flags, (sequence, acknowledgement), payload_len);
            if let Some(reason) = flow.tcp.over() {
                return Progress::Over(reason);
            }
            class = if flow.tcp.is_established() { Class::TcpEstablished } else { Class::TcpTransitory };
        }
        if class != flow.class || now.saturating_duration_since(flow.last_used) >= TOUCH_INTERVAL {
            let from = flow.class;
            flow.last_used = now;
            flow.class = class;
            self.lists[from as usize].remove(&mut self.flows, id.slot);
            self.lists[class as usize].push(&mut self.flows, id.slot);
        }
        Progress::Continues
    }

    /// Whether a TCP packet may be the first of a flow.
    pub fn may_open(transport: Transport) -> bool {
        matches!(
            transport,
            Transport::Tcp { flags: TcpFlags { syn: true, ack: false, .. }, .. }
                | Transport::Udp { .. }
                | Transport::EchoRequest { .. }
        )
    }

    /// Asks for TLS, by this rule, or no longer does. Answers whether clear text was seen already.
    pub fn require_tls(&mut self, id: FlowId, rule: Option<Arc<str>>) -> bool {
        let Some(flow) = self.flows.get_mut(id.slot as usize).filter(|flow| flow.id == id) else {
            return false;
        };
        flow.allowed.require_tls = rule;
        flow.allowed.require_tls.is_some() && flow.tls.first_bytes() == FirstBytes::Plain
    }

    /// Takes a flow out of the table.
    pub fn close(&mut self, id: FlowId) -> Option<Flow> {
        let class = self.get(id)?.class;
        self.lists[class as usize].remove(&mut self.flows, id.slot);
        let flow = self.flows.try_remove(id.slot as usize)?;
        self.by_tuple.remove(&(flow.client, flow.tuple));
        if let Some(slots) = self.per_client.get_mut(&flow.client) {
            slots.retain(|slot| *slot != id.slot);
            if slots.is_empty() {
                self.per_client.remove(&flow.client);
            }
        }
        Some(flow)
    }

    /// Takes out the next flow that has been idle too long; call until there is none.
    pub fn expire(&mut self, now: Instant) -> Option<Flow> {
        let id = CLASSES.iter().find_map(|class| {
            let flow = self.oldest(*class)?;
            (now.saturating_duration_since(flow.last_used) >= self.idle_limit(*class)).then_some(flow.id)
        })?;
        self.close(id)
    }

    /// When [`FlowTable::expire`] has work next.
    pub fn next_expiry(&self) -> Option<Instant> {
        CLASSES
            .iter()
            .filter_map(|class| Some(self.oldest(*class)?.last_used + self.idle_limit(*class)))
            .min()
    }

    fn oldest(&self, class: Class) -> Option<&Flow> {
        self.flows.get(self.lists[class as usize].head()? as usize)
    }

    fn idle_limit(&self, class: Class) -> Duration {
        match class {
            Class::Icmp => self.limits.icmp,
            Class::Udp => self.limits.udp,
            Class::TcpTransitory => self.limits.tcp_transitory,
            Class::TcpEstablished => self.limits.tcp_established,
        }
    }

    /// None when there is room; else the slot that gives way, if there is any, and what there is no room in.
    fn victim(&self, client: u32) -> Option<(Option<u32>, Full)> {
        let slots = self.per_client.get(&client).map(Vec::as_slice).unwrap_or_default();
        if slots.len() >= self.limits.per_client {
            let last_used = |slot: &u32| self.flows.get(*slot as usize).map(|flow| flow.last_used);
            return Some((slots.iter().copied().min_by_key(last_used), Full::Client));
        }
        if self.flows.len() >= self.limits.total {
            let oldest =
                CLASSES.iter().filter_map(|class| self.oldest(*class)).min_by_key(|flow| flow.last_used);
            return Some((oldest.map(|flow| flow.id.slot), Full::Total));
        }
        None
    }
}

impl Flow {
    pub fn destination(&self) -> SocketAddr {
        self.tuple.destination
    }

    /// The sequence number for a RST that the client will believe; none outside TCP and before its handshake.
    pub fn reset_sequence(&self) -> Option<u32> {
        self.tcp.client_expects()
    }

    /// The same for a RST to the server.
    pub fn server_reset_sequence(&self) -> Option<u32> {
        self.tcp.server_expects()
    }

    /// What a TCP connection was seen to carry; none of other protocols.
    pub fn first_bytes(&self) -> Option<FirstBytes> {
        (self.tuple.protocol == Protocol::Tcp).then(|| self.tls.first_bytes())
    }

    /// Looks at a packet of a connection whose first bytes are not told yet. Answers why it must not pass.
    #[cold]
    fn watch(&mut self, direction: Direction, transport: Transport, payload: &[u8]) -> Option<Progress> {
        let Transport::Tcp { flags, sequence, acknowledgement, payload_len, .. } = transport else {
            return None;
        };
        let sight = self.tls.look(direction, &Segment { flags, sequence, acknowledgement, payload });
        self.allowed.require_tls.as_ref()?;
        match sight {
            Sight::Fitting => {
                if let (Direction::Up, Some(end)) = (direction, self.tls.judged_up_to()) {
                    self.tcp.server_will_expect(end);
                }
                None
            }
            Sight::TooFarOn => Some(Progress::Held),
            Sight::ClearText => {
                // Where each end will believe a RST.
                self.tcp.follow(direction, flags, (sequence, acknowledgement), payload_len);
                Some(Progress::ClearText)
            }
        }
    }

    pub(crate) fn share(&mut self, direction: Direction) -> &mut Share {
        let [up, down] = &mut self.shares;
        match direction {
            Direction::Up => up,
            Direction::Down => down,
        }
    }

    /// What the flow wants of its client's bandwidth, in bytes per second.
    pub(crate) fn wish(&self, direction: Direction) -> u32 {
        let [up, down] = &self.shares;
        match direction {
            Direction::Up => up.wish(),
            Direction::Down => down.wish(),
        }
    }

    /// When the last packet passed.
    pub fn last_packet(&self) -> Option<Instant> {
        self.last_packet
    }

    /// Since when no packet passed, to within a second.
    pub fn last_used(&self) -> Instant {
        self.last_used
    }
}

#[cfg(test)]
mod tests;
