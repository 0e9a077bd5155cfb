//! ICMP echo flows, through the system's unprivileged echo sockets.

use std::rc::Rc;

use vmsgate_netio::{EchoError, EchoSocket};
use vmsgate_tunnel::flow::{CloseReason, FlowId};
use vmsgate_tunnel::packet::Packet;
use vmsgate_tunnel::reply;

use super::{Far, Proxy, Task, udp, with_core};
use crate::worker::SharedCore;

pub(super) fn open(proxy: &Proxy, core: SharedCore, flow: FlowId, packet: &Packet<'_>) -> Option<Far> {
    let (client, server) = (packet.source, packet.destination);
    let socket = match EchoSocket::connect(proxy.source(packet), server) {
        Ok(socket) => Rc::new(socket),
        Err(error) => {
            match error {
                EchoError::Forbidden => tracing::warn!(%error, "ICMP echo is not forwarded"),
                EchoError::Other { .. } => tracing::debug!(%error, "no socket for an echo flow"),
            }
            return Some(udp::refuse(core, flow, packet, CloseReason::ServerUnreachable));
        }
    };
    // The identifier that the client chose; the system chose another for the recording network.
    let identifier = packet.five_tuple()?.source.port();
    let receiver = socket.clone();
    let body = async move {
        let mut buffer = vec![0; udp::BUFFER];
        loop {
            match receiver.recv(&mut buffer).await {
                Ok(answer) => with_core(&core, |core, now| {
                    core.send_inner(flow, now, |out| {
                        reply::echo_reply(server, client, (identifier, answer.sequence), answer.data, out)
                    });
                }),
                Err(error) => tracing::debug!(%server, %error, "an echo request was not answered"),
            }
        }
    };
    Some(Far::Echo { socket, _task: Task::spawn(body) })
}

pub(super) fn send(socket: &Rc<EchoSocket>, packet: &Packet<'_>) {
    let Some(&[_, _, _, _, _, _, high, low]) = packet.transport_bytes().first_chunk::<8>() else { return };
    // What the system does not take now is lost, as a ping may be.
    let _ = socket.try_send(u16::from_be_bytes([high, low]), packet.payload());
}
