//! The sockets towards the internet, each with its queue.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::sync::Notify;
use vmsgate_netio::{SendQueue, UdpSocket};
use vmsgate_tunnel::sink::DatagramSink;

/// A train of the largest size, less one packet.
const LONG: usize = 48 << 10;

/// One queue per socket; a datagram leaves by the first socket of its destination's family.
pub struct Outlets {
    outlets: Vec<Outlet>,
    /// Where the last reservation was made.
    reserved: usize,
    /// Takes what no socket can send.
    nowhere: Vec<u8>,
}

struct Outlet {
    socket: Rc<UdpSocket>,
    queue: SendQueue,
    /// `[::]` also speaks IPv4.
    v4: bool,
    v6: bool,
    /// Set when the socket did not take everything at once.
    blocked: Rc<Notify>,
}

impl Outlets {
    pub fn new(sockets: Vec<Rc<UdpSocket>>) -> Self {
        let alone = sockets.len() == 1;
        let outlets = sockets.into_iter().map(|socket| {
            let address = socket.local_addr().ok();
            let is_v6 = address.is_some_and(|address| address.is_ipv6());
            let any = address.is_some_and(|address| address.ip().is_unspecified());
            let (v4, v6) = (!is_v6 || (alone && any), is_v6);
            Outlet { socket, queue: SendQueue::new(), v4, v6, blocked: Rc::default() }
        });
        Outlets { outlets: outlets.collect(), reserved: usize::MAX, nowhere: Vec::new() }
    }

    pub fn socket(&self, at: usize) -> Rc<UdpSocket> {
        self.outlets[at].socket.clone()
    }

    pub fn blocked(&self, at: usize) -> Rc<Notify> {
        self.outlets[at].blocked.clone()
    }

    /// Whether every queue has room for another `datagrams` of `len` bytes.
    pub fn have_room(&self, datagrams: usize, len: usize) -> bool {
        self.outlets.iter().all(|outlet| outlet.queue.has_room(datagrams, len))
    }

    /// What waits in all queues.
    pub fn queued_bytes(&self) -> usize {
        self.outlets.iter().map(|outlet| outlet.queue.queued_bytes()).sum()
    }

    /// Sends now what has grown to a full train, while it is still in the processor's cache.
    pub fn flush_long(&mut self) {
        if self.outlets.iter().any(|outlet| outlet.queue.queued_bytes() >= LONG) {
            self.flush();
        }
    }

    /// Sends what the sockets take now and leaves the rest to their flushers.
    pub fn flush(&mut self) {
        for at in 0..self.outlets.len() {
            if !self.flush_one(at) {
                self.outlets[at].blocked.notify_one();
            }
        }
    }

    /// Whether the socket took everything.
    pub fn flush_one(&mut self, at: usize) -> bool {
        let outlet = &mut self.outlets[at];
        outlet.queue.is_empty() || outlet.queue.try_flush(&outlet.socket)
    }
}

impl DatagramSink for Outlets {
    fn reserve(&mut self, to: SocketAddr, len: usize) -> &mut [u8] {
        let fits = |outlet: &Outlet| if to.is_ipv4() { outlet.v4 } else { outlet.v6 };
        match self.outlets.iter().position(fits) {
            Some(at) => {
                self.reserved = at;
                self.outlets[at].queue.reserve(to, len)
            }
            None => {
                self.reserved = usize::MAX;
                self.nowhere.resize(len, 0);
                &mut self.nowhere
            }
        }
    }

    fn commit(&mut self, len: usize) {
        if let Some(outlet) = self.outlets.get_mut(self.reserved) {
            outlet.queue.commit(len);
        }
    }
}
