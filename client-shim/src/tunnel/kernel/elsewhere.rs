//! Systems on which no interface is made: the kernel has no packets for the tunnel.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use vmsgate_tunnel::packet::Packet;

#[derive(Debug)]
pub(crate) enum Kernel {}

pub(super) struct Segment<'a> {
    pub(super) buffer: &'a mut [u8],
    pub(super) len: usize,
}

impl Kernel {
    pub(super) async fn ready(&self) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn deliver(&mut self, _: &Packet<'_>) {
        match *self {}
    }

    pub(super) fn write(&mut self) {
        match *self {}
    }

    pub(super) fn read(&mut self, _: IpAddr) -> io::Result<bool> {
        match *self {}
    }

    pub(super) fn next_packet(&mut self) -> Option<Segment<'_>> {
        match *self {}
    }

    pub(super) fn is_busy(&mut self, _: Instant) -> bool {
        match *self {}
    }
}
