//! Sockets that the service manager opened, or kept from an earlier run (the protocol of sd_listen_fds(3)).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockRef, Socket, Type};

use crate::group::BoundSocket;
use crate::socket::{enlarge_buffers, normalize};

/// A bound UDP socket from the service manager.
#[derive(Debug)]
pub struct Inherited {
    /// What the manager calls it.
    pub name: String,
    /// Where it is bound.
    pub address: SocketAddr,
    socket: Socket,
}

impl Inherited {
    /// The UDP sockets that this process was started with, in the manager's order. They are handed out once.
    pub fn take() -> io::Result<Vec<Inherited>> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (fd, name) in sd_notify::listen_fds_with_names()? {
            match own(fd)? {
                Some((socket, address)) => found.push(Inherited { name, address, socket }),
                None => {
                    tracing::warn!(name, fd, "the service manager passed something that is no UDP socket")
                }
            }
        }
        Ok(found)
    }

    /// Makes it one that was asked for at `requested`.
    pub fn into_bound(self, requested: SocketAddr) -> BoundSocket {
        BoundSocket { requested, socket: self.socket }
    }
}

#[expect(unsafe_code, reason = "descriptors come into a process as numbers")]
fn own(fd: RawFd) -> io::Result<Option<(Socket, SocketAddr)>> {
    // SAFETY: `listen_fds_with_names` has just found it open, and nothing here closes it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let seen = SockRef::from(&borrowed);
    // Any other file gives an error here.
    let is_udp = seen.r#type().is_ok_and(|kind| kind == Type::DGRAM)
        && seen.domain().is_ok_and(|domain| domain == Domain::IPV4 || domain == Domain::IPV6);
    if !is_udp {
        return Ok(None);
    }
    // SAFETY: the manager passed it to this process, which takes each once and had opened no UDP socket before.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    socket.set_nonblocking(true)?;
    enlarge_buffers(&socket);
    let address = socket.local_addr()?.as_socket().map(normalize);
    Ok(address.map(|address| (socket, address)))
}
