//! Systems on which no interface is made: the kernel has no packets for the tunnel.

use std::io;

use vmsgate_tunnel::packet::Packet;

use super::Outgoing;

#[derive(Debug)]
pub(crate) enum Device {}

impl Device {
    pub(super) async fn ready(&self) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn push(&mut self, _: &Packet<'_>) -> bool {
        match *self {}
    }

    pub(super) fn write(&mut self) {
        match *self {}
    }

    pub(super) fn try_read(&mut self) -> io::Result<bool> {
        match *self {}
    }

    pub(super) fn packet(&self) -> &[u8] {
        match *self {}
    }

    pub(super) fn next_packet(&mut self) -> Option<Outgoing<'_>> {
        match *self {}
    }
}
