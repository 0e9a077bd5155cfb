//! ICMP echo without privileges: Linux's datagram ICMP sockets.
//!
//! The kernel lets the groups named in `net.ipv4.ping_group_range` (it covers IPv6 too) send echo requests. It picks
//! the identifier, computes the checksum and delivers only the replies to that identifier, so nothing can be sniffed or
//! forged through such a socket.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::send_now::send_now;

/// Type, code, checksum, identifier, sequence number.
const HEADER_BYTES: usize = 8;
const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// Why an echo socket could not be opened.
#[derive(Debug, Error)]
pub enum EchoError {
    #[error(
        "this system does not let the process's group send ICMP echo: set the sysctl net.ipv4.ping_group_range to a \
         range that contains it, for example \"0 2147483647\""
    )]
    Forbidden,
    #[error("cannot open an ICMP echo socket to {to}")]
    Other { to: IpAddr, source: io::Error },
}

/// A socket for echo requests to one destination.
#[derive(Debug)]
pub struct EchoSocket {
    /// To the system these are datagram sockets like any other.
    io: tokio::net::UdpSocket,
    request: u8,
    reply: u8,
}

/// An echo reply; its data is in the buffer that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoReply<'a> {
    pub sequence: u16,
    pub data: &'a [u8],
}

impl EchoSocket {
    /// Opens a socket towards `to`, leaving from the local address `from` if one is given. Must be called within a
    /// tokio runtime.
    pub fn connect(from: Option<IpAddr>, to: IpAddr) -> Result<Self, EchoError> {
        let io = open(from, to).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => EchoError::Forbidden,
            _ => EchoError::Other { to, source },
        })?;
        let (request, reply) = match to {
            IpAddr::V4(_) => (ECHO_REQUEST_V4, ECHO_REPLY_V4),
            IpAddr::V6(_) => (ECHO_REQUEST_V6, ECHO_REPLY_V6),
        };
        Ok(Self { io, request, reply })
    }

    /// Sends an echo request, or answers [`io::ErrorKind::WouldBlock`] when the system has no room for it now.
    pub fn try_send(&self, sequence: u16, data: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(HEADER_BYTES + data.len());
        message.extend([self.request, 0, 0, 0, 0, 0]);
        message.extend(sequence.to_be_bytes());
        message.extend(data);
        send_now(&self.io, &message)?;
        Ok(())
    }

    /// The address that requests leave from; its port is the identifier that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Waits for a reply and reads it into `buffer`, which bounds its data to its size less eight bytes. An error
    /// such as [`io::ErrorKind::HostUnreachable`] is an answer too: the socket stays usable.
    pub async fn recv<'b>(&self, buffer: &'b mut [u8]) -> io::Result<EchoReply<'b>> {
        loop {
            let len = self.io.recv(buffer).await?;
            let Some((header, data)) = buffer.get(..len).and_then(|m| m.split_first_chunk::<HEADER_BYTES>())
            else {
                continue;
            };
            let [kind, _, _, _, _, _, high, low] = *header;
            if kind == self.reply {
                let (sequence, data_len) = (u16::from_be_bytes([high, low]), data.len());
                let data = buffer.get(HEADER_BYTES..HEADER_BYTES + data_len).unwrap_or_default();
                return Ok(EchoReply { sequence, data });
            }
        }
    }
}

fn open(from: Option<IpAddr>, to: IpAddr) -> io::Result<tokio::net::UdpSocket> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.connect(&SocketAddr::new(to, 0).into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Machines differ in whether they allow this; each outcome is checked.
    #[tokio::test]
    async fn loopback_answers_or_the_sysctl_is_named() {
        for to in ["127.0.0.1", "::1"] {
            match EchoSocket::connect(None, to.parse().unwrap()) {
                Ok(socket) => {
                    socket.try_send(7, b"are you there").unwrap();
                    let mut buffer = [0; 64];
                    let reply = socket.recv(&mut buffer).await.unwrap();
                    assert_eq!(reply, EchoReply { sequence: 7, data: b"are you there" });
                }
                Err(error @ EchoError::Forbidden) => {
                    println!("{to}: echo sockets are forbidden here");
                    assert!(error.to_string().contains("net.ipv4.ping_group_range"));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}
