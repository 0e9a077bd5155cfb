//! Joins a tunnel stream and a TCP socket until both are done.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;
use vmsgate_tunnel::netstack::{Broken, Readable};

use crate::stream::Stream;

/// Bytes moved in one direction before other tasks get their turn: about what one core encrypts in a quarter of a
/// millisecond.
const TURN_BYTES: usize = 256 << 10;

/// How a pump ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PumpEnd {
    /// Both sides closed, and everything was carried across.
    Closed,
    /// The tunnel side broke; the socket was reset.
    StreamBroken(Broken),
    /// The socket was reset or failed; the tunnel side was reset.
    SocketFailed(io::ErrorKind),
}

/// Bytes carried so far; may be read while the pump runs.
#[derive(Debug, Default)]
pub struct Traffic {
    stream_to_socket: Cell<u64>,
    socket_to_stream: Cell<u64>,
}

impl Traffic {
    pub fn stream_to_socket(&self) -> u64 {
        self.stream_to_socket.get()
    }

    pub fn socket_to_stream(&self) -> u64 {
        self.socket_to_stream.get()
    }
}

/// Carries bytes both ways, from one side's buffer straight into the other's, until both directions are closed or one
/// side breaks. A side that does not read stops the other from sending; the end of one direction is carried across
/// while the other goes on; a reset becomes a reset. Dropping the future resets both sides.
pub fn pump(stream: Stream, socket: TcpStream, traffic: &Traffic) -> impl Future<Output = PumpEnd> {
    // Not inside the future: one that is dropped before it ran must reset both sides too.
    let joined = Joined { stream, socket, traffic, closed: false };
    // Nagle's delay would be added to every small message of an interactive protocol.
    let _ = joined.socket.set_nodelay(true);
    async move {
        let end = joined.run().await;
        if end == PumpEnd::Closed {
            joined.close();
        }
        end
    }
}

/// Both sides. Unless they were closed in order, they are reset when this is dropped.
struct Joined<'t> {
    stream: Stream,
    socket: TcpStream,
    traffic: &'t Traffic,
    closed: bool,
}

/// Progress of one direction within one turn.
enum Step {
    Moved(usize),
    Finished,
}

type Stepped = ControlFlow<PumpEnd, Step>;

impl Joined<'_> {
    async fn run(&self) -> PumpEnd {
        let (mut upstream_done, mut downstream_done) = (false, false);
        // A reset while the stream has no room for more would go unnoticed: nobody reads the socket then.
        let mut socket_error = pin!(self.socket.ready(Interest::ERROR));
        let mut watch_errors = true;
        poll_fn(|cx| {
            if let ControlFlow::Break(end) = self.turn(cx, &mut upstream_done, Self::step_to_socket) {
                return Poll::Ready(end);
            }
            if let ControlFlow::Break(end) = self.turn(cx, &mut downstream_done, Self::step_to_stream) {
                return Poll::Ready(end);
            }
            if upstream_done && downstream_done {
                return Poll::Ready(PumpEnd::Closed);
            }
            if upstream_done
                && let Poll::Ready(broken) = self.stream.stack().with(|s| s.poll_broken(self.stream.id(), cx))
            {
                return Poll::Ready(PumpEnd::StreamBroken(broken));
            }
            if watch_errors && let Poll::Ready(ready) = socket_error.as_mut().poll(cx) {
                watch_errors = false;
                let error = ready.err().or_else(|| self.socket.take_error().ok().flatten());
                if let Some(error) = error {
                    return Poll::Ready(PumpEnd::SocketFailed(error.kind()));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Moves one direction on for as long as it can, but no longer than its turn.
    fn turn(
        &self,
        cx: &mut Context<'_>,
        done: &mut bool,
        step: fn(&Self, &mut Context<'_>) -> Poll<Stepped>,
    ) -> ControlFlow<PumpEnd> {
        let mut moved = 0;
        while !*done {
            match step(self, cx) {
                Poll::Pending => break,
                Poll::Ready(ControlFlow::Break(end)) => return ControlFlow::Break(end),
                Poll::Ready(ControlFlow::Continue(Step::Finished)) => *done = true,
                Poll::Ready(ControlFlow::Continue(Step::Moved(bytes))) => moved += bytes,
            }
            if moved >= TURN_BYTES {
                cx.waker().wake_by_ref();
                break;
            }
        }
        ControlFlow::Continue(())
    }

    fn step_to_socket(&self, cx: &mut Context<'_>) -> Poll<Stepped> {
        let (stack, id) = (self.stream.stack(), self.stream.id());
        match ready!(stack.with(|s| s.poll_readable(id, cx))) {
            Readable::Broken(broken) => {
                return Poll::Ready(ControlFlow::Break(PumpEnd::StreamBroken(broken)));
            }
            Readable::Eof => {
                // Fails only if the socket is gone, which the other direction will report.
                let _ = self.shutdown_socket();
                return Poll::Ready(ControlFlow::Continue(Step::Finished));
            }
            Readable::Data => {}
        }
        if let Err(error) = ready!(self.socket.poll_write_ready(cx)) {
            return Poll::Ready(failed(&error));
        }
        let written = stack.with(|s| {
            s.recv_with(id, |bytes| match self.socket.try_write(bytes) {
                Ok(written) => (written, Ok(written)),
                Err(error) => (0, Err(error)),
            })
        });
        self.moved(cx, written, &self.traffic.stream_to_socket)
    }

    fn step_to_stream(&self, cx: &mut Context<'_>) -> Poll<Stepped> {
        let (stack, id) = (self.stream.stack(), self.stream.id());
        if let Err(broken) = ready!(stack.with(|s| s.poll_writable(id, cx))) {
            return Poll::Ready(ControlFlow::Break(PumpEnd::StreamBroken(broken)));
        }
        if let Err(error) = ready!(self.socket.poll_read_ready(cx)) {
            return Poll::Ready(failed(&error));
        }
        let read = stack.with(|s| {
            s.send_with(id, |space| match self.socket.try_read(space) {
                Ok(read) => (read, Ok(read)),
                Err(error) => (0, Err(error)),
            })
        });
        if let Some(Ok(0)) = read {
            stack.with(|s| s.shutdown_write(id));
            return Poll::Ready(ControlFlow::Continue(Step::Finished));
        }
        self.moved(cx, read, &self.traffic.socket_to_stream)
    }

    /// What a transfer came to; `None` if the stream was not ready after all.
    fn moved(
        &self,
        cx: &mut Context<'_>,
        transfer: Option<io::Result<usize>>,
        counter: &Cell<u64>,
    ) -> Poll<Stepped> {
        match transfer {
            Some(Ok(bytes)) => {
                counter.set(counter.get() + bytes as u64);
                Poll::Ready(ControlFlow::Continue(Step::Moved(bytes)))
            }
            Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Poll::Ready(failed(&error)),
            // The readiness was stale and is cleared now: look again, which registers for the next.
            Some(Err(_)) | None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn shutdown_socket(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Write)
    }

    fn close(mut self) {
        self.closed = true;
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        if !self.closed {
            self.stream.reset();
            // Closing without lingering sends a reset.
            let _ = self.socket.set_zero_linger();
        }
    }
}

fn failed(error: &io::Error) -> Stepped {
    ControlFlow::Break(PumpEnd::SocketFailed(error.kind()))
}
