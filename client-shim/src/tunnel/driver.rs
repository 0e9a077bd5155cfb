//! The loop that moves packets: UDP batches to the WireGuard state and on to the TCP stack, and back.
//!
//! It is the only owner of the socket and the WireGuard state, and never waits for anything but packets, time and
//! work. In a turn it takes in what has arrived, then lets the stack answer all of it at once, so that one
//! acknowledgement serves many segments and datagrams leave in trains.

mod upkeep;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use vmsgate_config::address::Endpoint;
use vmsgate_exchange::refusal::{self, Refusal};
use vmsgate_netio::{BindError, RecvBatch, UdpSocket};
use vmsgate_tunnel::client::{ClientSettings, ClientState};
use vmsgate_tunnel::packet::{Packet, Transport};

use super::connections::Connections;
use super::datagrams::Datagrams;
use super::echo;
use super::echoes::{Question, Waiting};
use super::endpoint::Resolver;
use super::kernel::Kernel;
use super::link::Link;
use super::mover::Move;
use super::outbox::Outbox;
use super::reminders::Reminders;
use super::supervisor::Supervisor;

/// Packets that the stack may send before the queue is handed to the system: a few trains.
const TRANSMIT_BUDGET: usize = 256;
/// Batches taken in before the stack may answer.
const RECEIVE_BATCHES: usize = 2;
/// Packets and trains taken from the kernel before others have their turn.
const KERNEL_READS: usize = 16;
/// What WireGuard adds to a packet, padding included.
const SEALING: usize = 15 + 32;
/// How often the link is looked after and published.
const LOOK: Duration = Duration::from_millis(500);
/// How long closing connections have at the end to tell the gateway.
const FAREWELL: Duration = Duration::from_millis(300);

pub(super) struct Driver {
    client: ClientState,
    socket: UdpSocket,
    inbox: RecvBatch,
    outbox: Outbox,
    connections: Connections,
    /// This machine's kernel, in mode `tun`.
    kernel: Option<Kernel>,
    datagrams: Datagrams,
    supervisor: Supervisor,
    reminders: Reminders,
    resolver: Resolver,
    link: watch::Sender<Link>,
    moves: mpsc::Receiver<Move>,
    /// The endpoints beside the preferred one.
    others: watch::Receiver<Vec<Endpoint>>,
    /// Echoes that were asked for.
    questions: mpsc::Receiver<Question>,
    /// Those under way.
    echoes: Waiting,
    /// Who waits for the move under way.
    moving: Option<oneshot::Sender<bool>>,
    /// Our tunnel address and the gateway's, for echoes.
    echo_ends: Option<(IpAddr, IpAddr)>,
    echo_identifier: u16,
    gateway_addresses: Vec<IpAddr>,
    /// One packet. Its padding ends at the MTU too: over IPv6 a longer datagram would not fit a 1500-byte link.
    scratch: Vec<u8>,
    mtu: usize,
    send_errors: u64,
    next_look: Instant,
}

/// What a [`Driver`] is made from.
#[derive(Debug)]
pub(super) struct DriverParts {
    pub(super) settings: ClientSettings,
    /// The gateway's addresses in the tunnel.
    pub(super) gateway_addresses: Vec<IpAddr>,
    pub(super) mtu: u16,
    pub(super) connections: Connections,
    pub(super) kernel: Option<Kernel>,
    pub(super) datagrams: Datagrams,
    pub(super) resolver: Resolver,
    pub(super) link: watch::Sender<Link>,
    pub(super) moves: mpsc::Receiver<Move>,
    pub(super) others: watch::Receiver<Vec<Endpoint>>,
    pub(super) questions: mpsc::Receiver<Question>,
    /// The gateway's address outside, and a socket of its family.
    pub(super) endpoint: SocketAddr,
    pub(super) socket: UdpSocket,
}

impl Driver {
    pub(super) fn new(parts: DriverParts, seed: u64) -> Self {
        let now = Instant::now();
        let mut rng = fastrand::Rng::with_seed(seed);
        let own = &parts.settings.addresses;
        let echo_ends = parts.gateway_addresses.iter().find_map(|gateway| {
            let own = own.iter().find(|own| own.is_ipv4() == gateway.is_ipv4())?;
            Some((*own, *gateway))
        });
        let mtu = usize::from(parts.mtu);
        let echo_identifier = rng.u16(..);
        Self {
            socket: parts.socket,
            client: ClientState::new(parts.settings, parts.endpoint, now, rng.u64(..)),
            inbox: RecvBatch::new(),
            outbox: Outbox::default(),
            connections: parts.connections,
            kernel: parts.kernel,
            datagrams: parts.datagrams,
            supervisor: Supervisor::new(now, SystemTime::now()),
            reminders: Reminders::default(),
            resolver: parts.resolver,
            link: parts.link,
            moves: parts.moves,
            others: parts.others,
            questions: parts.questions,
            echoes: Waiting::new(echo_identifier.wrapping_add(1)),
            moving: None,
            echo_ends,
            echo_identifier,
            gateway_addresses: parts.gateway_addresses,
            scratch: vec![0; mtu],
            mtu,
            send_errors: 0,
            next_look: now,
        }
    }

