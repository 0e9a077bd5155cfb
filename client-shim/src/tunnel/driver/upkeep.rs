//! What the driver does beside moving packets: looks after the link, and tells how it is.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use vmsgate_exchange::refusal::Refusal;
use vmsgate_tunnel::client::ClientEvent;

use super::{Driver, open_socket};
use crate::tunnel::echo;
use crate::tunnel::echoes::Question;
use crate::tunnel::endpoint::next_after;
use crate::tunnel::link::{InUse, LinkState};
use crate::tunnel::mover::Move;
use crate::tunnel::supervisor::{Situation, Steps};
use crate::tunnel::way::{Way, has_route};

/// With each of so many calls to the preferred endpoint its name is resolved anew.
const LOOK_UP_HOME: u32 = 6;
/// Room that sealing may need to pad a packet to sixteen bytes.
const PADDING: usize = 15;

impl Driver {
    /// Asks the supervisor what is due, does it, and publishes how the link is.
    pub(super) fn look_after(&mut self, now: Instant) {
        let busy = !self.connections.is_empty()
            || !self.datagrams.is_empty()
            || self.kernel.as_mut().is_some_and(|kernel| kernel.is_busy(now));
        let situation = Situation {
            busy,
            has_others: self.resolver.addresses().iter().any(|address| *address != self.client.endpoint()),
            away: !self.resolver.preferred().contains(&self.client.endpoint()),
        };
        let Steps { probe, rebind, resolve, next, connect, call_home, remind } =
            self.supervisor.tick(now, SystemTime::now(), situation);
        if resolve {
            self.resolver.begin();
        }
        let moved = next && self.go_on(&self.routed());
        if self.supervisor.state(now) == LinkState::Refused {
            // What it cut, it could no longer say: a program that only receives would wait for ever.
            self.connections.stack().abort_all();
            self.client.rest(now);
        }
        if rebind || moved {
            self.rebind();
        }
        if resolve {
            let endpoint = self.client.endpoint();
            if let Some(obstacle) = Way::to(endpoint).obstacle(endpoint) {
                self.link.send_modify(|link| link.trouble = Some(obstacle));
            }
        }
        if connect {
            self.client.connect(now, &mut self.outbox);
        }
        if let (Some(sequence), Some(ends)) = (probe, self.echo_ends) {
            let mut packet = [0; 128];
            if let Some(len) = echo::write_request(ends, (self.echo_identifier, sequence), 0, &mut packet) {
                self.client.send(&mut packet, len, now, &mut self.outbox);
            }
        }
        if let Some(count) = call_home {
            self.call_home(count, situation.busy, now);
        }
        if remind {
            self.remind(now);
        }
        self.publish(now);
    }

    /// Sends an echo that was asked for. Without a gateway's address of our family, or above the MTU, it stays unanswered.
    pub(super) fn ask(&mut self, question: Question) {
        let Self { client, outbox, scratch, echo_ends, .. } = self;
        let Some(ends) = *echo_ends else { return };
        let now = Instant::now();
        let (sequence, bytes) = self.echoes.note(question, now);
        if let Some(len) = echo::write_request(ends, (self.echoes.identifier, sequence), bytes, scratch) {
            client.send(scratch, len, now, outbox);
        }
    }

    /// Asks whether the preferred endpoint is back. Where it leads to the gateway in use, an echo through the present
    /// tunnel is answered from there, and nothing is lost. Where it leads to another gateway only a handshake is
    /// answered, and what is open here would be unknown there: so that waits until nothing is.
    fn call_home(&mut self, count: u32, busy: bool, now: Instant) {
        if count.is_multiple_of(LOOK_UP_HOME) {
            self.resolver.begin_preferred();
        }
        let home: Vec<_> = self.resolver.preferred().iter().copied().filter(|at| has_route(*at)).collect();
        for at in &home {
            let mut packet = [0; 128];
            let len = self
                .echo_ends
                .and_then(|ends| echo::write_request(ends, (self.echo_identifier, 0), 0, &mut packet));
            if let Some(len) = len {
                self.client.try_at(*at, &mut packet, len, &mut self.outbox);
            }
        }
        // The first echo has had its time.
        if !busy
            && count > 1
            && let Some(at) = home.get(count as usize % home.len().max(1))
        {
            self.client.call(*at, now, &mut self.outbox);
        }
    }

