//! The in-memory network card that smoltcp sees: at most one packet in, at most one packet out, per call.

use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// One call's packets. smoltcp answers a received packet with at most one of its own and sends at most one per poll,
/// so a single slot suffices.
pub(super) struct Port<'a> {
    mtu: usize,
    received: Option<&'a [u8]>,
    slot: Slot<'a>,
}

struct Slot<'a> {
    buffer: &'a mut [u8],
    len: Option<usize>,
}

impl<'a> Port<'a> {
    /// A card without a received packet; what is sent goes to `buffer`.
    pub(super) fn new(mtu: usize, buffer: &'a mut [u8]) -> Self {
        Self { mtu, received: None, slot: Slot { buffer, len: None } }
    }

    pub(super) fn with_received(mtu: usize, packet: &'a [u8], buffer: &'a mut [u8]) -> Self {
        Self { received: Some(packet), ..Self::new(mtu, buffer) }
    }

    /// Length of the packet that was sent, if one was.
    pub(super) const fn sent(&self) -> Option<usize> {
        self.slot.len
    }
}

impl Device for Port<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Transmit<'t>
    where
        Self: 't;

    fn receive(&mut self, _timestamp: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let packet = self.received.take()?;
        Some((Received(packet), Transmit { buffer: self.slot.buffer, len: &mut self.slot.len }))
    }

    fn transmit(&mut self, _timestamp: Instant) -> Option<Self::TxToken<'_>> {
        match self.slot.len {
            None => Some(Transmit { buffer: self.slot.buffer, len: &mut self.slot.len }),
            Some(_) => None,
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        // The data path has verified what comes in; what goes out is summed up when it really leaves, which most of a
        // window that smoltcp sends again does not.
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}

pub(super) struct Received<'t>(&'t [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(super) struct Transmit<'t> {
    buffer: &'t mut [u8],
    len: &'t mut Option<usize>,
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        match self.buffer.get_mut(..len) {
            Some(buffer) => {
                *self.len = Some(len);
                f(buffer)
            }
            // Longer than the MTU: smoltcp does not do that; if it ever did, TCP would retransmit within the MTU.
            None => f(&mut vec![0; len]),
        }
    }
}
