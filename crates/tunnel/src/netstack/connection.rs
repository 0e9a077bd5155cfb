//! One TCP connection: a smoltcp socket with an interface of its own, and the deadlines smoltcp leaves to others.

use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{self, State};
use smoltcp::wire::{HardwareAddress, IpAddress, IpEndpoint};
use thiserror::Error;

use super::budget::Reservation;
use super::device::Port;
use super::receiver::Receiver;
use super::schedule::Place;
use super::segment::{Edit, MAX_HEADERS, Segment, SynOptions};
use super::sender::{Sender, Verdict};
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

    /// Takes a segment in. smoltcp's immediate answers (duplicate acknowledgements, resets) go to `reply`.
    pub(super) fn receive(
        &mut self,
        packet: &[u8],
        segment: &Segment,
        now: Instant,
        scratch: &mut Vec<u8>,
        reply: &mut impl FnMut(&[u8]),
    ) {
        if self.broken.is_some() || self.receiver.exceeds_syn_window(segment) {
            return;
        }
        if segment.syn && self.sender.is_none() {
            let options = segment.syn_options(packet);
            self.receiver.peer_syn(segment.seq, options.window_scale.is_some());
            self.handshake.received = Some((options, segment.window));
            self.start_sender();
        }
        let mut advanced = false;
        let mut window = segment.window;
        if let Some(sender) = &mut self.sender
            && !segment.rst
        {
            advanced = sender.acknowledged(segment, segment.selective_acks(packet), now);
            window = sender.shown_window(segment);
        }
        let next = self.next_expected();
        let shown = Some(window);
        let mut news = advanced || self.shown_window != shown || !self.handshake_done();
        if advanced && segment.seq != next && !segment.syn {
            // smoltcp ignores the acknowledgement of a segment outside its window, such as one sent again.
            let edit = Edit { seq: Some(next), window: shown, bare: true, ..Edit::default() };
            self.feed(segment.edited(packet, edit, scratch), now, reply);
            news = false;
        }
        // It counts acknowledgements that say nothing new, and would act on the third.
        if news || !segment.is_idle(next) {
            let without_fin = self.receiver.fin_is_premature(segment);
            let edit = Edit { window: shown, without_fin, ..Edit::default() };
            self.feed(segment.edited(packet, edit, scratch), now, reply);
        }
        self.shown_window = shown;
        self.keep_template(packet, segment);
        self.after_receive(segment, now);
    }

    /// Does what time has made due, before [`Connection::transmit`].
    pub(super) fn handle_timeout(&mut self, now: Instant, scratch: &mut Vec<u8>) {
        let due = self.sender.as_ref().and_then(Sender::deadline).is_some_and(|at| at <= now);
        if due && self.sender.as_mut().is_some_and(|sender| sender.handle_timeout(now)) {
            self.show_window(now, scratch);
        }
    }

    /// Sends at most one packet into `buffer`; answers its length.
    pub(super) fn transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        loop {
            if self.sender.as_mut().is_some_and(Sender::start_over) {
                self.lead += START_OVER;
            }
            let time = self.time(now);
            let mut port = Port::new(self.environment.mtu, buffer);
            self.interface.poll_egress(time, &mut port, &mut self.sockets);
            let len = port.sent()?;
            let packet = buffer.get_mut(..len)?;
            let Some(segment) = Segment::parse(packet) else { return Some(len) };
            if segment.syn {
                self.handshake.sent = Some(segment.seq);
                self.start_sender();
            }
            let Some(len) = self.screen(&segment, packet, now) else { continue };
            if matches!(self.socket().state(), State::TimeWait | State::Closing) {
                self.final_ack = buffer.get(..len).map(Into::into);
            }
            return Some(len);
        }
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

    /// Whether smoltcp has something to send at once, without regard to timers.
    pub(super) fn wants_to_send(&mut self) -> bool {
        // Any time does: work that is due at once is reported as time zero.
        let time = smoltcp::time::Instant::ZERO;
        self.interface.poll_at(time, &self.sockets) == Some(time)
    }
}

