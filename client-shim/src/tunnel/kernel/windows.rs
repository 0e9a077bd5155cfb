//! Windows: packets one by one, through Wintun's rings.

use std::io;

use vmsgate_tunnel::packet::Packet;
use vmsgate_windows::Wintun;

use super::Outgoing;

/// The longest packet that Wintun knows.
const MAX_PACKET: usize = 0xffff;
/// What may be overwritten behind a packet.
const PADDING: usize = 15;

/// A Wintun interface.
#[derive(Debug)]
pub(crate) struct Device {
    wintun: Wintun,
    buffer: Box<[u8]>,
    /// The packet in it.
    len: usize,
    is_taken: bool,
}

impl Device {
    pub(crate) fn new(wintun: Wintun) -> Self {
        Self { wintun, buffer: vec![0; MAX_PACKET + PADDING].into(), len: 0, is_taken: true }
    }

    pub(super) async fn ready(&self) -> io::Result<()> {
        self.wintun.readable().await;
        Ok(())
    }

    /// Whether there was room for the packet: programs that do not read must not stop the others.
    pub(super) fn push(&mut self, packet: &Packet<'_>) -> bool {
        match self.wintun.send(packet.bytes()) {
            Ok(sent) => sent,
            Err(error) => {
                // Reading tells the same, and is where it is dealt with.
                tracing::debug!(%error, "the Wintun interface failed");
                false
            }
        }
    }

    /// Nothing waits: each packet is in the ring at once.
    pub(super) fn write(&mut self) {}

    pub(super) fn try_read(&mut self) -> io::Result<bool> {
        let room = self.buffer.get_mut(..MAX_PACKET).unwrap_or_default();
        let read = self.wintun.receive(room)?;
        (self.len, self.is_taken) = (read.unwrap_or_default(), read.is_none());
        Ok(read.is_some())
    }

    pub(super) fn packet(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    pub(super) fn next_packet(&mut self) -> Option<Outgoing<'_>> {
        if std::mem::replace(&mut self.is_taken, true) {
            return None;
        }
        let len = self.len;
        self.buffer.get_mut(..len + PADDING).map(|buffer| Outgoing { buffer, len })
    }
}
