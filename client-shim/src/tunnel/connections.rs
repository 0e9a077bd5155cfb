//! TCP connections into the site: ports, the packets' way to their connection, and the dialling.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::oneshot;
use vmsgate_pump::{Stack, Stream};
use vmsgate_tunnel::netstack::{ConnectError, ConnectionId, OwnerId};
use vmsgate_tunnel::packet::FiveTuple;
use vmsgate_tunnel::policy::Protocol;

/// The shim is one client.
const OWNER: OwnerId = OwnerId(0);
/// Linux's `ip_local_port_range`.
pub(super) const PORTS: Range<u16> = 32_768..61_000;
/// Above that, where this machine's kernel speaks on the same addresses.
const PORTS_BESIDE_KERNEL: Range<u16> = 61_000..u16::MAX;
/// How long one of several addresses may take; the last one has as long as the stack gives it.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Why no connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DialError {
    #[error("refused: by policy of the gateway, or because nothing listens there")]
    Refused,
    #[error("the gateway cannot reach the server")]
    Unreachable,
    #[error("no answer")]
    TimedOut,
    #[error("too many connections at once")]
    TooMany,
    #[error("the client has no address of that family")]
    Family,
}

/// What every path with IPv6 carries (RFC 8200), and nearly every one without.
const LEAST_MTU: u16 = 1280;

/// Our end and the server's.
type Ends = (SocketAddr, SocketAddr);

/// The shim's connections; clones name the same ones.
#[derive(Clone)]
pub struct Connections {
    stack: Stack,
    own: Rc<[IpAddr]>,
    ports: Range<u16>,
    /// No longer packet is sent or asked for.
    mtu: u16,
    table: Rc<RefCell<Table>>,
}

#[derive(Default)]
struct Table {
    ids: HashMap<Ends, ConnectionId>,
    ends: HashMap<ConnectionId, Ends>,
    /// Connections whose handshake is not complete, and the way to tell that it never will be.
    dialling: HashMap<ConnectionId, oneshot::Sender<()>>,
    next_port: u16,
}

impl Connections {
    /// `own` are the client's tunnel addresses.
    pub fn new(stack: Stack, own: &[IpAddr], seed: u64) -> Self {
        Self::on_ports(PORTS, stack, own, seed)
    }

    /// The same where this machine's kernel has connections on the same addresses.
    pub(crate) fn beside_kernel(stack: Stack, own: &[IpAddr], seed: u64) -> Self {
        Self::on_ports(PORTS_BESIDE_KERNEL, stack, own, seed)
    }

    fn on_ports(ports: Range<u16>, stack: Stack, own: &[IpAddr], seed: u64) -> Self {
        // A start by chance: connections of an earlier run may linger in the gateway's flow table.
        let next_port = fastrand::Rng::with_seed(seed).u16(ports.clone());
        let table = Table { next_port, ..Table::default() };
        Self { stack, own: own.into(), ports, mtu: u16::MAX, table: Rc::new(RefCell::new(table)) }
    }

    /// The same, for connections that must get through where larger packets do not: to learn what is wrong.
    pub(crate) fn of_small_packets(&self) -> Self {
        Self { mtu: LEAST_MTU, ..self.clone() }
    }

