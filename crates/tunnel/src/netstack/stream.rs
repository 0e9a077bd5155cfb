//! The stream side: reading, writing and ending a connection, driven by wakers.
//!
//! Bytes are read and written in place, in the connection's own buffers, so that a socket can be filled from and
//! drained into them without a copy in between. Every method accepts an id whose connection is gone; it then answers
//! as for an aborted one.

use std::task::{Context, Poll};

use smoltcp::socket::tcp::{RecvError, State};

use super::error::Broken;
use super::stack::{ConnectionId, NetStack};

/// What a reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// Bytes are there for [`NetStack::recv_with`].
    Data,
    /// The peer closed its sending direction, and everything it sent has been read.
    Eof,
    /// No more will come; what had arrived in order before has been read.
    Broken(Broken),
}

impl NetStack {
    /// Whether the handshake is complete.
    pub fn poll_connected(&mut self, id: ConnectionId, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(connection) = self.live_mut(id) else { return Poll::Ready(Err(Broken::Aborted)) };
        if let Some(broken) = connection.broken() {
            return Poll::Ready(Err(broken));
        }
        if connection.handshake_done() {
            return Poll::Ready(Ok(()));
        }
        connection.socket_mut().register_send_waker(cx.waker());
        Poll::Pending
    }

    /// Waits until there is something to read, or nothing more to come. One reader at a time.
    pub fn poll_readable(&mut self, id: ConnectionId, cx: &mut Context<'_>) -> Poll<Readable> {
        let Some(connection) = self.live_mut(id) else {
            return Poll::Ready(Readable::Broken(Broken::Aborted));
        };
        let (broken, connected) = (connection.broken(), connection.handshake_done());
        let socket = connection.socket_mut();
        // Data that came with the SYN may not be read before the handshake is complete.
        if connected && socket.can_recv() {
            return Poll::Ready(Readable::Data);
        }
        if let Some(broken) = broken {
            return Poll::Ready(Readable::Broken(broken));
        }
        if connected && let Err(RecvError::Finished) = socket.recv(|_| (0, ())) {
            return Poll::Ready(Readable::Eof);
        }
        socket.register_recv_waker(cx.waker());
        Poll::Pending
    }

    /// Waits until the connection breaks, which a reader that has seen [`Readable::Eof`] would otherwise miss. Uses
    /// the reader's place: not to be mixed with a waiting [`NetStack::poll_readable`].
    pub fn poll_broken(&mut self, id: ConnectionId, cx: &mut Context<'_>) -> Poll<Broken> {
        let Some(connection) = self.live_mut(id) else { return Poll::Ready(Broken::Aborted) };
        if let Some(broken) = connection.broken() {
            return Poll::Ready(broken);
        }
        connection.socket_mut().register_recv_waker(cx.waker());
        Poll::Pending
    }

    /// Lets `read` take bytes from the front of what has arrived; it answers how many it took. Not called when there
    /// are none. The bytes may be only a part of what has arrived: call again.
    pub fn recv_with<R>(&mut self, id: ConnectionId, read: impl FnOnce(&[u8]) -> (usize, R)) -> Option<R> {
        let connection = self.live_mut(id).filter(|c| c.handshake_done() && c.socket().can_recv())?;
        let result = connection.socket_mut().recv(|bytes| {
            let (taken, result) = read(bytes);
            let taken = taken.min(bytes.len());
            (taken, (taken, result))
        });
        let (taken, result) = result.ok()?;
        connection.note_read(taken);
        if connection.wants_to_send() {
            self.mark_ready(id);
        }
        Some(result)
    }

    /// Waits until there is room to write. One writer at a time.
    pub fn poll_writable(&mut self, id: ConnectionId, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(connection) = self.live_mut(id) else { return Poll::Ready(Err(Broken::Aborted)) };
        if let Some(broken) = connection.broken() {
            return Poll::Ready(Err(broken));
        }
        let connected = connection.handshake_done();
        let socket = connection.socket_mut();
        if socket.can_send() {
            return Poll::Ready(Ok(()));
        }
        if connected && !socket.may_send() {
            return Poll::Ready(Err(Broken::Aborted));
        }
        socket.register_send_waker(cx.waker());
        Poll::Pending
    }

    /// Lets `write` fill free space of the send buffer; it answers how many bytes it wrote. Not called when there is
    /// no space. The space may be only a part of what is free: call again.
    pub fn send_with<R>(
        &mut self,
        id: ConnectionId,
        write: impl FnOnce(&mut [u8]) -> (usize, R),
    ) -> Option<R> {
        let connection = self.live_mut(id).filter(|c| c.socket().can_send())?;
        let result = connection.socket_mut().send(|space| {
            let room = space.len();
            let (written, result) = write(space);
            (written.min(room), (written, result))
        });
        let (written, result) = result.ok()?;
        if written > 0 {
            self.mark_ready(id);
        }
        Some(result)
    }

    /// Closes the sending direction: the peer sees an end of stream after everything that was written. Reading goes
    /// on until the peer closes its own.
    pub fn shutdown_write(&mut self, id: ConnectionId) {
        if let Some(connection) = self.live_mut(id) {
            connection.shutdown_write();
            self.mark_ready(id);
        }
    }

    /// Resets the connection: the peer is told at once, what was queued is lost.
    pub fn abort(&mut self, id: ConnectionId) {
        if let Some(connection) = self.live_mut(id) {
            connection.abort(Broken::Aborted);
            self.mark_ready(id);
        }
    }

    /// Gives a connection up. If it was still open its sending direction is closed; what was written is delivered
    /// and the last acknowledgements are exchanged in the background, within a minute. A peer that had sent, or goes
    /// on to send, what nobody will read is told with a reset. [`NetStack::poll_finished`] names the connection at last.
    pub fn release(&mut self, id: ConnectionId) {
        if let Some(connection) = self.live_mut(id) {
            connection.release();
            self.mark_ready(id);
        }
    }

    /// Why the connection is broken, if it is.
    pub fn broken(&self, id: ConnectionId) -> Option<Broken> {
        self.live(id).map_or(Some(Broken::Aborted), |connection| connection.broken())
    }

    /// Whether the peer has acknowledged everything written, and the close if there was one.
    pub fn all_acknowledged(&self, id: ConnectionId) -> bool {
        self.live(id).is_none_or(|connection| {
            let socket = connection.socket();
            socket.send_queue() == 0
                && matches!(
                    socket.state(),
                    State::Established | State::CloseWait | State::FinWait2 | State::TimeWait | State::Closed
                )
        })
    }

    /// Size of the connection's receive buffer, which is also the largest window that the peer is offered.
    pub fn receive_capacity(&self, id: ConnectionId) -> usize {
        self.live(id).map_or(0, |connection| connection.socket().recv_capacity())
    }
}
