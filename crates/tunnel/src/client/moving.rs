//! From one tunnel to another with other keys, without losing a packet.
//!
//! The second tunnel shakes hands beside the one in use. With its first authentic answer it takes over; the one before
//! only receives from then on, until its keys are over. A tunnel that gets no authentic answer is given up, and nothing
//! has changed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{ClientEvent, ClientKeys, ClientState, Line, SILENCE, transmit};
use crate::noise::{HANDSHAKE_INITIATION, Opened, sealed_len};
use crate::sink::DatagramSink;

/// How long a second tunnel is tried: four handshakes.
const LIMIT: Duration = Duration::from_secs(20);
/// Beyond [`SILENCE`], how long the gateway has to answer a handshake under the agreed pre-shared key before the
/// registered one is tried beside it.
const ANSWER: Duration = Duration::from_secs(1);
/// REJECT_AFTER_TIME of the WireGuard paper: how long the keys of a tunnel live.
const KEY_LIFE: Duration = Duration::from_secs(180);
/// How long a call to another address has for its answer; there will be another.
const CALL_LIMIT: Duration = Duration::from_secs(4);
/// Tunnels that only receive; more than one only when moves follow each other within the life of keys.
const MAX_OLD: usize = 4;

/// A second tunnel that has had no authentic answer yet.
pub(super) struct Pending {
    pub(super) line: Line,
    since: Instant,
    purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It was asked for.
    Move,
    /// To find out whether the gateway has lost the agreed pre-shared key.
    FallBack,
    /// To find out whether a gateway answers at another address than the one in use.
    Call(SocketAddr),
}

impl Pending {
    /// Where its handshakes go, while the tunnel in use talks to `endpoint`.
    pub(super) fn goes_to(&self, endpoint: SocketAddr) -> SocketAddr {
        match self.purpose {
            Purpose::Call(at) => at,
            Purpose::Move | Purpose::FallBack => endpoint,
        }
    }

    fn limit(&self) -> Duration {
        match self.purpose {
            Purpose::Call(_) => CALL_LIMIT,
            Purpose::Move | Purpose::FallBack => LIMIT,
        }
    }
}

impl ClientState {
    /// Begins to move to a tunnel with other keys, in place of a move that is under way. Its end is told by
    /// [`ClientState::poll_event`].
    pub fn move_to(&mut self, keys: ClientKeys, now: Instant, datagrams: &mut impl DatagramSink) {
        self.begin(keys, Purpose::Move, now);
        self.initiate_pending(now, datagrams);
    }

    /// Shakes hands at another address beside the tunnel in use, which goes on as it was unless that is answered. What
    /// answers there may be another gateway, which knows nothing of what was agreed with this one. Without effect while
    /// the keys change.
    pub fn call(&mut self, at: SocketAddr, now: Instant, datagrams: &mut impl DatagramSink) {
        if self.is_changing() {
            return;
        }
        self.begin(self.registered_keys(), Purpose::Call(at), now);
        self.initiate_pending(now, datagrams);
    }

    /// Whether a move that was asked for is under way.
    pub fn is_moving(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.purpose == Purpose::Move)
    }

    /// Whether a second tunnel exists that is more than a call.
    fn is_changing(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !matches!(pending.purpose, Purpose::Call(_)))
    }

    fn begin(&mut self, keys: ClientKeys, purpose: Purpose, now: Instant) {
        let line = self.new_line(keys, now);
        self.pending = Some(Pending { line, since: now, purpose });
    }

    pub(super) fn initiate_pending(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        let Some(pending) = &mut self.pending else { return };
        let room = datagrams.reserve(pending.goes_to(self.endpoint), HANDSHAKE_INITIATION);
        if let Some(message) = pending.line.tunnel.initiate(room, true, now, &mut self.rng) {
            let length = message.len();
            datagrams.commit(length);
        }
    }

    /// Tries the registered pre-shared key beside the agreed one, which a gateway that does not answer may have lost.
    pub(super) fn fall_back_if_silent(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        let silent = self
            .unanswered_since
            .is_some_and(|since| now.saturating_duration_since(since) >= SILENCE + ANSWER);
        if !silent || self.current.keys.agreed.is_none() {
            return;
        }
        match &self.pending {
            Some(Pending { purpose: Purpose::Call(_), .. }) | None => {}
            // It uses a registered key, or is this already.
            Some(pending) if pending.line.keys.agreed.is_none() => return,
            Some(_) => self.events.push_back(ClientEvent::MoveFailed),
        }
        self.begin(self.registered_keys(), Purpose::FallBack, now);
        self.initiate_pending(now, datagrams);
    }

    /// Answers the gateway's own initiation under the registered pre-shared key too: a gateway that restarted calls its
    /// clients, and has lost what was agreed.
    pub(super) fn answer_as_registered(
        &mut self,
        from: SocketAddr,
        initiation: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        if self.current.keys.agreed.is_none() || self.is_changing() {
            return;
        }
        self.begin(self.registered_keys(), Purpose::FallBack, now);
        let Some(pending) = &mut self.pending else { return };
        if let Ok(Opened::Reply(message)) = pending.line.tunnel.open(from.ip(), initiation, &mut self.opened)
        {
            transmit(from, message, datagrams);
        }
    }

    pub(super) fn registered_keys(&self) -> ClientKeys {
        ClientKeys { agreed: None, ..self.current.keys.clone() }
    }

    /// The gateway was heard under the keys in use, so it has lost nothing.
    pub(super) fn cancel_fallback(&mut self) {
        self.pending.take_if(|pending| pending.purpose == Purpose::FallBack);
    }

    pub(super) fn give_up_if_late(&mut self, now: Instant) {
        let late = |pending: &mut Pending| now.saturating_duration_since(pending.since) >= pending.limit();
        if let Some(pending) = self.pending.take_if(late)
            && pending.purpose == Purpose::Move
        {
            self.events.push_back(ClientEvent::MoveFailed);
        }
    }

    /// The second tunnel has had its first authentic answer.
    pub(super) fn take_over(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        let Some(Pending { line, since, purpose }) = self.pending.take() else { return };
        let old = std::mem::replace(&mut self.current, line);
        self.last_initiation = Some(since);
        self.events.push_back(match purpose {
            Purpose::Move => ClientEvent::Moved,
            Purpose::FallBack => ClientEvent::FellBack,
            Purpose::Call(_) => ClientEvent::Answered,
        });
        if let Some(age) = old.tunnel.session_age() {
            if self.old.len() == MAX_OLD {
                self.old.remove(0);
            }
            self.old.push((old, now + KEY_LIFE.saturating_sub(age)));
        }
        // What waited for a handshake of the one before. That one never flushes its own queue of the same packets.
        for mut packet in std::mem::take(&mut self.waiting) {
            let len = packet.len();
            packet.resize(len.next_multiple_of(16), 0);
            let room = datagrams.reserve(self.endpoint, sealed_len(len));
            if let Ok(Some(message)) = self.current.tunnel.seal(&mut packet, len, room) {
                let length = message.len();
                datagrams.commit(length);
            }
        }
    }
}
