//! The stack: all connections, their packets and their deadlines.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slab::Slab;
use smoltcp::socket::tcp::State;
use smoltcp::wire::IpEndpoint;

use super::budget::{Budget, MemoryLimits, OwnerId};
use super::connection::{Connection, Environment, Fate};
use super::error::{AcceptError, Broken, ConnectError, PacketError};
use super::outlet::{AtOnce, Outlet};
use super::schedule::Schedule;
use super::segment::{MAX_HEADERS, Segment};
use super::time_wait::{TIME_WAIT, TimeWait};

/// Packets one connection may send before it is the next one's turn: a long enough train of equal datagrams for
/// segmentation offload, short enough that 64 busy connections wait milliseconds for each other.
const QUANTUM: usize = 16;

/// The same of a connection that waited for its turn.
const LIMITED_QUANTUM: usize = 2;

/// Immediate answers kept until the next transmit; a batch causes at most one per packet.
const MAX_REPLIES: usize = 1024;

/// Wait before asking smoltcp again when it announced work but did none.
const BACKOFF: Duration = Duration::from_millis(1);

/// The smallest MTU that IPv4 promises to carry (RFC 791).
const MIN_MTU: u16 = 576;

/// Settings of a [`NetStack`].
#[derive(Debug, Clone, Copy)]
pub struct StackConfig {
    /// Largest IP packet, inside the tunnel. Default 1420, WireGuard's usual; below 576 it is taken as 576.
    pub mtu: u16,
    pub memory: MemoryLimits,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self { mtu: 1420, memory: MemoryLimits::default() }
    }
}

/// Names a connection of one [`NetStack`]; never names another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    slot: u32,
    generation: u32,
}

/// A userspace TCP/IP stack; see the [module](super).
pub struct NetStack {
    environment: Environment,
    entries: Slab<Entry>,
    generation: u32,
    schedule: Schedule,
    budget: Budget,
    rng: fastrand::Rng,
    replies: VecDeque<Reply>,
    finished: VecDeque<ConnectionId>,
    /// The packet being sent.
    scratch: Vec<u8>,
    /// The packet being received, as smoltcp gets to see it.
    edited: Vec<u8>,
}

struct Entry {
    generation: u32,
    kind: Kind,
}

enum Kind {
    Live(Box<Connection>),
    TimeWait(TimeWait),
}

struct Reply {
    id: ConnectionId,
    len: usize,
    packet: [u8; MAX_HEADERS],
}

impl NetStack {
    /// A stack without connections. `seed` makes sequence numbers unpredictable and must differ on every start.
    pub fn new(config: StackConfig, seed: u64, now: Instant) -> Self {
        let mtu = usize::from(config.mtu.max(MIN_MTU));
        Self {
            environment: Environment { mtu, epoch: now },
            entries: Slab::new(),
            generation: 0,
            schedule: Schedule::default(),
            budget: Budget::new(config.memory),
            rng: fastrand::Rng::with_seed(seed),
            replies: VecDeque::new(),
            finished: VecDeque::new(),
            scratch: vec![0; mtu],
            edited: Vec::new(),
        }
    }

    /// Opens a connection for a client's SYN, as whatever destination it names. The caller has decided that the
    /// client may have it, and reached the server: the next transmit completes the client's handshake.
    pub fn accept(&mut self, owner: OwnerId, syn: &[u8], now: Instant) -> Result<ConnectionId, AcceptError> {
        let segment = Segment::parse(syn).ok_or(AcceptError::NotASyn)?;
        if !segment.syn || segment.ack.is_some() || segment.rst || segment.fin {
            return Err(AcceptError::NotASyn);
        }
        let ends = (segment.destination, segment.source);
        let mut connection =
            self.new_connection(owner, ends, u16::MAX, now).ok_or(AcceptError::OutOfMemory)?;
        let listening = connection.listen().is_ok();
        connection.receive(syn, &segment, now, &mut self.edited, &mut |_| ());
        if !listening || connection.socket().state() != State::SynReceived {
            self.budget.release(connection.reservation);
            return Err(AcceptError::NotASyn);
        }
        Ok(self.insert(connection))
    }

