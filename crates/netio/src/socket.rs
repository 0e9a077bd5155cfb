//! A UDP socket that sends and receives in batches.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::io::Interest;

use crate::group::BoundSocket;
use crate::recv::RecvBatch;
use crate::source::SourceCache;

/// Asked of the kernel for each direction: 100 ms at 500 Mbit/s. Linux grants at most `net.core.rmem_max` and
/// `wmem_max`, silently; [`UdpSocket::receive_buffer_bytes`] tells what it was.
pub const WANTED_BUFFER_BYTES: usize = 7 << 20;

/// Why a socket could not be opened.
#[derive(Debug, Error)]
pub enum BindError {
    #[error("UDP port {} is already in use on {}", .address.port(), .address.ip())]
    PortInUse { address: SocketAddr },
    #[error("{} is not an address of this machine", .address.ip())]
    AddressNotLocal { address: SocketAddr },
    #[error("UDP port {} needs privileges to listen on", .address.port())]
    Forbidden { address: SocketAddr },
    #[error("cannot open a UDP socket on {address}")]
    Other { address: SocketAddr, source: io::Error },
}

/// A bound UDP socket. IPv4 peers of a dual-stack socket appear as IPv4 addresses.
#[derive(Debug)]
pub struct UdpSocket {
    /// As asked for: what [`UdpSocket::rebind`] asks for again.
    requested: SocketAddr,
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    sources: SourceCache,
}

impl UdpSocket {
    /// Opens a socket; must be called within a tokio runtime. `[::]` also receives IPv4, other addresses only their
    /// own family.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        Self::adopt(BoundSocket::bind(address, false)?)
    }

    /// Takes a bound socket into the runtime of the caller.
    pub fn adopt(BoundSocket { requested: address, socket }: BoundSocket) -> Result<Self, BindError> {
        let failed = |source: io::Error| classify(address, source);
        let io = tokio::net::UdpSocket::from_std(socket.into()).map_err(failed)?;
        let state = UdpSocketState::new((&io).into()).map_err(failed)?;
        Ok(Self { requested: address, io, state, sources: SourceCache::default() })
    }

    /// Replaces the socket by a new one on the address once asked for, as a client must after its network changed:
    /// the old one may be tied to an interface or a translation that is gone. On an error the old one stays, unless
    /// the port was fixed: then this socket is left on a port of the system's choice.
    pub fn rebind(&mut self) -> Result<(), BindError> {
        let address = self.requested;
        if address.port() != 0 {
            // The port is free only once the old socket is closed.
            *self = Self { requested: address, ..Self::bind(SocketAddr::new(address.ip(), 0))? };
        }
        *self = Self::bind(address)?;
        Ok(())
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr().map(normalize)
    }

    /// Size of the kernel's receive buffer, by its own accounting (Linux reports twice what it was asked for).
    pub fn receive_buffer_bytes(&self) -> io::Result<usize> {
        SockRef::from(&self.io).recv_buffer_size()
    }

    /// Size of the kernel's send buffer, by its own accounting.
    pub fn send_buffer_bytes(&self) -> io::Result<usize> {
        SockRef::from(&self.io).send_buffer_size()
    }

    /// Waits for datagrams and fills `batch` with all that one system call returns. Nothing is lost when the future
    /// is dropped.
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<()> {
        loop {
            self.io.readable().await?;
            if self.try_recv_batch(batch)? {
                return Ok(());
            }
        }
    }

    /// Fills `batch` with what is there; answers whether there was anything.
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<bool> {
        let received = batch.fill(|buffers, metas| self.receive(buffers, metas));
        match received {
            Ok(()) => {
                for train in batch.trains() {
                    self.sources.note(train.from, train.local_ip);
                }
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            // The echo of an earlier datagram that a peer's host refused: says nothing about the next one.
            Err(e) if is_transient(&e) => {
                tracing::trace!(error = %e, "receive error ignored");
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    fn receive(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), buffers, metas))
    }

    /// Sends a train of datagrams of `segment` bytes each, the last of which may be shorter.
    pub(crate) fn try_send(&self, to: SocketAddr, contents: &[u8], segment: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: if self.requested.is_ipv6() { widen(to) } else { to },
            ecn: None,
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: self.sources.of(to),
        };
        self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &transmit))
    }

    /// Waits until the socket may take datagrams again, after [`SendQueue::try_flush`](crate::SendQueue::try_flush)
    /// answered that it did not.
    pub async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    /// How many datagrams one train may have; 1 once the system has refused trains.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

/// Errors that the system reports on a receive although an earlier datagram caused them.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionRefused
            | K::ConnectionReset
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown
            | K::Interrupted
    ) || quinn_udp::is_msg_size_err(error)
}

pub(crate) fn normalize(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

fn widen(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
        SocketAddr::V6(_) => address,
    }
}

pub(crate) fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    #[cfg(unix)]
    socket.set_reuse_port(shared)?;
    #[cfg(not(unix))]
    if shared {
        return Err(io::ErrorKind::Unsupported.into());
    }
    enlarge_buffers(&socket);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A smaller buffer works, with more loss under bursts: the caller compares and warns.
pub(crate) fn enlarge_buffers(socket: &Socket) {
    let _ = socket.set_recv_buffer_size(WANTED_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(WANTED_BUFFER_BYTES);
    // Beyond the system's limit, for whoever has CAP_NET_ADMIN.
    #[cfg(target_os = "linux")]
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        let _ = set_option(socket, option, &(WANTED_BUFFER_BYTES as libc::c_int));
    }
}

/// Sets a socket option that socket2 does not know.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "there is no safe way to these options")]
pub(crate) fn set_option<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: `value` is `size_of::<T>()` bytes that live until the call returns; the kernel only reads them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(crate) fn classify(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::PortInUse { address },
        io::ErrorKind::AddrNotAvailable => BindError::AddressNotLocal { address },
        io::ErrorKind::PermissionDenied => BindError::Forbidden { address },
        _ => BindError::Other { address, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = first.local_addr().unwrap();
        let error = UdpSocket::bind(taken).unwrap_err();
        assert_eq!(error.to_string(), format!("UDP port {} is already in use on 127.0.0.1", taken.port()));
    }

    #[tokio::test]
    async fn a_foreign_address_is_named() {
        let error = UdpSocket::bind("192.0.2.7:0".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "192.0.2.7 is not an address of this machine");
    }

    #[tokio::test]
    async fn rebinding_gives_a_new_port_or_keeps_a_fixed_one() {
        let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let before = socket.local_addr().unwrap();
        socket.rebind().unwrap();
        assert_ne!(socket.local_addr().unwrap(), before);

        let mut fixed = UdpSocket::bind(before).unwrap();
        fixed.rebind().unwrap();
        assert_eq!(fixed.local_addr().unwrap(), before);
    }

    #[tokio::test]
    async fn the_effective_buffer_sizes_can_be_read() {
        let socket = UdpSocket::bind("[::1]:0".parse().unwrap()).unwrap();
        assert!(socket.receive_buffer_bytes().unwrap() > 0 && socket.send_buffer_bytes().unwrap() > 0);
    }
}
