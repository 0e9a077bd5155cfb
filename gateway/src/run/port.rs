//! Whether datagrams still reach the gateway's own port.
//!
//! A socket stays open and silent when its address is taken from the interface or a firewall begins to drop. So the
//! gateway sends itself a datagram per listen address every second ([0019](../../../docs/decisions/0019-observability.md)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::health::{ConditionCode, Health};

pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Datagrams in a row that may get lost: one may find a full receive queue.
const LIMIT: u64 = 3;
/// The first byte lets the kernel steer it like a message of data.
const DATAGRAM: [u8; 8] = [4, 0, 0, 0, 0, 0, 0, 0];

/// Tells a datagram of the gateway to itself from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnDatagram(SocketAddr);

impl OwnDatagram {
    /// Shorter than any message of WireGuard.
    pub const LEN: usize = DATAGRAM.len();

    pub fn is(self, from: SocketAddr, datagram: &[u8]) -> bool {
        datagram == DATAGRAM && SocketAddr::new(from.ip().to_canonical(), from.port()) == self.0
    }
}

/// One listen address.
#[derive(Debug)]
struct Port {
    listen: SocketAddr,
    socket: UdpSocket,
    /// How many had come back when we last looked, and how many of those since did not.
    heard: u64,
    lost: u64,
    /// Why the last datagram could not even be sent.
    error: Option<io::Error>,
}

/// What sends them, and judges what became of them.
#[derive(Debug)]
pub(super) struct PortWatch(Vec<Port>);

impl PortWatch {
    /// For what the gateway is bound to.
    pub(super) fn new(listening: &[SocketAddr]) -> io::Result<Self> {
        listening.iter().map(|listen| Port::new(*listen)).collect::<io::Result<_>>().map(Self)
    }

    /// In the order of the listen addresses.
    pub(super) fn own(&self) -> io::Result<Vec<OwnDatagram>> {
        self.0.iter().map(|port| port.socket.local_addr().map(OwnDatagram)).collect()
    }

    /// Reports what became of the datagrams so far, and sends the next.
    pub(super) fn turn(&mut self, health: &Health) {
        for (at, port) in self.0.iter_mut().enumerate() {
            let heard = health.times_heard(at);
            // Counted and not timed: when this loop is held up, nothing is sent either.
            port.lost = if heard == port.heard { port.lost + 1 } else { 0 };
            port.heard = heard;
        }
        let silent = self.0.iter().find(|port| port.lost > LIMIT).map(Port::complaint);
        let bound = || self.0.iter().map(|port| port.listen.to_string()).collect::<Vec<_>>().join(", ");
        let ok = silent.is_none();
        let text = silent.unwrap_or_else(|| format!("bound, and datagrams arrive: {}", bound()));
        health.report(ConditionCode::UdpBound, ok, text);
        for port in &mut self.0 {
            port.error = port.socket.send(&DATAGRAM).err();
        }
    }
}

impl Port {
    fn new(listen: SocketAddr) -> io::Result<Self> {
        // Whatever a socket on every address hears, it hears on loopback too; `[::]` may be on a host without IPv6 there.
        let candidates = match listen.ip() {
            IpAddr::V4(any) if any.is_unspecified() => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            IpAddr::V6(any) if any.is_unspecified() => {
                vec![IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)]
            }
            own => vec![own],
        };
        let mut bound = Err(io::ErrorKind::AddrNotAvailable.into());
        for ip in candidates {
            let (from, to) = (SocketAddr::new(ip, 0), SocketAddr::new(ip, listen.port()));
            // Connected, so that it hears nobody: the gateway listens where it says and nowhere else.
            bound = UdpSocket::bind(from).and_then(|socket| socket.connect(to).map(|()| socket));
            if bound.is_ok() {
                break;
            }
        }
        let socket = bound?;
        socket.set_nonblocking(true)?;
        Ok(Port { listen, socket, heard: 0, lost: 0, error: None })
    }

    fn complaint(&self) -> String {
        let (listen, lost) = (self.listen, self.lost - 1);
        let why = self.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        format!(
            "nothing arrives at {listen}, not even the last {lost} datagrams of this host{why}: is the address on an \
             interface, and does a firewall let UDP in?"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn condition(health: &Health) -> (bool, String) {
        let all = health.conditions(Instant::now());
        let found = all.into_iter().find(|condition| condition.code == ConditionCode::UdpBound).unwrap();
        (found.ok, found.text)
    }

    fn watched(listen: &str) -> (UdpSocket, PortWatch, Health) {
        let gateway = UdpSocket::bind(listen).unwrap();
        let watch = PortWatch::new(&[gateway.local_addr().unwrap()]).unwrap();
        let health = Health::new(Instant::now(), 1);
        health.watch_ports(watch.own().unwrap());
        (gateway, watch, health)
    }

    #[test]
    fn a_port_that_hears_itself_is_well_and_one_that_does_not_is_lost_until_it_does() {
        for listen in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0", "[::1]:0"] {
            let (gateway, mut watch, health) = watched(listen);
            for _ in 0..=LIMIT {
                watch.turn(&health);
            }
            let (ok, text) = condition(&health);
            assert!(!ok && text.contains("nothing arrives at"), "{listen}: {text}");

            let mut datagram = [0; 64];
            let (len, from) = gateway.recv_from(&mut datagram).unwrap();
            assert!(health.heard(from, &datagram[..len]), "{listen}: {from}");
            watch.turn(&health);
            assert!(condition(&health).0, "{listen}");
        }
    }

    #[test]
    fn two_lost_datagrams_are_no_lost_port() {
        let (_gateway, mut watch, health) = watched("127.0.0.1:0");
        for _ in 0..LIMIT {
            watch.turn(&health);
            assert!(condition(&health).0);
        }
    }

    #[test]
    fn nobody_else_can_say_that_the_port_is_heard() {
        let (_gateway, watch, health) = watched("127.0.0.1:0");
        let OwnDatagram(own) = watch.own().unwrap()[0];
        assert!(!health.heard("127.0.0.1:9".parse().unwrap(), &DATAGRAM));
        assert!(!health.heard(own, &[4, 0, 0, 0, 0, 0, 0, 1]));
        assert!(!health.heard(own, &DATAGRAM[..7]));
        assert_eq!(health.times_heard(0), 0);
        assert!(health.heard(own, &DATAGRAM));
        assert_eq!(health.times_heard(0), 1);
    }
}
