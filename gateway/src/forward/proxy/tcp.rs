//! TCP flows: dial the server, then answer the client, then carry bytes both ways.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use vmsgate_pump::{PumpEnd, Traffic, pump};
use vmsgate_tunnel::flow::{CloseReason, FlowId};
use vmsgate_tunnel::netstack::{Broken, OwnerId};
use vmsgate_tunnel::packet::Packet;

use super::udp::refuse;
use super::{Far, Proxy, Task, with_core};
use crate::worker::SharedCore;

/// The socket of a new flow, at the port that it will leave from.
pub(super) fn bind(proxy: &Proxy, core: SharedCore, flow: FlowId, syn: &Packet<'_>) -> Option<Far> {
    let to = syn.five_tuple()?.destination;
    let bound = match proxy.source(syn) {
        Some(source) => Ok(source),
        None => route_to(to),
    };
    match bound.and_then(|source| bound_to(SocketAddr::new(source, 0))) {
        Ok(socket) => Some(Far::Bound { socket }),
        Err(error) => {
            tracing::debug!(%to, %error, "no socket for a TCP flow");
            Some(refuse(core, flow, syn, CloseReason::ServerUnreachable))
        }
    }
}

/// Dials the server from the socket that was bound.
pub(super) fn dial(
    proxy: &Proxy,
    core: SharedCore,
    flow: FlowId,
    client: u32,
    syn: &Packet<'_>,
    socket: TcpSocket,
) -> Option<Far> {
    let to = syn.five_tuple()?.destination;
    let timeout = proxy.settings.connect_timeout;
    let syn: Rc<[u8]> = syn.bytes().into();
    let body = async move {
        match connect(socket, to, timeout).await {
            Ok(socket) => carry(core, flow, client, &syn, socket),
            Err(error) => {
                let reason = match error.kind() {
                    io::ErrorKind::ConnectionRefused => CloseReason::ServerRefused,
                    _ => CloseReason::ServerUnreachable,
                };
                tracing::debug!(%to, %error, "the server was not reached");
                if let Ok(first) = Packet::parse_trusted(&syn) {
                    with_core(&core, |core, now| core.refuse_flow(flow, &first, reason, now));
                }
            }
        }
    };
    Some(Far::Dialling { _task: Task::spawn(body) })
}

fn bound_to(local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    match socket.bind(local) {
        // Every port is somebody's: share one with a connection to another server.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            socket.set_reuseaddr(true)?;
            socket.bind(local)?;
        }
        bound => bound?,
    }
    Ok(socket)
}

/// The host's own address on the way to a server. Sends nothing.
fn route_to(to: SocketAddr) -> io::Result<IpAddr> {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

async fn connect(socket: TcpSocket, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    tokio::time::timeout(timeout, socket.connect(to))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Answers the client's SYN and joins both sides.
fn carry(core: SharedCore, flow: FlowId, client: u32, syn: &[u8], socket: TcpStream) {
    let shared = core.clone();
    with_core(&shared, |inner, now| {
        let proxy = inner.proxy();
        let stream = match proxy.stack().accept(OwnerId(client.into()), syn, now) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was refused");
                if let Ok(first) = Packet::parse_trusted(syn) {
                    inner.refuse_flow(flow, &first, CloseReason::ServerUnreachable, now);
                }
                return;
            }
        };
        let connection = stream.id();
        let task = Task::spawn(async move {
            let end = pump(stream, socket, &Traffic::default()).await;
            if let Some(reason) = reason(end) {
                with_core(&core, |core, now: Instant| core.close_flow(flow, reason, now));
            }
        });
        proxy.carry(flow, connection, task);
    });
}

/// An orderly end is seen by the flow table, with the packets that make it.
fn reason(end: PumpEnd) -> Option<CloseReason> {
    match end {
        PumpEnd::Closed => None,
        PumpEnd::StreamBroken(Broken::TimedOut) => Some(CloseReason::ClientUnreachable),
        PumpEnd::SocketFailed(io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable) => {
            Some(CloseReason::ServerUnreachable)
        }
        PumpEnd::StreamBroken(_) | PumpEnd::SocketFailed(_) => Some(CloseReason::Reset),
    }
}
