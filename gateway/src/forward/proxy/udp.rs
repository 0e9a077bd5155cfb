//! UDP flows: one connected socket each.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use tokio::net::UdpSocket;
use vmsgate_netio::send_now;
use vmsgate_tunnel::flow::{CloseReason, FlowId};
use vmsgate_tunnel::packet::Packet;
use vmsgate_tunnel::reply;

use super::{Far, Proxy, Task, with_core};
use crate::worker::SharedCore;

/// Longer than the largest tunnel MTU (9000 bytes): what does not fit would not fit the tunnel either.
pub(super) const BUFFER: usize = 9216;

pub(super) fn open(proxy: &Proxy, core: SharedCore, flow: FlowId, packet: &Packet<'_>) -> Option<Far> {
    let tuple = packet.five_tuple()?;
    let (client, server) = (tuple.source, tuple.destination);
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = proxy.source(packet).unwrap_or(any);
    let socket = match connect(SocketAddr::new(source, 0), server) {
        Ok(socket) => Rc::new(socket),
        Err(error) => {
            tracing::debug!(%server, %error, "no socket for a UDP flow");
            return Some(refuse(core, flow, packet, CloseReason::ServerUnreachable));
        }
    };
    let first: Rc<[u8]> = packet.bytes().into();
    let receiver = socket.clone();
    let body = async move {
        let mut buffer = vec![0; BUFFER];
        loop {
            match receiver.recv(&mut buffer).await {
                Ok(length) => with_core(&core, |core, now| {
                    let payload = &buffer[..length];
                    core.send_inner(flow, now, |out| reply::udp(server, client, payload, out));
                }),
                // The server's host says that nobody has the port.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    if let Ok(first) = Packet::parse_trusted(&first) {
                        with_core(&core, |core, now| {
                            core.refuse_flow(flow, &first, CloseReason::ServerRefused, now);
                        });
                    }
                    return;
                }
                Err(error) => {
                    tracing::debug!(%server, %error, "a UDP flow's socket failed");
                    with_core(&core, |core, now| core.close_flow(flow, CloseReason::ServerUnreachable, now));
                    return;
                }
            }
        }
    };
    Some(Far::Udp { socket, _task: Task::spawn(body) })
}

pub(super) fn send(socket: &UdpSocket, packet: &Packet<'_>) {
    // A datagram that the system does not take is lost, as on any network; errors come back to the receiver.
    let _ = send_now(socket, packet.payload());
}

/// Answers later: the core is in use while a packet is handed over.
pub(super) fn refuse(core: SharedCore, flow: FlowId, packet: &Packet<'_>, reason: CloseReason) -> Far {
    let first: Rc<[u8]> = packet.bytes().into();
    let body = async move {
        if let Ok(first) = Packet::parse_trusted(&first) {
            with_core(&core, |core, now| core.refuse_flow(flow, &first, reason, now));
        }
    };
    Far::Dialling { _task: Task::spawn(body) }
}

fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(from)?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    UdpSocket::from_std(socket)
}
