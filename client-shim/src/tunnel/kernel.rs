//! Mode `tun`: packets for this machine's own kernel.
//!
//! The userspace stack speaks on the same tunnel addresses; what belongs to one of its connections never comes here.

#[cfg_attr(target_os = "linux", path = "kernel/linux.rs")]
#[cfg_attr(windows, path = "kernel/windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "kernel/elsewhere.rs")]
mod device;

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use vmsgate_tunnel::packet::Packet;

use crate::tun::Allowed;

pub(crate) use device::Device;

/// Programs that were silent for so long are no reason to look after the gateway more closely.
const LATELY: Duration = Duration::from_secs(30);

/// The interface's packets.
#[derive(Debug)]
pub(crate) struct Kernel {
    device: Device,
    gate: Gate,
    /// Whether anything has come or gone since this was asked last, and when that was so last.
    used: (bool, Option<Instant>),
}

/// A packet of the kernel.
pub(super) struct Outgoing<'a> {
    /// The packet, and behind it 15 bytes that may be overwritten.
    pub(super) buffer: &'a mut [u8],
    pub(super) len: usize,
}

impl Kernel {
    /// `own` are the interface's addresses; everything else must be between them and the allowed ones.
    pub(crate) fn new(device: Device, own: Vec<IpAddr>, allowed: Rc<Allowed>) -> Self {
        Self { device, gate: Gate { own, allowed }, used: (false, None) }
    }

    /// Waits until there may be something to read, or the rest of a batch may be written.
    ///
    /// # Errors
    /// When the interface is gone.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.device.ready().await
    }

    /// Puts a packet from the tunnel into the batch, unless its sender is none that is routed: nobody beyond the
    /// gateway may speak for a machine elsewhere.
    pub(super) fn deliver(&mut self, packet: &Packet<'_>) {
        if !self.gate.admits(packet) {
            tracing::trace!(from = %packet.source, "a packet from an address that is not routed");
            return;
        }
        self.used.0 |= self.device.push(packet);
    }

    /// Hands the batch to the kernel; what it does not take now stays.
    pub(super) fn write(&mut self) {
        self.device.write();
    }

    /// Reads the next packet or train that may go into the tunnel to the gateway at `endpoint`; answers whether there
    /// is one.
    ///
    /// # Errors
    /// When the interface is gone.
    pub(super) fn read(&mut self, endpoint: IpAddr) -> io::Result<bool> {
        while self.device.try_read()? {
            let packet = Packet::parse_trusted(self.device.packet());
            if packet.is_ok_and(|packet| self.gate.lets_out(&packet, endpoint)) {
                self.used.0 = true;
                return Ok(true);
            }
            tracing::trace!("a packet that does not belong into the tunnel");
        }
        Ok(false)
    }

    /// The next packet of what was read.
    pub(super) fn next_packet(&mut self) -> Option<Outgoing<'_>> {
        self.device.next_packet()
    }

    /// Whether programs have used the tunnel lately.
    pub(super) fn is_busy(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.used.0) {
            self.used.1 = Some(now);
        }
        self.used.1.is_some_and(|used| now.saturating_duration_since(used) < LATELY)
    }
}

/// Between which addresses packets may pass.
#[derive(Debug)]
struct Gate {
    own: Vec<IpAddr>,
    allowed: Rc<Allowed>,
}

impl Gate {
    fn admits(&self, packet: &Packet<'_>) -> bool {
        self.allowed.contains(packet.source) && self.own.contains(&packet.destination)
    }

    /// A datagram of ours that was routed into the tunnel would go round for ever.
    fn lets_out(&self, packet: &Packet<'_>, endpoint: IpAddr) -> bool {
        packet.destination != endpoint
            && self.allowed.contains(packet.destination)
            && self.own.contains(&packet.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::echo;

    const OWN: [&str; 2] = ["10.99.0.2", "fd00:99::2"];
    const SERVERS: [&str; 2] = ["192.168.10.10", "fd10:10::21"];

    fn gate() -> Gate {
        let allowed = Allowed::default();
        allowed.set(&SERVERS.iter().map(|address| address.parse().unwrap()).collect());
        Gate { own: OWN.iter().map(|address| address.parse().unwrap()).collect(), allowed: Rc::new(allowed) }
    }

    fn with_packet<T>(source: &str, destination: &str, ask: impl Fn(&Packet<'_>) -> T) -> T {
        let mut buffer = [0; 128];
        let ends = (source.parse().unwrap(), destination.parse().unwrap());
        let len = echo::write_request(ends, (1, 1), 0, &mut buffer).unwrap();
        ask(&Packet::parse(&buffer[..len]).unwrap())
    }

    #[test]
    fn only_routed_addresses_may_speak_and_only_to_ours() {
        let admits = |source, destination| with_packet(source, destination, |packet| gate().admits(packet));
        for (own, server) in OWN.into_iter().zip(SERVERS) {
            assert!(admits(server, own));
        }
        assert!(!admits("192.168.10.11", OWN[0]), "a neighbour of a server");
        assert!(!admits("192.168.1.1", OWN[0]), "a machine of the home network");
        assert!(!admits("fd10:10::22", OWN[1]));
        assert!(!admits(SERVERS[0], "192.168.1.50"), "another address of this machine");
    }

    #[test]
    fn only_what_is_for_a_routed_address_goes_out_and_nothing_to_the_gateways_address_outside() {
        let lets_out = |source, destination, endpoint: &str| {
            with_packet(source, destination, |packet| gate().lets_out(packet, endpoint.parse().unwrap()))
        };
        assert!(lets_out(OWN[0], SERVERS[0], "198.51.100.10"));
        assert!(!lets_out(OWN[0], SERVERS[0], SERVERS[0]), "the tunnel would carry itself");
        assert!(!lets_out(OWN[0], "192.168.10.11", "198.51.100.10"));
        assert!(
            !lets_out("192.168.1.50", SERVERS[0], "198.51.100.10"),
            "from another address of this machine"
        );
    }
}