    /// Opens a connection to `remote` through the tunnel, from the tunnel address and port `local`. The caller sees
    /// to it that the pair of ends is unused. No packet of the connection, in either direction, is longer than `mtu`
    /// or the stack's own, whichever is less.
    pub fn connect(
        &mut self,
        owner: OwnerId,
        (local, remote): (SocketAddr, SocketAddr),
        mtu: u16,
        now: Instant,
    ) -> Result<ConnectionId, ConnectError> {
        let ends = (local.into(), remote.into());
        let mut connection = self.new_connection(owner, ends, mtu, now).ok_or(ConnectError::OutOfMemory)?;
        if connection.connect().is_err() {
            self.budget.release(connection.reservation);
            return Err(ConnectError::Unaddressable);
        }
        Ok(self.insert(connection))
    }

    /// Takes in one IP packet that belongs to a connection. Its answer is sent by [`NetStack::poll_transmit`], once
    /// for a whole batch of packets where TCP allows.
    pub fn handle_packet(
        &mut self,
        id: ConnectionId,
        packet: &[u8],
        now: Instant,
    ) -> Result<(), PacketError> {
        let Self { entries, schedule, replies, edited, .. } = self;
        let entry = entries.get_mut(id.slot as usize).filter(|entry| entry.generation == id.generation);
        let entry = entry.ok_or(PacketError::UnknownConnection)?;
        let segment = Segment::parse(packet).ok_or(PacketError::Malformed)?;
        let mut reply = |packet: &[u8]| push_reply(replies, id, packet);
        match &mut entry.kind {
            Kind::Live(connection) if connection.belongs(&segment) => {
                connection.receive(packet, &segment, now, edited, &mut reply);
                schedule.mark_ready(id, &mut connection.place);
            }
            Kind::TimeWait(time_wait) if time_wait.belongs(&segment) => {
                if let Some(answer) = time_wait.answer(&segment) {
                    reply(answer);
                }
            }
            Kind::Live(_) | Kind::TimeWait(_) => return Err(PacketError::OtherConnection),
        }
        Ok(())
    }

    /// Hands at most `budget` packets to `out`, in turn from all connections that have something to send or whose
    /// time has come. Answers whether there is more.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        budget: usize,
        out: &mut impl FnMut(ConnectionId, &[u8]),
    ) -> bool {
        self.poll_transmit_to(now, budget, &mut AtOnce(out))
    }

    /// The same to an outlet that lets connections wait. What cannot wait, a reset or an acknowledgement of nothing,
    /// does not.
    pub fn poll_transmit_to(&mut self, now: Instant, budget: usize, out: &mut impl Outlet) -> bool {
        self.wake_due(now);
        let mut left = budget;
        while left > 0 {
            let Some(reply) = self.replies.pop_front() else { break };
            out.send(reply.id, reply.packet.get(..reply.len).unwrap_or_default());
            left -= 1;
        }
        while left > 0 {
            let Some(id) = self.schedule.pop_ready() else { break };
            left -= self.visit(id, now, left.min(QUANTUM), out);
        }
        self.has_work()
    }

    /// Whether [`NetStack::poll_transmit`] has something to do right away.
    pub fn has_work(&self) -> bool {
        !self.replies.is_empty() || self.schedule.has_ready()
    }

    /// When to call [`NetStack::poll_transmit`] again if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next_deadline()
    }

    /// A connection that has finished for good after [`NetStack::release`]: its packets are unknown from now on.
    pub fn poll_finished(&mut self) -> Option<ConnectionId> {
        self.finished.pop_front()
    }

    /// Connections that exist, those that only wait for stragglers included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory reserved for the buffers of all connections.
    pub const fn reserved_bytes(&self) -> usize {
        self.budget.total_used()
    }

    /// Resets every connection.
    pub fn abort_all(&mut self) {
        let Self { entries, schedule, .. } = self;
        for (slot, entry) in entries.iter_mut() {
            if let Kind::Live(connection) = &mut entry.kind {
                connection.abort(Broken::Aborted);
                let id = ConnectionId { slot: slot as u32, generation: entry.generation };
                schedule.mark_ready(id, &mut connection.place);
            }
        }
    }

    pub(super) fn live(&self, id: ConnectionId) -> Option<&Connection> {
        let entry = self.entries.get(id.slot as usize)?;
        match &entry.kind {
            Kind::Live(connection) if entry.generation == id.generation => Some(connection),
            Kind::Live(_) | Kind::TimeWait(_) => None,
        }
    }

    pub(super) fn live_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        match &mut entry.kind {
            Kind::Live(connection) if entry.generation == id.generation => Some(connection),
            Kind::Live(_) | Kind::TimeWait(_) => None,
        }
    }

    pub(super) fn mark_ready(&mut self, id: ConnectionId) {
        let Self { entries, schedule, .. } = self;
        if let Some(entry) = entries.get_mut(id.slot as usize)
            && entry.generation == id.generation
            && let Kind::Live(connection) = &mut entry.kind
        {
            schedule.mark_ready(id, &mut connection.place);
        }
    }
}

