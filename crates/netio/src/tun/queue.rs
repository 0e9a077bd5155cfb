//! A queue of a TUN interface on tokio.

use std::fs::File;
use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::batch::{TunBatch, UdpTrains};
use super::frame::Frame;

/// What wakes a reader: packets, and the end of the interface, which the kernel tells as an error alone.
const READ: Interest = Interest::READABLE.add(Interest::ERROR);

/// One queue of a TUN interface, for one thread. Packets of a flow come back on the queue on which that flow's packets
/// were last written.
#[derive(Debug)]
pub struct TunQueue {
    io: AsyncFd<File>,
    udp: UdpTrains,
}

impl TunQueue {
    #[expect(unsafe_code, reason = "tokio cannot know what its generic argument does with the descriptor")]
    pub(super) fn new(file: File, udp: UdpTrains) -> io::Result<Self> {
        let both = READ.add(Interest::WRITABLE);
        // SAFETY: a `File` owns its descriptor, never changes it, and closes it only when dropped, after the `AsyncFd`
        // has taken it off the runtime.
        let io = unsafe { AsyncFd::register_with_interest(file, both) }?;
        Ok(Self { io, udp })
    }

    /// A batch for this queue: UDP trains are made only where the kernel takes them.
    pub fn batch(&self) -> TunBatch {
        TunBatch::new(self.udp)
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// When the interface is gone.
    pub async fn readable(&self) -> io::Result<()> {
        let mut guard = self.io.ready(READ).await?;
        guard.retain_ready();
        if guard.ready().is_error() { Err(gone()) } else { Ok(()) }
    }

    /// Waits until [`TunQueue::write`], having answered `false`, may go on.
    pub async fn writable(&self) -> io::Result<()> {
        self.io.writable().await?.retain_ready();
        Ok(())
    }

    /// Reads one packet or train; answers whether there was one. Nonsense is dropped and counted in
    /// [`Frame::stats`].
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn try_read(&self, frame: &mut Frame) -> io::Result<bool> {
        loop {
            match self.io.try_io(Interest::READABLE, |mut file| frame.read_from(&mut file)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(false),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(explain(error)),
                },
            }
        }
    }

    /// Writes the batch, see [`TunBatch::write_to`]. After `false` the rest is still in it: await
    /// [`TunQueue::writable`] and call again.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn write(&self, batch: &mut TunBatch) -> io::Result<bool> {
        let result = self.io.try_io(Interest::WRITABLE, |mut file| {
            // Told as an error, so that tokio forgets that the queue was writable.
            if batch.write_to(&mut file)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(explain(error)),
        }
    }
}

fn explain(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::EBADFD) { gone() } else { error }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the TUN interface is gone: somebody has deleted it")
}
