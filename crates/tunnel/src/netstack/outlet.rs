//! Where a stack's packets go, and who says when.

use std::time::Instant;

use super::stack::ConnectionId;

/// Takes packets of connections that may have to wait for each other.
pub trait Outlet {
    /// Whether the connection may send a packet now.
    fn may_send(&mut self, connection: ConnectionId, now: Instant) -> bool;

    /// When the connection may send its next packet, if not now. No two answers are the same, and those who wait get
    /// their turn in the order of the answers.
    fn turn(&mut self, connection: ConnectionId, now: Instant) -> Option<Instant>;

    fn send(&mut self, connection: ConnectionId, packet: &[u8]);
}

/// Takes every packet at once.
pub(super) struct AtOnce<'a, F>(pub(super) &'a mut F);

impl<F: FnMut(ConnectionId, &[u8])> Outlet for AtOnce<'_, F> {
    fn may_send(&mut self, _: ConnectionId, _: Instant) -> bool {
        true
    }

    fn turn(&mut self, _: ConnectionId, _: Instant) -> Option<Instant> {
        None
    }

    fn send(&mut self, connection: ConnectionId, packet: &[u8]) {
        (self.0)(connection, packet);
    }
}
