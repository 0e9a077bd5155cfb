//! One connection of a [`Stack`] as a tokio stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use vmsgate_tunnel::netstack::{Broken, ConnectionId, Readable};

use crate::stack::Stack;

/// A TCP connection that ends in userspace. Dropping it closes it in order, in the background; [`Stream::abort`]
/// resets it instead.
#[derive(Debug)]
pub struct Stream {
    stack: Stack,
    id: ConnectionId,
}

impl Stream {
    pub(crate) fn new(stack: Stack, id: ConnectionId) -> Self {
        Self { stack, id }
    }

    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Waits for the handshake. Refused is [`io::ErrorKind::ConnectionReset`], silence
    /// [`io::ErrorKind::TimedOut`].
    pub async fn connected(&self) -> io::Result<()> {
        let connected = std::future::poll_fn(|cx| self.stack.with(|s| s.poll_connected(self.id, cx)));
        connected.await.map_err(to_io)
    }

    /// Resets the connection at once.
    pub fn abort(self) {
        self.reset();
    }

    pub(crate) fn reset(&self) {
        self.stack.with(|s| s.abort(self.id));
    }

    pub(crate) const fn stack(&self) -> &Stack {
        &self.stack
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stack.with(|s| s.release(self.id));
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let id = self.id;
        self.stack.with(|s| match s.poll_readable(id, cx) {
            Poll::Ready(Readable::Data) => {
                s.recv_with(id, |bytes| {
                    let len = bytes.len().min(buf.remaining());
                    let (head, _) = bytes.split_at(len);
                    buf.put_slice(head);
                    (len, ())
                });
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Readable::Eof) => Poll::Ready(Ok(())),
            Poll::Ready(Readable::Broken(broken)) => Poll::Ready(Err(to_io(broken))),
            Poll::Pending => Poll::Pending,
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let id = self.id;
        self.stack.with(|s| match s.poll_writable(id, cx) {
            Poll::Ready(Ok(())) => {
                let written = s.send_with(id, |space| {
                    let len = space.len().min(buf.len());
                    if let (Some(space), Some(bytes)) = (space.get_mut(..len), buf.get(..len)) {
                        space.copy_from_slice(bytes);
                    }
                    (len, len)
                });
                Poll::Ready(written.ok_or_else(|| to_io(Broken::Aborted)))
            }
            Poll::Ready(Err(broken)) => Poll::Ready(Err(to_io(broken))),
            Poll::Pending => Poll::Pending,
        })
    }

    /// Does nothing: what was written is on its way, and the peer's acknowledgement is not waited for.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stack.with(|s| s.shutdown_write(self.id));
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn to_io(broken: Broken) -> io::Error {
    let kind = match broken {
        Broken::Reset => io::ErrorKind::ConnectionReset,
        Broken::TimedOut => io::ErrorKind::TimedOut,
        Broken::Aborted => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, broken)
}
