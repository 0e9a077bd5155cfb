//! One TCP connection: a smoltcp socket with an interface of its own, and the deadlines smoltcp leaves to others.

use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{self, State};
use smoltcp::wire::{HardwareAddress, IpEndpoint};
use thiserror::Error;

use super::budget::Reservation;
use super::device::Port;
use super::schedule::Place;
use super::segment::{MAX_HEADERS, Segment};
use super::time_wait::TimeWait;
use super::tracker::Tracker;

/// Both sides must have completed the handshake within this time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// Sent data must be acknowledged, or a closed window confirmed, within this time. About what Linux's default of 15
/// retransmissions allows, so that a laptop that sleeps through a coffee break keeps its connections.
const STALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A released connection must have finished within this time (Linux: `tcp_fin_timeout`).
const LINGER_LIMIT: Duration = Duration::from_secs(60);

/// Delay of an acknowledgement that no other segment carries. Every second full segment is acknowledged at once.
const ACK_DELAY: smoltcp::time::Duration = smoltcp::time::Duration::from_millis(10);

/// Why a connection ended without an orderly close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// The peer sent a reset, or refused the connection.
    #[error("the peer reset the connection")]
    Reset,
    /// The peer stopped answering.
    #[error("the peer stopped answering")]
    TimedOut,
    /// This side aborted it, or it does not exist any more.
    #[error("the connection was aborted")]
    Aborted,
}

/// What is common to all connections of a stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Environment {
    pub(super) mtu: usize,
    /// The origin of smoltcp's clock.
    pub(super) epoch: Instant,
}

pub(super) struct Connection {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    local: IpEndpoint,
    remote: IpEndpoint,
    pub(super) reservation: Reservation,
    pub(super) place: Place,
    tracker: Tracker,
    environment: Environment,
    broken: Option<Broken>,
    /// The stream was closed for writing before the handshake was complete.
    fin_wanted: bool,
    /// No stream uses this connection any more.
    released: bool,
    /// When the peer's silence ends the connection; set while an answer is owed.
    patience: Option<Instant>,
    /// The last acknowledgement of a connection that both sides have closed.
    final_ack: Option<Box<[u8]>>,
}

/// What is to become of a connection after a visit.
pub(super) enum Fate {
    /// Visit again at this time, or when something happens.
    Lives(Option<Instant>),
    /// Has something to send now.
    Busy,
    /// Finished, but must answer stragglers for a while.
    TimeWait(TimeWait),
    Gone,
}

impl Connection {
    /// `local` is the end this stack plays, `remote` the peer.
    pub(super) fn new(
        environment: Environment,
        reservation: Reservation,
        (local, remote): (IpEndpoint, IpEndpoint),
        seed: u64,
        now: Instant,
    ) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let time = smoltcp_time(environment.epoch, now);
        let mut interface = Interface::new(config, &mut Port::new(environment.mtu, &mut []), time);
        interface.set_any_ip(true);

        let buffer = || tcp::SocketBuffer::new(vec![0; reservation.buffer_bytes]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(Some(ACK_DELAY));
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = sockets.add(socket);
        Self {
            interface,
            sockets,
            handle,
            local,
            remote,
            reservation,
            place: Place::default(),
            tracker: Tracker::new(reservation.buffer_bytes),
            environment,
            broken: None,
            fin_wanted: false,
            released: false,
            patience: Some(now + HANDSHAKE_LIMIT),
            final_ack: None,
        }
    }

    /// Waits for the SYN that comes next.
    pub(super) fn listen(&mut self) -> Result<(), tcp::ListenError> {
        let local = self.local;
        self.socket_mut().listen(local)
    }

    pub(super) fn connect(&mut self) -> Result<(), tcp::ConnectError> {
        let (local, remote) = (self.local, self.remote);
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        socket.connect(self.interface.context(), remote, local)
    }