impl Connection {
    fn feed(&mut self, packet: &[u8], now: Instant, reply: &mut impl FnMut(&[u8])) {
        let time = self.time(now);
        let mut buffer = [0; MAX_HEADERS];
        let mut port = Port::with_received(self.environment.mtu, packet, &mut buffer);
        self.interface.poll_ingress_single(time, &mut port, &mut self.sockets);
        if let Some(answer) = port.sent().and_then(|len| buffer.get_mut(..len))
            && let Some(segment) = Segment::parse(answer)
            && let Some(len) = self.screen(&segment, answer, now)
        {
            reply(answer.get(..len).unwrap_or_default());
        }
    }

    /// Decides whether a packet of smoltcp's may leave, and amends it; answers its new length.
    fn screen(&mut self, segment: &Segment, packet: &mut [u8], now: Instant) -> Option<usize> {
        let news = self.receiver.sent(segment);
        let Some(sender) = self.sender.as_mut().filter(|_| !segment.syn) else { return Some(packet.len()) };
        // An acknowledgement or reset counts from the end of what was sent, or the peer takes it for an old one;
        // smoltcp counts from where it has started over.
        let at_end = Edit { seq: Some(sender.max()), ..Edit::default() };
        if segment.is_bare() || segment.rst {
            let as_it_is = segment.seq == sender.max();
            return Some(if as_it_is { packet.len() } else { segment.amend(packet, at_end) });
        }
        match sender.judge(segment, now) {
            Verdict::Send => Some(packet.len()),
            // The acknowledgement that it carries is wanted all the same.
            Verdict::Hold => news.then(|| segment.amend(packet, Edit { bare: true, ..at_end })),
        }
    }

    fn start_sender(&mut self) {
        if let (None, Some(sent), Some((options, window))) =
            (&self.sender, self.handshake.sent, self.handshake.received)
        {
            self.sender = Some(Sender::new(sent.wrapping_add(1), self.mss(), options, window.into()));
        }
    }

    /// Tells smoltcp of a window that has changed without the peer's doing.
    fn show_window(&mut self, now: Instant, scratch: &mut Vec<u8>) {
        let (Some(sender), Some((segment, packet))) = (&self.sender, self.template.take()) else { return };
        let window = Some(sender.shown_window(&segment));
        if self.shown_window != window {
            self.shown_window = window;
            let (seq, ack) = (Some(self.next_expected()), Some(sender.unacked()));
            let edit = Edit { seq, ack, window, bare: true, ..Edit::default() };
            self.feed(segment.edited(&packet, edit, scratch), now, &mut |_| ());
        }
        self.template = Some((segment, packet));
    }

    fn keep_template(&mut self, packet: &[u8], segment: &Segment) {
        if segment.ack.is_none() || segment.rst {
            return;
        }
        let headers = packet.get(..segment.headers_len()).unwrap_or(packet);
        match &mut self.template {
            Some((kept, bytes)) if bytes.len() == headers.len() => {
                *kept = *segment;
                bytes.copy_from_slice(headers);
            }
            template => *template = Some((*segment, headers.into())),
        }
    }

    fn next_expected(&self) -> u32 {
        let socket = self.socket();
        let peer_closed =
            matches!(socket.state(), State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        self.receiver.next(socket.recv_queue(), peer_closed)
    }

    fn time(&self, now: Instant) -> smoltcp::time::Instant {
        smoltcp_time(self.environment.epoch, now) + self.lead
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
        let time = self.time(now);
        let own = self.interface.poll_at(time, &self.sockets).map(|at| match at <= time {
            true => now,
            false => now + Duration::from(at - time),
        });
        let open = !matches!(self.socket().state(), State::Closed | State::Listen | State::TimeWait);
        let sender = self.sender.as_ref().filter(|_| open).and_then(Sender::deadline);
        own.into_iter().chain(sender).min()
    }

    /// The largest payload of ours that fits the MTU.
    fn mss(&self) -> u32 {
        let headers = match self.local.addr {
            IpAddress::Ipv4(_) => 20 + 20,
            IpAddress::Ipv6(_) => 40 + 20,
        };
        self.environment.mtu.saturating_sub(headers) as u32
    }
}

fn smoltcp_time(epoch: Instant, now: Instant) -> smoltcp::time::Instant {
    let micros = now.saturating_duration_since(epoch).as_micros();
    smoltcp::time::Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