    /// The addresses that this machine has a way to, or all if it has none at all.
    fn routed(&self) -> Vec<SocketAddr> {
        let all = self.resolver.addresses();
        let routed: Vec<_> = all.iter().copied().filter(|address| has_route(*address)).collect();
        if routed.is_empty() { all } else { routed }
    }

    /// Goes to the next of these addresses. Answers whether that needs a socket of another family.
    fn go_on(&mut self, addresses: &[SocketAddr]) -> bool {
        let (before, next) = (self.client.endpoint(), next_after(self.client.endpoint(), addresses));
        if next != before {
            tracing::debug!(from = %before, to = %next, "trying another address of the gateway");
            self.client.set_endpoint(next);
        }
        next.is_ipv4() != before.is_ipv4()
    }

    /// The gateway has said why it accepts us no longer. It has forgotten our keys by now.
    pub(super) fn refused(&mut self, refusal: Refusal, now: Instant) {
        tracing::debug!(?refusal, "shut out");
        self.supervisor.refuse(now);
        // What it cut, it could no longer say: a program that only receives would wait for ever.
        self.connections.stack().abort_all();
        self.client.rest(now);
        self.link.send_modify(|link| link.refusal = Some(refusal));
        self.publish(now);
    }

    /// Begins to move to other keys. A move that is under way is given up for it.
    pub(super) fn begin_move(&mut self, Move { keys, outcome }: Move) {
        self.client.move_to(keys, Instant::now(), &mut self.outbox);
        self.moving = Some(outcome);
    }

    /// Notes what became of changes of keys. Answers whether one was completed on purpose.
    pub(super) fn note_moves(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(event) = self.client.poll_event() {
            tracing::debug!(?event, "keys");
            // Whoever waits for the outcome is to find it in the link.
            self.publish(now);
            let outcome = match event {
                ClientEvent::Moved => Some(true),
                ClientEvent::MoveFailed => Some(false),
                ClientEvent::FellBack | ClientEvent::Answered => None,
            };
            if let Some(outcome) = outcome
                && let Some(waiting) = self.moving.take()
            {
                let _ = waiting.send(outcome);
            }
            moved |= matches!(event, ClientEvent::Moved | ClientEvent::Answered);
        }
        moved
    }

    fn publish(&mut self, now: Instant) {
        let status = self.client.status(now);
        let traffic = self.client.counters().traffic;
        let state = self.supervisor.state(now);
        self.link.send_modify(|link| {
            if link.state != state {
                tracing::debug!(?state, endpoint = %self.client.endpoint(), "the link changed");
                (link.state, link.since) = (state, Timestamp::now());
            }
            if link.is_connected() {
                link.trouble = None;
            }
            if state != LinkState::Refused {
                link.refusal = None;
            }
            link.endpoint = Some(self.client.endpoint());
            link.in_use = Some(InUse {
                client: status.key,
                gateway: status.gateway,
                post_quantum: status.post_quantum,
            });
            link.handshake_age = status.handshake_age;
            link.handshake_time = status.round_trip;
            link.round_trip = self.supervisor.round_trip().or(status.round_trip);
            (link.bytes_received, link.bytes_sent) = (traffic.bytes_down, traffic.bytes_up);
        });
    }

    /// A look-up has ended: goes to an address that was not known before, unless the gateway has answered meanwhile.
    pub(super) fn looked_up(&mut self, found: Result<Vec<SocketAddr>, String>) {
        if self.link.borrow().is_connected() {
            return;
        }
        match found {
            Ok(new) if new.is_empty() => {}
            Ok(new) => {
                if self.go_on(&new) {
                    self.rebind();
                }
                self.client.connect(Instant::now(), &mut self.outbox);
            }
            Err(trouble) => {
                self.link.send_modify(|link| link.trouble = Some(trouble));
            }
        }
    }

    /// Opens a new socket. Where that fails the old one stays, and the supervisor will ask again.
    fn rebind(&mut self) {
        match open_socket(self.client.endpoint(), &self.resolver.addresses()) {
            Ok(socket) => self.socket = socket,
            Err(error) => {
                tracing::debug!(%error, "no new socket");
                self.link.send_modify(|link| link.trouble = Some(error.to_string()));
            }
        }
    }

    /// Asks the gateway about every connection, since it may have forgotten them.
    fn remind(&mut self, now: Instant) {
        for mut reminder in self.reminders.all() {
            let len = reminder.len();
            reminder.resize(len + PADDING, 0);
            self.client.send(&mut reminder, len, now, &mut self.outbox);
        }
    }
}
