//! A [`NetStack`] shared by the tasks of one thread.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;
use vmsgate_tunnel::netstack::{
    AcceptError, ConnectError, ConnectionId, NetStack, Outlet, OwnerId, PacketError,
};

use crate::stream::Stream;

/// A handle to a shared stack; clones name the same one.
///
/// One loop owns the packets: it feeds [`Stack::handle_packet`], calls [`Stack::poll_transmit`] until it answers
/// `false`, and then waits for packets, for [`Stack::poll_timeout`] and for [`Stack::work`].
#[derive(Clone)]
pub struct Stack(Rc<Shared>);

struct Shared {
    netstack: RefCell<NetStack>,
    work: Notify,
}

impl Stack {
    pub fn new(netstack: NetStack) -> Self {
        Self(Rc::new(Shared { netstack: RefCell::new(netstack), work: Notify::new() }))
    }

    /// See [`NetStack::accept`].
    pub fn accept(&self, owner: OwnerId, syn: &[u8], now: Instant) -> Result<Stream, AcceptError> {
        let id = self.0.netstack.borrow_mut().accept(owner, syn, now)?;
        self.0.work.notify_one();
        Ok(Stream::new(self.clone(), id))
    }

    /// See [`NetStack::connect`]; [`Stream::connected`] waits for the peer's answer.
    pub fn connect(
        &self,
        owner: OwnerId,
        ends: (SocketAddr, SocketAddr),
        mtu: u16,
        now: Instant,
    ) -> Result<Stream, ConnectError> {
        let id = self.0.netstack.borrow_mut().connect(owner, ends, mtu, now)?;
        self.0.work.notify_one();
        Ok(Stream::new(self.clone(), id))
    }

    /// See [`NetStack::handle_packet`].
    pub fn handle_packet(&self, id: ConnectionId, packet: &[u8], now: Instant) -> Result<(), PacketError> {
        self.0.netstack.borrow_mut().handle_packet(id, packet, now)
    }

    /// See [`NetStack::poll_transmit`]. `out` must not use the stack.
    pub fn poll_transmit(
        &self,
        now: Instant,
        budget: usize,
        out: &mut impl FnMut(ConnectionId, &[u8]),
    ) -> bool {
        self.0.netstack.borrow_mut().poll_transmit(now, budget, out)
    }

    /// See [`NetStack::poll_transmit_to`]. `out` must not use the stack.
    pub fn poll_transmit_to(&self, now: Instant, budget: usize, out: &mut impl Outlet) -> bool {
        self.0.netstack.borrow_mut().poll_transmit_to(now, budget, out)
    }

    /// See [`NetStack::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.netstack.borrow().poll_timeout()
    }

    /// See [`NetStack::abort_all`].
    pub fn abort_all(&self) {
        self.with(NetStack::abort_all);
    }

    /// See [`NetStack::poll_finished`].
    pub fn poll_finished(&self) -> Option<ConnectionId> {
        self.0.netstack.borrow_mut().poll_finished()
    }

    /// Waits until a stream has made work for [`Stack::poll_transmit`]. For one waiting loop; work made while nobody
    /// waits is reported to the next who does.
    pub async fn work(&self) {
        self.0.work.notified().await;
    }

    /// Looks into the stack, for counters and limits.
    pub fn inspect<R>(&self, look: impl FnOnce(&NetStack) -> R) -> R {
        look(&self.0.netstack.borrow())
    }

    /// Acts on the stack for a stream, and wakes the loop if that left something to send.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut NetStack) -> R) -> R {
        let mut netstack = self.0.netstack.borrow_mut();
        let result = act(&mut netstack);
        if netstack.has_work() {
            self.0.work.notify_one();
        }
        result
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.netstack.try_borrow() {
            Ok(netstack) => netstack.fmt(f),
            Err(_) => f.write_str("NetStack(in use)"),
        }
    }
}
