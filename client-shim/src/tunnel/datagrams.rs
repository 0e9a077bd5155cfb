//! UDP into the site: ports, the datagrams' way to whom they are for, and what waits to be sent.
//!
//! As everywhere with UDP, a datagram for which there is no room is lost.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::sync::{Notify, mpsc};
use vmsgate_tunnel::packet::{Packet, Transport};
use vmsgate_tunnel::reply;

use super::connections::{DialError, PORTS};

/// Datagrams of all sockets together that wait to be sent: a few trains.
const MAX_OUTGOING: usize = 256;
/// Datagrams of one socket that wait to be read.
const MAX_ARRIVED: usize = 64;

/// The shim's UDP; clones name the same one.
#[derive(Clone)]
pub struct Datagrams(Rc<Shared>);

struct Shared {
    own: Vec<IpAddr>,
    table: RefCell<Table>,
    work: Notify,
}

struct Table {
    /// By the port that is ours, in both families.
    inboxes: HashMap<u16, mpsc::Sender<Arrived>>,
    outgoing: VecDeque<Outgoing>,
    next_port: u16,
}

/// A datagram from the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub from: SocketAddr,
    pub payload: Vec<u8>,
}

/// A datagram on its way to the driver.
struct Outgoing {
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
}

/// A port of ours towards the site. Dropping it gives the port back.
#[derive(Debug)]
pub struct UdpPort {
    port: u16,
    datagrams: Datagrams,
    inbox: mpsc::Receiver<Arrived>,
}

impl Datagrams {
    /// `own` are the client's tunnel addresses.
    pub fn new(own: &[IpAddr], seed: u64) -> Self {
        // A start by chance: flows of an earlier run may linger in the gateway's table.
        let next_port = fastrand::Rng::with_seed(seed).u16(PORTS);
        let table = Table { inboxes: HashMap::new(), outgoing: VecDeque::new(), next_port };
        Self(Rc::new(Shared { own: own.to_vec(), table: RefCell::new(table), work: Notify::new() }))
    }

    /// A port that nobody has.
    ///
    /// # Errors
    /// When there is none left.
    pub fn open(&self) -> Result<UdpPort, DialError> {
        let mut table = self.0.table.borrow_mut();
        let port = table.free_port().ok_or(DialError::TooMany)?;
        let (deliver, inbox) = mpsc::channel(MAX_ARRIVED);
        table.inboxes.insert(port, deliver);
        Ok(UdpPort { port, datagrams: self.clone(), inbox })
    }

    /// Whether no port is open.
    pub(super) fn is_empty(&self) -> bool {
        self.0.table.borrow().inboxes.is_empty()
    }

    /// Hands a datagram to whom it is for; whether it was for one of ours.
    pub(super) fn deliver(&self, packet: &Packet<'_>) -> bool {
        let Transport::Udp { source_port, destination_port } = packet.transport else { return false };
        let table = self.0.table.borrow();
        let Some(inbox) = table.inboxes.get(&destination_port) else { return false };
        let from = SocketAddr::new(packet.source, source_port);
        if inbox.try_send(Arrived { from, payload: packet.payload().to_vec() }).is_err() {
            tracing::trace!(%from, "a datagram that there is no room for");
        }
        true
    }

    /// Writes the next datagram to be sent into `packet`, as long as there is one; the length is 0 if it does not fit.
    pub(super) fn poll_transmit(&self, packet: &mut [u8]) -> Option<usize> {
        let Outgoing { from, to, payload } = self.0.table.borrow_mut().outgoing.pop_front()?;
        let written = reply::udp(from, to, &payload, packet);
        if written.is_none() {
            tracing::debug!(%to, length = payload.len(), "a datagram is too long for the tunnel");
        }
        Some(written.unwrap_or(0))
    }

    pub(super) fn has_work(&self) -> bool {
        !self.0.table.borrow().outgoing.is_empty()
    }

    /// Waits until there is something to send. For one waiting loop.
    pub(super) async fn work(&self) {
        self.0.work.notified().await;
    }
}

impl UdpPort {
    /// Sends a datagram, or loses it.
    ///
    /// # Errors
    /// When the client has no address of that family.
    pub fn send(&self, to: SocketAddr, payload: &[u8]) -> Result<(), DialError> {
        let shared = &self.datagrams.0;
        let own = shared.own.iter().find(|own| own.is_ipv4() == to.is_ipv4()).ok_or(DialError::Family)?;
        let mut table = shared.table.borrow_mut();
        if table.outgoing.len() < MAX_OUTGOING {
            let from = SocketAddr::new(*own, self.port);
            table.outgoing.push_back(Outgoing { from, to, payload: payload.to_vec() });
            shared.work.notify_one();
        }
        Ok(())
    }