    pub(super) fn socket(&self) -> &tcp::Socket<'static> {
        self.sockets.get(self.handle)
    }

    pub(super) fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub(super) const fn broken(&self) -> Option<Broken> {
        self.broken
    }

    pub(super) fn handshake_done(&self) -> bool {
        !matches!(self.socket().state(), State::Listen | State::SynSent | State::SynReceived)
    }

    pub(super) fn belongs(&self, segment: &Segment) -> bool {
        segment.source == self.remote && segment.destination == self.local
    }

    /// Takes a segment in. smoltcp's immediate answers (duplicate acknowledgements, resets) go to `reply`.
    pub(super) fn receive(
        &mut self,
        packet: &[u8],
        segment: &Segment,
        now: Instant,
        reply: &mut impl FnMut(&[u8]),
    ) {
        if self.broken.is_some() || self.tracker.exceeds_syn_window(segment) {
            return;
        }
        if segment.syn {
            self.tracker.peer_syn(segment.scales_window);
        }
        let mut headers = [0; MAX_HEADERS];
        for ack in self.tracker.ack_steps(segment, self.mss()) {
            if let Some(step) = segment.bare_ack(packet, ack, &mut headers) {
                self.feed(step, now, reply);
            }
        }
        if self.tracker.fin_is_premature(segment) {
            self.feed(&segment.without_fin(packet), now, reply);
        } else {
            self.feed(packet, now, reply);
        }
        if let Some(ack) = segment.ack {
            self.tracker.acknowledged(ack);
        }
        self.after_receive(segment, now);
    }

    /// Sends at most one packet into `buffer`; answers its length.
    pub(super) fn transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        let time = smoltcp_time(self.environment.epoch, now);
        let mut port = Port::new(self.environment.mtu, buffer);
        self.interface.poll_egress(time, &mut port, &mut self.sockets);
        let len = port.sent()?;
        let packet = buffer.get(..len)?;
        if let Some(segment) = Segment::parse(packet) {
            self.tracker.sent(&segment);
        }
        if matches!(self.socket().state(), State::TimeWait | State::Closing) {
            self.final_ack = Some(packet.into());
        }
        Some(len)
    }

    /// Ends the sending direction after what is queued.
    pub(super) fn shutdown_write(&mut self) {
        if self.handshake_done() {
            self.socket_mut().close();
        } else {
            self.fin_wanted = true;
        }
    }

    pub(super) fn abort(&mut self, why: Broken) {
        self.broken.get_or_insert(why);
        self.socket_mut().abort();
    }

    /// No stream uses this connection any more: it finishes by itself, or resets if the peer goes on sending.
    pub(super) fn release(&mut self) {
        self.released = true;
        // The clock is not known here: the next visit starts the linger limit.
        self.patience = None;
        if self.socket().recv_queue() > 0 || !self.handshake_done() {
            self.abort(Broken::Aborted);
        } else {
            self.shutdown_write();
        }
    }

    /// Settles what follows from the connection's state and says when to come back.
    pub(super) fn settle(&mut self, now: Instant) -> Fate {
        if self.fin_wanted && self.handshake_done() {
            self.fin_wanted = false;
            self.socket_mut().close();
        }
        if self.patience.is_some_and(|limit| limit <= now) {
            self.abort(Broken::TimedOut);
            self.patience = None;
        }
        let next = self.next_poll(now);
        if next == Some(now) {
            return Fate::Busy;
        }
        match self.socket().state() {
            State::Closed | State::Listen if self.released => return Fate::Gone,
            State::TimeWait if self.released => {
                if let Some(final_ack) = self.final_ack.take() {
                    return Fate::TimeWait(TimeWait::new(self.local, self.remote, final_ack));
                }
            }
            _ => {}
        }
        self.update_patience(now);
        Fate::Lives(next.into_iter().chain(self.patience).min())
    }

    pub(super) fn debug(&mut self) -> String {
        let s = format!("{:?}", self.socket());
        let s: String = s.split(", ").filter(|f| !f.starts_with("Contig") && !f.contains("0, 0") && f.len() < 300 && !f.chars().all(|c| c.is_numeric())).collect::<Vec<_>>().join(" ");
        format!("{:?} {:?} {s}", self.broken, self.tracker)
    }

    /// Whether smoltcp has something to send at once, without regard to timers.
    pub(super) fn wants_to_send(&mut self) -> bool {
        // Any time does: work that is due at once is reported as time zero.
        let time = smoltcp::time::Instant::ZERO;
        self.interface.poll_at(time, &self.sockets) == Some(time)
    }
}

impl Connection {
    fn feed(&mut self, packet: &[u8], now: Instant, reply: &mut impl FnMut(&[u8])) {
        let time = smoltcp_time(self.environment.epoch, now);
        let mut buffer = [0; MAX_HEADERS];
        let mut port = Port::with_received(self.environment.mtu, packet, &mut buffer);
        self.interface.poll_ingress_single(time, &mut port, &mut self.sockets);
        if let Some(answer) = port.sent().and_then(|len| buffer.get(..len)) {
            if let Some(segment) = Segment::parse(answer) {
                self.tracker.sent(&segment);
            }
            reply(answer);
        }
    }

    fn after_receive(&mut self, segment: &Segment, now: Instant) {
        let state = self.socket().state();
        // smoltcp closes the same way for a reset and for the last acknowledgement, and goes back to listening when
        // a handshake is reset.
        if matches!(state, State::Closed | State::Listen) && segment.rst {
            self.broken = Some(Broken::Reset);
        }
        if self.released && self.socket().recv_queue() > 0 {
            self.abort(Broken::Aborted);
        }
        // Whatever arrives shows that the peer is there.
        if !self.released && self.handshake_done() {
            self.patience = None;
            self.update_patience(now);
        }
    }

    fn update_patience(&mut self, now: Instant) {
        let limit = match self.socket().state() {
            State::Closed | State::Listen | State::TimeWait => None,
            State::SynSent | State::SynReceived => Some(HANDSHAKE_LIMIT),
            _ if self.released => Some(LINGER_LIMIT),
            State::FinWait1 | State::Closing | State::LastAck => Some(STALL_LIMIT),
            State::Established | State::FinWait2 | State::CloseWait => {
                (self.socket().send_queue() > 0).then_some(STALL_LIMIT)
            }
        };
        self.patience = limit.map(|limit| self.patience.unwrap_or(now + limit));
    }

    /// When smoltcp wants to be polled; `now` itself when at once.
    fn next_poll(&mut self, now: Instant) -> Option<Instant> {
        let time = smoltcp_time(self.environment.epoch, now);
        let at = self.interface.poll_at(time, &self.sockets)?;
        if at <= time {
            return Some(now);
        }
        Some(now + Duration::from(at - time))
    }

    fn mss(&self) -> u32 {
        // 20 bytes of TCP header, 20 or 40 of IP; the difference does not matter for the size of a step.
        self.environment.mtu.saturating_sub(60) as u32
    }
}

fn smoltcp_time(epoch: Instant, now: Instant) -> smoltcp::time::Instant {
    let micros = now.saturating_duration_since(epoch).as_micros();
    smoltcp::time::Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