    /// Connects to the first of `remotes` that answers.
    ///
    /// # Errors
    /// The last address's.
    pub async fn dial(&self, remotes: &[SocketAddr]) -> Result<Stream, DialError> {
        let mut last = DialError::Family;
        for (index, remote) in remotes.iter().enumerate() {
            let attempt = self.dial_one(*remote);
            let result = if index + 1 == remotes.len() {
                attempt.await
            } else {
                tokio::time::timeout(ATTEMPT, attempt).await.unwrap_or(Err(DialError::TimedOut))
            };
            match result {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Whether any exists, closing ones included.
    pub fn is_empty(&self) -> bool {
        self.table.borrow().ids.is_empty()
    }

    /// The connection that a packet of this flow, seen from its sender, belongs to.
    pub(super) fn of_packet(&self, tuple: FiveTuple) -> Option<ConnectionId> {
        // Most packets are for the kernel where there is one.
        let known = || self.table.borrow().ids.get(&(tuple.destination, tuple.source)).copied();
        self.ports.contains(&tuple.destination.port()).then(known).flatten()
    }

    /// An ICMP error about a packet; whether it was one of ours. It ends a handshake; an established connection only
    /// notes it, since such errors are transient (RFC 5461).
    pub(super) fn unreachable(&self, about: FiveTuple) -> bool {
        if about.protocol != Protocol::Tcp {
            return false;
        }
        let mut table = self.table.borrow_mut();
        let Some(id) = table.ids.get(&(about.source, about.destination)).copied() else { return false };
        if let Some(give_up) = table.dialling.remove(&id) {
            let _ = give_up.send(());
        }
        true
    }

    /// Forgets connections that have finished for good, and has `forget` do so.
    pub(super) fn reap(&self, mut forget: impl FnMut(ConnectionId)) {
        while let Some(id) = self.stack.poll_finished() {
            forget(id);
            let mut table = self.table.borrow_mut();
            if let Some(ends) = table.ends.remove(&id) {
                table.ids.remove(&ends);
            }
        }
    }

    async fn dial_one(&self, remote: SocketAddr) -> Result<Stream, DialError> {
        let (stream, unreachable) = self.open(remote)?;
        let id = stream.id();
        let _dialling = Dialling { table: &self.table, id };
        tokio::select! {
            connected = stream.connected() => connected.map(|()| stream).map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => DialError::TimedOut,
                _ => DialError::Refused,
            }),
            Ok(()) = unreachable => {
                stream.abort();
                Err(DialError::Unreachable)
            }
        }
    }

    fn open(&self, remote: SocketAddr) -> Result<(Stream, oneshot::Receiver<()>), DialError> {
        let local = self.own.iter().find(|own| own.is_ipv4() == remote.is_ipv4()).ok_or(DialError::Family)?;
        let mut table = self.table.borrow_mut();
        let local = table.free_end(&self.ports, *local, remote).ok_or(DialError::TooMany)?;
        let stream = self.stack.connect(OWNER, (local, remote), self.mtu, Instant::now()).map_err(
            |error| match error {
                ConnectError::OutOfMemory => DialError::TooMany,
                ConnectError::Unaddressable => DialError::Refused,
            },
        )?;
        let (give_up, unreachable) = oneshot::channel();
        table.ids.insert((local, remote), stream.id());
        table.ends.insert(stream.id(), (local, remote));
        table.dialling.insert(stream.id(), give_up);
        Ok((stream, unreachable))
    }
}

impl Table {
    /// An end of ours that is not in use towards `remote`.
    fn free_end(&mut self, ports: &Range<u16>, local: IpAddr, remote: SocketAddr) -> Option<SocketAddr> {
        for _ in ports.clone() {
            let end = SocketAddr::new(local, self.next_port);
            self.next_port =
                self.next_port.checked_add(1).filter(|port| ports.contains(port)).unwrap_or(ports.start);
            if !self.ids.contains_key(&(end, remote)) {
                return Some(end);
            }
        }
        None
    }
}

/// Takes the note of an unfinished handshake away when it is over or given up.
struct Dialling<'t> {
    table: &'t RefCell<Table>,
    id: ConnectionId,
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.table.borrow_mut().dialling.remove(&self.id);
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("stack", &self.stack).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use vmsgate_tunnel::netstack::{NetStack, StackConfig};

    use super::*;

    fn connections() -> Connections {
        let stack = Stack::new(NetStack::new(StackConfig::default(), 1, Instant::now()));
        Connections::new(stack, &["10.99.0.2".parse().unwrap()], 1)
    }

    #[test]
    fn ports_are_not_used_twice_towards_one_server() {
        let connections = connections();
        let remote: SocketAddr = "192.168.10.21:7563".parse().unwrap();
        connections.table.borrow_mut().next_port = PORTS.end - 10;
        let held: Vec<_> = (0..50).map(|_| connections.open(remote).unwrap()).collect();
        assert_eq!(connections.table.borrow().ids.len(), held.len());
        assert!(connections.table.borrow().ids.keys().all(|(local, _)| PORTS.contains(&local.port())));
    }

    #[test]
    fn a_server_of_a_foreign_family_is_refused_at_once() {
        let error = connections().open("[fd00:10::21]:7563".parse().unwrap()).unwrap_err();
        assert_eq!(error, DialError::Family);
    }
}
