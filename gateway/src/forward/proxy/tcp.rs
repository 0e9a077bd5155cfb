//! TCP flows: dial the server, then answer the client, then carry bytes both ways.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use vmsgate_pump::{PumpEnd, Traffic, pump};
use vmsgate_tunnel::flow::{CloseReason, FlowId};
use vmsgate_tunnel::netstack::{Broken, OwnerId};
use vmsgate_tunnel::packet::Packet;

use super::{Far, Proxy, Task, with_core};
use crate::worker::SharedCore;

pub(super) fn dial(
    proxy: &Proxy,
    core: SharedCore,
    flow: FlowId,
    client: u32,
    syn: &Packet<'_>,
) -> Option<Far> {
    let to = syn.five_tuple()?.destination;
    let (source, timeout) = (proxy.source(syn), proxy.settings.connect_timeout);
    let syn: Rc<[u8]> = syn.bytes().into();
    let body = async move {
        match connect(source, to, timeout).await {
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

async fn connect(source: Option<IpAddr>, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    tokio::time::timeout(timeout, socket.connect(to))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Answers the client's SYN and joins both sides.
fn carry(core: SharedCore, flow: FlowId, client: u32, syn: &[u8], socket: TcpStream) {
    let shared = core.clone();
    with_core(&shared, |inner, now| {
        inner.flow_connected(flow, socket.local_addr().ok());
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
