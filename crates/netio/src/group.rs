//! Several sockets on one address, of which the kernel gives each datagram to one (`SO_REUSEPORT`).
//!
//! A classic-BPF program may choose: it sees the datagram's payload at offset 0 and answers with a socket's place in
//! the group. An answer beyond the group leaves the choice to the kernel's hash of the addresses. Unlike eBPF it
//! needs no privilege.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;

#[cfg(target_os = "linux")]
use crate::socket::set_option;
use crate::socket::{BindError, classify, open};

/// A socket that is bound but belongs to no runtime yet; [`crate::UdpSocket::adopt`] makes it one's own.
#[derive(Debug)]
pub struct BoundSocket {
    pub(crate) requested: SocketAddr,
    pub(crate) socket: Socket,
}

/// One instruction of a classic-BPF program (`struct sock_filter` of `linux/filter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub operand: u32,
}

impl BoundSocket {
    /// Binds `count` sockets, in the order in which a program counts them. One alone is an ordinary socket.
    pub fn group(address: SocketAddr, count: usize) -> Result<Vec<BoundSocket>, BindError> {
        let alone = BoundSocket::bind(address, false)?;
        if count <= 1 {
            return Ok(vec![alone]);
        }
        // A group would take in another process of the same user, and share the datagrams with it; now it is known that
        // there is none.
        let port = alone.local_addr().map_or(address.port(), |bound| bound.port());
        let address = SocketAddr::new(address.ip(), port);
        drop(alone);
        (0..count).map(|_| BoundSocket::bind(address, true)).collect()
    }

    pub(crate) fn bind(address: SocketAddr, shared: bool) -> Result<BoundSocket, BindError> {
        let socket = open(address, shared).map_err(|source| classify(address, source))?;
        Ok(BoundSocket { requested: address, socket })
    }

    /// Size of the kernel's receive buffer, by its own accounting (Linux reports twice what it was asked for).
    pub fn receive_buffer_bytes(&self) -> io::Result<usize> {
        self.socket.recv_buffer_size()
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?.as_socket();
        address.map(crate::socket::normalize).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// Lets `program` choose among the sockets of this one's group.
    #[cfg(target_os = "linux")]
    pub fn steer(&self, program: &[Instruction]) -> io::Result<()> {
        let mut filters: Vec<libc::sock_filter> = program
            .iter()
            .map(|i| libc::sock_filter { code: i.code, jt: i.jump_true, jf: i.jump_false, k: i.operand })
            .collect();
        let len = u16::try_from(filters.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let program = libc::sock_fprog { len, filter: filters.as_mut_ptr() };
        // `filters` lives until the call returns, and the kernel copies what `program` points to.
        set_option(&self.socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for BoundSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// Answers with the first byte of the datagram.
    const FIRST_BYTE: [Instruction; 2] = [
        Instruction { code: 0x30, jump_true: 0, jump_false: 0, operand: 0 },
        Instruction { code: 0x16, jump_true: 0, jump_false: 0, operand: 0 },
    ];

    #[test]
    fn a_program_steers_each_datagram_to_the_socket_it_names() {
        let group = BoundSocket::group("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        group[0].steer(&FIRST_BYTE).unwrap();
        let to = group[0].local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let members: Vec<UdpSocket> = group.into_iter().map(|member| member.socket.into()).collect();
        for round in [2u8, 0, 1, 1, 2, 0] {
            sender.send_to(&[round; 20], to).unwrap();
            let member = &members[usize::from(round)];
            member.set_nonblocking(false).unwrap();
            member.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            let mut buffer = [0; 32];
            assert_eq!(member.recv(&mut buffer).unwrap(), 20);
            assert_eq!(buffer[0], round);
        }
    }

    #[test]
    fn a_group_does_not_join_somebody_elses_socket() {
        let first = BoundSocket::group("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let taken = first[0].local_addr().unwrap();
        let error = BoundSocket::group(taken, 2).unwrap_err();
        assert!(matches!(error, BindError::PortInUse { .. }), "{error}");
    }
}