    /// Runs until `stop` becomes true; then tells the gateway about closed connections and ends.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        self.client.connect(Instant::now(), &mut self.outbox);
        loop {
            for _ in 0..RECEIVE_BATCHES {
                if !self.receive_waiting() {
                    break;
                }
            }
            if self.turn(Instant::now()) {
                tokio::task::yield_now().await;
                continue;
            }
            let wake = tokio::time::sleep_until(self.wake_at().into());
            let has_room = self.has_room();
            tokio::select! {
                received = self.socket.recv_batch(&mut self.inbox) => match received {
                    Ok(()) => self.take_in(Instant::now()),
                    Err(error) => self.broken_socket(&error),
                },
                flushed = self.outbox.0.flush(&self.socket), if !self.outbox.0.is_empty() => {
                    if let Err(error) = flushed {
                        self.broken_socket(&error);
                    }
                }
                found = self.resolver.found() => self.looked_up(found),
                Ok(()) = self.others.changed() => {
                    let others = self.others.borrow_and_update().clone();
                    self.resolver.set_others(others);
                    self.resolver.begin();
                }
                Some(next) = self.moves.recv() => self.begin_move(next),
                Some(question) = self.questions.recv() => self.ask(question),
                () = self.connections.stack().work() => {}
                ready = ready(&mut self.kernel), if has_room => if let Err(error) = ready {
                    self.lose_kernel(&error);
                },
                () = self.datagrams.work() => {}
                () = wake => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.say_farewell().await;
    }

    fn receive_waiting(&mut self) -> bool {
        match self.socket.try_recv_batch(&mut self.inbox) {
            Ok(true) => {
                self.take_in(Instant::now());
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.broken_socket(&error);
                false
            }
        }
    }

    /// Takes in the batch that was received.
    fn take_in(&mut self, now: Instant) {
        let Self {
            client,
            inbox,
            outbox,
            connections,
            datagrams,
            kernel,
            supervisor,
            echo_identifier,
            echoes,
            gateway_addresses,
            ..
        } = self;
        let mut refusal = None;
        let before = (client.counters().traffic.packets_down, client.counters().handshakes);
        for datagram in inbox.datagrams() {
            client.handle_datagram(datagram.from, datagram.bytes, now, outbox, &mut |packet: &Packet<'_>| {
                let is_ours = match packet.transport {
                    Transport::Tcp { .. } => {
                        let id = packet.five_tuple().and_then(|tuple| connections.of_packet(tuple));
                        // A segment that the stack refuses is still nobody else's.
                        id.map(|id| connections.stack().handle_packet(id, packet.bytes(), now)).is_some()
                    }
                    Transport::IcmpError { about } => connections.unreachable(about),
                    Transport::EchoReply { identifier } if identifier == *echo_identifier => {
                        if let Some(sequence) = echo::sequence_of(packet) {
                            supervisor.echoed(sequence, now);
                        }
                        true
                    }
                    Transport::EchoReply { identifier } if identifier == echoes.identifier => {
                        if let Some(sequence) = echo::sequence_of(packet) {
                            echoes.answered(sequence, now);
                        }
                        true
                    }
                    Transport::Udp { source_port: refusal::PORT, .. }
                        if gateway_addresses.contains(&packet.source) =>
                    {
                        refusal = Refusal::parse(packet.payload()).or(refusal.take());
                        true
                    }
                    Transport::Udp { .. } => datagrams.deliver(packet),
                    _ => false,
                };
                match kernel {
                    _ if is_ours => {}
                    Some(kernel) => kernel.deliver(packet),
                    None => tracing::trace!(from = %packet.source, "a packet that nobody waits for"),
                }
            });
        }
        if let Some(kernel) = kernel {
            kernel.write();
        }
        if client.counters().traffic.packets_down != before.0 {
            supervisor.heard(now);
        }
        let shaken = client.counters().handshakes != before.1;
        // Other keys are no sign of a gateway that has forgotten.
        match (shaken, self.note_moves(now)) {
            (_, true) => self.supervisor.moved(now),
            (true, false) => self.supervisor.shook_hands(now),
            (false, false) => {}
        }
        if let Some(refusal) = refusal {
            self.refused(refusal, now);
        }
    }