impl NetStack {
    fn new_connection(
        &mut self,
        owner: OwnerId,
        ends: (IpEndpoint, IpEndpoint),
        mtu: u16,
        now: Instant,
    ) -> Option<Box<Connection>> {
        let mtu = self.environment.mtu.min(usize::from(mtu.max(MIN_MTU)));
        let environment = Environment { mtu, ..self.environment };
        let reservation = self.budget.reserve(owner)?;
        Some(Box::new(Connection::new(environment, reservation, ends, self.rng.u64(..), now)))
    }

    fn insert(&mut self, connection: Box<Connection>) -> ConnectionId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = self.entries.insert(Entry { generation, kind: Kind::Live(connection) });
        let id = ConnectionId { slot: slot as u32, generation };
        self.mark_ready(id);
        id
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some(id) = self.schedule.pop_due(now) {
            let Some(entry) = self.entries.get_mut(id.slot as usize) else { continue };
            match &mut entry.kind {
                Kind::Live(connection) => {
                    connection.place.deadline_passed();
                    self.schedule.mark_ready(id, &mut connection.place);
                }
                Kind::TimeWait(_) => {
                    self.entries.remove(id.slot as usize);
                    self.finished.push_back(id);
                }
            }
        }
    }

    /// Lets one connection send up to `quantum` packets; answers how many it sent.
    fn visit(&mut self, id: ConnectionId, now: Instant, quantum: usize, out: &mut impl Outlet) -> usize {
        let Self { entries, schedule, scratch, edited, budget, finished, .. } = self;
        let Some(entry) = entries.get_mut(id.slot as usize).filter(|entry| entry.generation == id.generation)
        else {
            return 0;
        };
        let Kind::Live(connection) = &mut entry.kind else { return 0 };
        connection.place.leave_queue();
        let waited = connection.place.has_turn();
        if connection.place.waits(now) {
            return 0;
        }
        if let Some(turn) = out.turn(id, now) {
            schedule.set_turn(id, &mut connection.place, turn);
            return 0;
        }
        // Timers wake late: what came together meanwhile is for all who waited.
        let quantum = if waited { quantum.min(LIMITED_QUANTUM) } else { quantum };
        connection.handle_timeout(now, edited);
        let mut sent = 0;
        while sent < quantum
            && (sent == 0 || out.may_send(id, now))
            && let Some(len) = connection.transmit(now, scratch)
        {
            out.send(id, scratch.get(..len).unwrap_or_default());
            sent += 1;
        }
        match connection.settle(now) {
            Fate::Busy if sent > 0 => match out.turn(id, now) {
                Some(turn) => schedule.set_turn(id, &mut connection.place, turn),
                None => schedule.mark_ready(id, &mut connection.place),
            },
            Fate::Busy => schedule.set_deadline(id, &mut connection.place, Some(now + BACKOFF)),
            Fate::Lives(deadline) => schedule.set_deadline(id, &mut connection.place, deadline),
            Fate::TimeWait(mut time_wait) => {
                schedule.remove(id, &mut connection.place);
                schedule.set_deadline(id, &mut time_wait.place, Some(now + TIME_WAIT));
                budget.release(connection.reservation);
                entry.kind = Kind::TimeWait(time_wait);
            }
            Fate::Gone => {
                schedule.remove(id, &mut connection.place);
                budget.release(connection.reservation);
                entries.remove(id.slot as usize);
                finished.push_back(id);
            }
        }
        sent
    }
}

impl std::fmt::Debug for NetStack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetStack")
            .field("connections", &self.entries.len())
            .field("reserved_bytes", &self.budget.total_used())
            .finish_non_exhaustive()
    }
}

fn push_reply(replies: &mut VecDeque<Reply>, id: ConnectionId, packet: &[u8]) {
    let mut reply = Reply { id, len: packet.len(), packet: [0; MAX_HEADERS] };
    if let Some(room) = reply.packet.get_mut(..packet.len()) {
        room.copy_from_slice(packet);
        if replies.len() == MAX_REPLIES {
            replies.pop_front();
        }
        replies.push_back(reply);
    }
}