    /// The next datagram for this port.
    pub async fn receive(&mut self) -> Option<Arrived> {
        self.inbox.recv().await
    }
}

impl Drop for UdpPort {
    fn drop(&mut self) {
        self.datagrams.0.table.borrow_mut().inboxes.remove(&self.port);
    }
}

impl Table {
    fn free_port(&mut self) -> Option<u16> {
        for _ in PORTS {
            let port = self.next_port;
            self.next_port = port.checked_add(1).filter(|port| PORTS.contains(port)).unwrap_or(PORTS.start);
            if !self.inboxes.contains_key(&port) {
                return Some(port);
            }
        }
        None
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").field("own", &self.0.own).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: &str = "192.168.10.21:161";

    fn datagrams() -> Datagrams {
        Datagrams::new(&["10.99.0.2".parse().unwrap()], 1)
    }

    fn sent(datagrams: &Datagrams) -> Vec<u8> {
        let mut packet = vec![0; 1420];
        let length = datagrams.poll_transmit(&mut packet).unwrap();
        packet.truncate(length);
        packet
    }

    /// The answer to a datagram: the same from the other end.
    fn answer(packet: &[u8]) -> Vec<u8> {
        let packet = Packet::parse(packet).unwrap();
        let tuple = packet.five_tuple().unwrap();
        let mut answer = vec![0; 1420];
        let length = reply::udp(tuple.destination, tuple.source, packet.payload(), &mut answer).unwrap();
        answer.truncate(length);
        answer
    }

    #[tokio::test]
    async fn a_datagram_leaves_from_its_port_and_the_answer_comes_back_to_it() {
        let datagrams = datagrams();
        let (mut one, mut two) = (datagrams.open().unwrap(), datagrams.open().unwrap());
        one.send(REMOTE.parse().unwrap(), b"one").unwrap();
        two.send(REMOTE.parse().unwrap(), b"two").unwrap();
        let answers = [sent(&datagrams), sent(&datagrams)].map(|packet| answer(&packet));
        assert!(!datagrams.has_work());
        for answer in answers.iter().rev() {
            datagrams.deliver(&Packet::parse(answer).unwrap());
        }
        let arrived = |payload: &[u8]| Arrived { from: REMOTE.parse().unwrap(), payload: payload.to_vec() };
        assert_eq!(one.receive().await, Some(arrived(b"one")));
        assert_eq!(two.receive().await, Some(arrived(b"two")));
        drop((one, two));
        assert!(datagrams.is_empty());
        assert!(!datagrams.deliver(&Packet::parse(&answers[0]).unwrap()), "nobody's");
    }

    #[test]
    fn what_waits_is_bounded_and_ports_are_not_used_twice() {
        let datagrams = datagrams();
        datagrams.0.table.borrow_mut().next_port = PORTS.end - 10;
        let ports: Vec<_> = (0..50).map(|_| datagrams.open().unwrap()).collect();
        assert_eq!(datagrams.0.table.borrow().inboxes.len(), ports.len());
        assert!(ports.iter().all(|port| PORTS.contains(&port.port)));
        for _ in 0..10 * MAX_OUTGOING {
            ports[0].send(REMOTE.parse().unwrap(), b"x").unwrap();
        }
        let first = answer(&sent(&datagrams));
        for _ in 0..10 * MAX_ARRIVED {
            datagrams.deliver(&Packet::parse(&first).unwrap());
        }
        assert_eq!(datagrams.0.table.borrow().outgoing.len(), MAX_OUTGOING - 1);
        assert_eq!(ports[0].inbox.len(), MAX_ARRIVED);
    }

    #[test]
    fn what_does_not_fit_the_tunnel_is_lost_and_a_foreign_family_is_refused() {
        let datagrams = datagrams();
        let port = datagrams.open().unwrap();
        port.send(REMOTE.parse().unwrap(), &[0; 1393]).unwrap();
        assert!(sent(&datagrams).is_empty());
        assert_eq!(port.send("[fd00:10::21]:161".parse().unwrap(), b"x"), Err(DialError::Family));
    }
}