    /// Does everything that is due. Answers whether there is more to send right away.
    fn turn(&mut self, now: Instant) -> bool {
        if now >= self.client.poll_timeout() {
            self.client.handle_timeout(now, &mut self.outbox);
            self.note_moves(now);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look_after(now);
        }
        let more = self.transmit(now) | self.transmit_datagrams(now) | self.take_from_kernel(now);
        let flushed = self.flush();
        self.connections.reap(|id| self.reminders.forget(id));
        // With a full queue there is nothing to do but wait for the socket.
        more && flushed
    }

    /// Whether there is room for what one step sends.
    fn has_room(&self) -> bool {
        self.outbox.0.has_room(TRANSMIT_BUDGET, self.mtu + SEALING)
    }

    /// Seals what the stack has to send, as long as the queue has room.
    fn transmit(&mut self, now: Instant) -> bool {
        if !self.has_room() {
            return true;
        }
        let Self { client, outbox, connections, reminders, scratch, .. } = self;
        connections.stack().poll_transmit(now, TRANSMIT_BUDGET, &mut |id, packet| {
            if let Some(room) = scratch.get_mut(..packet.len()) {
                room.copy_from_slice(packet);
                reminders.note(id, packet);
                client.send(scratch, packet.len(), now, outbox);
            }
        })
    }

    /// The same for datagrams.
    fn transmit_datagrams(&mut self, now: Instant) -> bool {
        let Self { client, outbox, datagrams, scratch, mtu, .. } = self;
        while outbox.0.has_room(1, *mtu + SEALING)
            && let Some(length) = datagrams.poll_transmit(scratch)
        {
            if length > 0 {
                client.send(scratch, length, now, outbox);
            }
        }
        datagrams.has_work()
    }

    /// Seals what the kernel has to send, in place, as long as the queue has room.
    fn take_from_kernel(&mut self, now: Instant) -> bool {
        for _ in 0..KERNEL_READS {
            let has_room = self.has_room();
            let Self { client, outbox, kernel: Some(from), mtu, .. } = self else { return false };
            if !has_room {
                return true;
            }
            match from.read(client.endpoint().ip()) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    self.lose_kernel(&error);
                    return false;
                }
            }
            while let Some(segment) = from.next_packet() {
                let padded = segment.buffer.len().min((*mtu).max(segment.len));
                if let Some(packet) = segment.buffer.get_mut(..padded) {
                    client.send(packet, segment.len, now, outbox);
                }
            }
        }
        true
    }

    fn flush(&mut self) -> bool {
        let flushed = self.outbox.0.try_flush(&self.socket);
        let stats = self.outbox.0.stats();
        // A datagram that is too big for the way out would be for another socket too.
        let errors = stats.dropped_error - stats.dropped_too_big;
        if errors != self.send_errors {
            self.send_errors = errors;
            self.supervisor.send_failed();
            // Not at the next look: a dead address should not cost half a second.
            self.next_look = Instant::now();
        }
        flushed
    }

    /// Somebody has removed the interface. The process that keeps its routes notices too, and the user is told then.
    fn lose_kernel(&mut self, error: &std::io::Error) {
        tracing::debug!(%error, "the interface is of no use any more");
        self.kernel = None;
    }

    fn broken_socket(&mut self, error: &std::io::Error) {
        tracing::debug!(%error, "the socket broke");
        self.supervisor.send_failed();
    }

    fn wake_at(&self) -> Instant {
        let stack = self.connections.stack().poll_timeout();
        stack.into_iter().fold(self.client.poll_timeout().min(self.next_look), Instant::min)
    }

    async fn say_farewell(&mut self) {
        let farewell = async {
            while self.turn(Instant::now()) {
                tokio::task::yield_now().await;
            }
            let _ = self.outbox.0.flush(&self.socket).await;
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("client", &self.client)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Waits until the kernel has something, or takes something; for ever where there is none.
async fn ready(kernel: &mut Option<Kernel>) -> std::io::Result<()> {
    let Some(kernel) = kernel else { return std::future::pending().await };
    kernel.ready().await?;
    kernel.write();
    Ok(())
}

/// A socket on a port of the system's choice: of the endpoint's family, or of both where the gateway has addresses of
/// both. Must be called within a tokio runtime.
///
/// # Errors
/// When the system has no such family, or no socket left.
pub(super) fn open_socket(endpoint: SocketAddr, addresses: &[SocketAddr]) -> Result<UdpSocket, BindError> {
    let of_v4 = || UdpSocket::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
    let of_both = || UdpSocket::bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0));
    match endpoint {
        SocketAddr::V6(_) => of_both(),
        // Of a socket for IPv4 alone, quinn-udp asks on Windows what Wine does not answer.
        SocketAddr::V4(_) if cfg!(windows) || addresses.iter().any(SocketAddr::is_ipv6) => {
            of_both().or_else(|_| of_v4())
        }
        SocketAddr::V4(_) => of_v4(),
    }
}
