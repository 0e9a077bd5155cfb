//! One TCP connection: a smoltcp socket with an interface of its own, and the deadlines smoltcp leaves to others.

mod exchange;

use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{self, State};
use smoltcp::wire::{HardwareAddress, IpEndpoint};

use super::budget::Reservation;
use super::device::Port;
use super::error::Broken;
use super::receiver::Receiver;
use super::schedule::Place;
use super::segment::{Segment, SynOptions};
use super::sender::Sender;
use super::time_wait::TimeWait;

/// Both sides must have completed the handshake within this time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// Sent data must be acknowledged, or a closed window confirmed, within this time. About what Linux's default of 15
/// retransmissions allows, so that a laptop that sleeps through a coffee break keeps its connections.
const STALL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// A released connection must have finished within this time (Linux: `tcp_fin_timeout`).
const LINGER_LIMIT: Duration = Duration::from_secs(60);

/// Delay of an acknowledgement that no other segment carries. Every second full segment is acknowledged at once.
const ACK_DELAY: smoltcp::time::Duration = smoltcp::time::Duration::from_millis(10);

/// By how much smoltcp's clock is advanced to make it start over: more than its longest retransmission timeout.
const START_OVER: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(61);

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
    environment: Environment,
    /// How far smoltcp's clock is ahead: it is advanced to make smoltcp send again.
    lead: smoltcp::time::Duration,
    receiver: Receiver,
    handshake: Handshake,
    /// From the end of the handshake on.
    sender: Option<Sender>,
    /// The window that smoltcp was shown last.
    shown_window: Option<u16>,
    /// The latest acknowledgement of the peer: the form for those that are made up.
    template: Option<(Segment, Box<[u8]>)>,
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

/// What the two SYNs have shown so far.
#[derive(Debug, Default)]
struct Handshake {
    /// Sequence number of our own.
    sent: Option<u32>,
    /// Options and window of the peer's.
    received: Option<(SynOptions, u16)>,
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
        socket.set_congestion_control(tcp::CongestionControl::None);
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
            environment,
            lead: smoltcp::time::Duration::ZERO,
            receiver: Receiver::new(reservation.buffer_bytes),
            handshake: Handshake::default(),
            sender: None,
            shown_window: None,
            template: None,
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

    /// The application has read `bytes`.
    pub(super) fn note_read(&mut self, bytes: usize) {
        self.receiver.read(bytes);
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
        let queued = self.socket().send_queue();
        if let Some(sender) = &mut self.sender {
            sender.written(queued);
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

    /// Whether smoltcp has something to send at once, without regard to timers.
    pub(super) fn wants_to_send(&mut self) -> bool {
        // Any time does: work that is due at once is reported as time zero.
        let time = smoltcp::time::Instant::ZERO;
        self.interface.poll_at(time, &self.sockets) == Some(time)
    }
}

impl Connection {
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

    fn time(&self, now: Instant) -> smoltcp::time::Instant {
        smoltcp_time(self.environment.epoch, now) + self.lead
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
        let time = self.time(now);
        let own = self.interface.poll_at(time, &self.sockets).map(|at| match at <= time {
            true => now,
            false => now + Duration::from(at - time),
        });
        let open = !matches!(self.socket().state(), State::Closed | State::Listen | State::TimeWait);
        let sender = self.sender.as_ref().filter(|_| open).and_then(Sender::deadline);
        own.into_iter().chain(sender).min()
    }
}

fn smoltcp_time(epoch: Instant, now: Instant) -> smoltcp::time::Instant {
    let micros = now.saturating_duration_since(epoch).as_micros();
    smoltcp::time::Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
