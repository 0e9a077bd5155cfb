//! The packets of one connection, between the wire and smoltcp: what smoltcp gets to see, and what of its own leaves.

use std::time::Instant;

use smoltcp::socket::tcp::State;
use smoltcp::wire::IpAddress;

use super::{Connection, START_OVER};
use crate::netstack::device::Port;
use crate::netstack::segment::{Edit, MAX_HEADERS, Segment};
use crate::netstack::sender::{Sender, Verdict};

impl Connection {
    /// Takes a segment in. smoltcp's immediate answers (duplicate acknowledgements, resets) go to `reply`.
    pub(in crate::netstack) fn receive(
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
            self.start_sender(now);
        }
        let mut advanced = false;
        let mut window = segment.window;
        if let Some(sender) = &mut self.sender
            && !segment.rst
        {
            advanced = sender.acknowledged(segment, segment.selective_acks(packet), now);
            window = sender.shown_window(segment.syn);
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
    pub(in crate::netstack) fn handle_timeout(&mut self, now: Instant, scratch: &mut Vec<u8>) {
        let due = self.sender.as_ref().and_then(Sender::deadline).is_some_and(|at| at <= now);
        if due && self.sender.as_mut().is_some_and(|sender| sender.handle_timeout(now)) {
            self.show_window(now, scratch);
        }
    }

    /// Sends at most one packet into `buffer`; answers its length.
    pub(in crate::netstack) fn transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
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
                self.start_sender(now);
            }
            let Some(len) = self.screen(&segment, packet, now) else { continue };
            if matches!(self.socket().state(), State::TimeWait | State::Closing) {
                self.final_ack = buffer.get(..len).map(Into::into);
            }
            return Some(len);
        }
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

    /// Decides whether a packet of smoltcp's may leave, and completes it; answers its new length.
    fn screen(&mut self, segment: &Segment, packet: &mut [u8], now: Instant) -> Option<usize> {
        let news = self.receiver.sent(segment);
        let as_it_is = Edit::default();
        let Some(sender) = self.sender.as_mut().filter(|_| !segment.syn) else {
            return Some(segment.amend(packet, as_it_is));
        };
        // An acknowledgement or reset counts from the end of what was sent, or the peer takes it for an old one;
        // smoltcp counts from where it has started over.
        let at_end = Edit { seq: Some(sender.max()), ..Edit::default() };
        if segment.is_bare() || segment.rst {
            return Some(segment.amend(packet, at_end));
        }
        match sender.judge(segment, now) {
            Verdict::Send => Some(segment.amend(packet, as_it_is)),
            // The acknowledgement that it carries is wanted all the same.
            Verdict::Hold => news.then(|| segment.amend(packet, Edit { bare: true, ..at_end })),
        }
    }

    fn start_sender(&mut self, now: Instant) {
        if let (None, Some(sent), Some((options, window))) =
            (&self.sender, self.handshake.sent, self.handshake.received)
        {
            let first = sent.wrapping_add(1);
            self.sender = Some(Sender::new(first, self.mss(), options, window.into(), now));
        }
    }

    /// Tells smoltcp of a window that has changed without the peer's doing.
    fn show_window(&mut self, now: Instant, scratch: &mut Vec<u8>) {
        let (Some(sender), Some((segment, packet))) = (&self.sender, self.template.take()) else { return };
        let window = Some(sender.shown_window(false));
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

    /// The largest payload of ours that fits the MTU.
    fn mss(&self) -> u32 {
        let headers = match self.local.addr {
            IpAddress::Ipv4(_) => 20 + 20,
            IpAddress::Ipv6(_) => 40 + 20,
        };
        self.environment.mtu.saturating_sub(headers) as u32
    }
}
