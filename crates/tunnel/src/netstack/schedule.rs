//! Which connections to visit next: a queue of those with work, and the deadlines of those that wait.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::stack::ConnectionId;

#[derive(Debug, Default)]
pub(super) struct Schedule {
    ready: VecDeque<ConnectionId>,
    deadlines: BTreeSet<(Instant, ConnectionId)>,
}

/// A connection's place in the schedule; lives in the connection so that moving it needs no search.
#[derive(Debug, Default)]
pub(super) struct Place {
    queued: bool,
    deadline: Option<Instant>,
    /// Its turn to send; until then it is not visited.
    turn: Option<Instant>,
}

impl Schedule {
    /// Puts a connection at the end of the queue, unless it is in it.
    pub(super) fn mark_ready(&mut self, id: ConnectionId, place: &mut Place) {
        if !place.queued {
            place.queued = true;
            self.ready.push_back(id);
        }
    }

    /// The next connection with work. The caller clears its place with [`Place::leave_queue`].
    pub(super) fn pop_ready(&mut self) -> Option<ConnectionId> {
        self.ready.pop_front()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn set_deadline(&mut self, id: ConnectionId, place: &mut Place, deadline: Option<Instant>) {
        if place.deadline == deadline {
            return;
        }
        if let Some(old) = place.deadline {
            self.deadlines.remove(&(old, id));
        }
        if let Some(new) = deadline {
            self.deadlines.insert((new, id));
        }
        place.deadline = deadline;
    }

    /// Lets a connection wait for its turn, whatever happens to it meanwhile: otherwise those that hear most of their
    /// peers would lose their place.
    pub(super) fn set_turn(&mut self, id: ConnectionId, place: &mut Place, turn: Instant) {
        self.set_deadline(id, place, Some(turn));
        place.turn = Some(turn);
    }

    /// A connection whose deadline has come, at most one per call; its deadline stays set until it is visited.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<ConnectionId> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        Some(id)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Forgets a connection's deadline; an entry left in the queue is skipped because its id no longer resolves.
    pub(super) fn remove(&mut self, id: ConnectionId, place: &mut Place) {
        self.set_deadline(id, place, None);
    }
}

impl Place {
    pub(super) fn leave_queue(&mut self) {
        self.queued = false;
    }

    pub(super) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// Whether its turn is still to come.
    pub(super) fn waits(&mut self, now: Instant) -> bool {
        self.turn = self.turn.filter(|turn| *turn > now);
        self.turn.is_some()
    }

    /// To be called when [`Schedule::pop_due`] returned this connection.
    pub(super) fn deadline_passed(&mut self) {
        self.deadline = None;
    }
}
