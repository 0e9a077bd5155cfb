//! Carries a program's connection into the site: dials the server through the tunnel, then joins both.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use vmsgate_pump::{PumpEnd, Stream, Traffic, pump};

use crate::target::Target;
use crate::tunnel::{Connections, DialError, Link, Tunnel};

/// Ports whose failures are remembered; a site has fewer, and whoever may ask for any address may name more.
const MAX_FAILING: usize = 4096;

/// A connection that did not come about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub time: Timestamp,
    /// The server's address and port.
    pub to: String,
    pub reason: String,
}

/// What is known about the connections carried so far.
#[derive(Debug, Default)]
pub struct Tally {
    open: Cell<usize>,
    last_failure: RefCell<Option<Failure>>,
    /// Ports of servers that the last attempt did not reach.
    failing: RefCell<BTreeMap<SocketAddr, Attempt>>,
}

/// An attempt that failed.
#[derive(Debug)]
struct Attempt {
    failure: Failure,
    /// Whether that says something about the server and not about the port alone.
    unreachable: bool,
}

/// Opens connections for listeners. Clones share their tally.
#[derive(Debug, Clone)]
pub struct Carrier {
    connections: Connections,
    link: watch::Receiver<Link>,
    tally: Rc<Tally>,
    stop: watch::Receiver<bool>,
    /// Closed when the last connection has ended; nothing is ever sent.
    _alive: mpsc::Sender<()>,
}

impl Tally {
    /// Connections of programs that are open now.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// The newest failure to reach any port of these addresses that was not reached since.
    pub fn unreachable(&self, addresses: &[IpAddr]) -> Option<Failure> {
        let failing = self.failing.borrow();
        let attempts = failing.iter().filter(|(remote, _)| addresses.contains(&remote.ip()));
        let unreachable = attempts.map(|(_, attempt)| attempt).filter(|attempt| attempt.unreachable);
        unreachable.map(|attempt| &attempt.failure).max_by_key(|failure| failure.time).cloned()
    }

    /// Why the newest connection to a target did not come about.
    pub fn failure_of(&self, target: &Target) -> Option<Failure> {
        self.failing.borrow().get(target.remotes.last()?).map(|attempt| attempt.failure.clone())
    }

    pub fn last_failure(&self) -> Option<Failure> {
        self.last_failure.borrow().clone()
    }
}

impl Carrier {
    /// Connections end when `stop` becomes true; `alive` is dropped with the last of them.
    pub(crate) fn new(tunnel: &Tunnel, stop: watch::Receiver<bool>, alive: mpsc::Sender<()>) -> Self {
        let (connections, link) = (tunnel.connections.clone(), tunnel.link.clone());
        Self { connections, link, tally: Rc::default(), stop, _alive: alive }
    }

    pub fn tally(&self) -> Rc<Tally> {
        self.tally.clone()
    }

    /// Carries one connection until it ends. What fails on the way ends the program's connection with a reset, as it
    /// would see it without a gateway.
    pub async fn carry(self, socket: TcpStream, target: Target) {
        let waiting = Waiting(Some(socket));
        let carrier = self.clone();
        let carry = async move {
            if let Ok(stream) = carrier.dial(&target).await
                && let Some(socket) = waiting.into_socket()
            {
                join(stream, socket).await;
            }
        };
        self.attend(carry).await;
    }

    /// Does the work of a program's connection until it is done or the shim ends. It counts as open meanwhile.
    pub async fn attend(self, work: impl Future<Output = ()>) {
        let _open = Open::new(&self.tally);
        self.clone().accompany(work).await;
    }

    /// The same for work that is only a part of a connection's.
    pub async fn accompany(mut self, work: impl Future<Output = ()>) {
        tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => {}
            () = work => {}
        }
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// When that does not come about; it is noted.
    pub async fn dial(&self, target: &Target) -> Result<Stream, DialError> {
        let dialled = self.connections.dial(&target.remotes).await;
        match &dialled {
            Ok(_) => self.tally.reached(target),
            // Without a gateway nothing is known about a server.
            Err(error) => self.tally.failed(*error, target, self.link.borrow().is_connected()),
        }
        dialled
    }
}

/// Joins both ends until they have ended.
pub(crate) async fn join(stream: Stream, socket: TcpStream) {
    let end = pump(stream, socket, &Traffic::default()).await;
    if end != PumpEnd::Closed {
        tracing::debug!(?end, "a connection broke");
    }
}

impl Tally {
    fn reached(&self, target: &Target) {
        let mut failing = self.failing.borrow_mut();
        target.remotes.iter().for_each(|remote| {
            failing.remove(remote);
        });
    }

    fn failed(&self, error: DialError, target: &Target, is_connected: bool) {
        let to = target.remotes.last().map(ToString::to_string).unwrap_or_default();
        self.note(to, error.to_string());
        let Some(failure) = self.last_failure().filter(|_| is_connected) else { return };
        let unreachable = matches!(error, DialError::Unreachable | DialError::TimedOut);
        let mut failing = self.failing.borrow_mut();
        for remote in &target.remotes {
            if failing.len() < MAX_FAILING || failing.contains_key(remote) {
                failing.insert(*remote, Attempt { failure: failure.clone(), unreachable });
            }
        }
    }

    /// Notes a connection that did not come about.
    pub(crate) fn note(&self, to: String, reason: String) {
        tracing::debug!(%to, %reason, "no connection");
        *self.last_failure.borrow_mut() = Some(Failure { time: Timestamp::now(), to, reason });
    }
}

/// Counts a connection while it lives.
struct Open<'t>(&'t Cell<usize>);

impl<'t> Open<'t> {
    fn new(tally: &'t Tally) -> Self {
        tally.open.set(tally.open.get() + 1);
        Self(&tally.open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A program's socket whose server is still being dialled: reset if that comes to nothing.
struct Waiting(Option<TcpStream>);

impl Waiting {
    fn into_socket(mut self) -> Option<TcpStream> {
        self.0.take()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            let _ = socket.set_zero_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_fails_until_a_connection_to_it_comes_about() {
        let target = |port| Target { remotes: vec![([192, 168, 10, 21], port).into()] };
        let addresses = [[192, 168, 10, 21].into()];
        let tally = Tally::default();
        tally.failed(DialError::Refused, &target(80), true);
        tally.failed(DialError::TimedOut, &target(7563), true);
        tally.failed(DialError::TimedOut, &target(22331), false);

        let failure = tally.failure_of(&target(7563)).unwrap();
        assert_eq!(failure.to, "192.168.10.21:7563");
        assert_eq!(tally.unreachable(&addresses), Some(failure));
        assert!(tally.failure_of(&target(80)).is_some());
        assert_eq!(tally.failure_of(&target(22331)), None, "without a gateway nothing is known");
        tally.reached(&target(7563));
        assert_eq!(tally.failure_of(&target(7563)), None);
        assert_eq!(tally.unreachable(&addresses), None, "a refusal comes from somebody who is there");
    }
}
