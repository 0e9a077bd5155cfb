//! What the driver does beside moving packets: looks after the link, and tells how it is.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use vmsgate_tunnel::client::ClientEvent;

use super::{Driver, open_socket};
use crate::tunnel::echo;
use crate::tunnel::endpoint::next_after;
use crate::tunnel::link::InUse;
use crate::tunnel::mover::Move;
use crate::tunnel::supervisor::Steps;

/// Room that sealing may need to pad a packet to sixteen bytes.
const PADDING: usize = 15;

impl Driver {
    /// Asks the supervisor what is due, does it, and publishes how the link is.
    pub(super) fn look_after(&mut self, now: Instant) {
        let busy =
            !self.connections.is_empty() || self.kernel.as_mut().is_some_and(|kernel| kernel.is_busy(now));
        let Steps { probe, rebind, resolve, connect, remind } =
            self.supervisor.tick(now, SystemTime::now(), busy);
        if resolve {
            self.resolver.begin();
        }
        if rebind {
            self.rebind();
        }
        if connect {
            self.client.connect(now, &mut self.outbox);
        }
        if let (Some(sequence), Some(ends)) = (probe, self.echo_ends) {
            let mut packet = [0; 128];
            if let Some(len) = echo::write_request(ends, (self.echo_identifier, sequence), &mut packet) {
                self.client.send(&mut packet, len, now, &mut self.outbox);
            }
        }
        if remind {
            self.remind(now);
        }
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
                ClientEvent::FellBack => None,
            };
            if let Some(outcome) = outcome
                && let Some(waiting) = self.moving.take()
            {
                let _ = waiting.send(outcome);
            }
            moved |= event == ClientEvent::Moved;
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
            link.endpoint = Some(self.client.endpoint());
            link.in_use = Some(InUse {
                client: status.key,
                gateway: status.gateway,
                post_quantum: status.post_quantum,
            });
            link.handshake_age = status.handshake_age;
            link.round_trip = self.supervisor.round_trip().or(status.round_trip);
            (link.bytes_received, link.bytes_sent) = (traffic.bytes_down, traffic.bytes_up);
        });
    }

    /// A look-up has ended: goes to the next of the gateway's addresses, unless it has answered meanwhile.
    pub(super) fn move_on(&mut self, found: Result<Vec<SocketAddr>, String>) {
        if self.link.borrow().is_connected() {
            return;
        }
        match found {
            Ok(found) => {
                let (before, next) = (self.client.endpoint(), next_after(self.client.endpoint(), &found));
                if next == before {
                    return;
                }
                tracing::debug!(from = %before, to = %next, "trying another address of the gateway");
                self.client.set_endpoint(next);
                if next.is_ipv4() != before.is_ipv4() {
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
        match open_socket(self.client.endpoint()) {
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
