//! The control services, reached over the same userspace stack.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use jiff::Timestamp;
use tokio::sync::mpsc;
use vmsgate_keys::PublicKey;
use vmsgate_pump::Stream;
use vmsgate_tunnel::flow::FlowId;
use vmsgate_tunnel::gateway::present::Present;
use vmsgate_tunnel::netstack::OwnerId;
use vmsgate_tunnel::packet::Packet;
use vmsgate_tunnel::peer::Access;
use vmsgate_tunnel::reply;

use super::{Proxy, Task, with_core};
use crate::control::{Caller, ControlState, dns, serve_dns_tcp, serve_http};
use crate::worker::{SharedCore, take_asks};

/// Policy lets DNS and HTTP through, nothing else.
const DNS_PORT: u16 = 53;

/// Answers a TCP connection to the gateway itself.
pub(super) fn accept(
    proxy: &mut Proxy,
    core: SharedCore,
    flow: FlowId,
    client: u32,
    syn: &Packet<'_>,
    now: Instant,
) {
    let Some(tuple) = syn.five_tuple() else { return };
    let Ok(stream) = proxy.stack.accept(OwnerId(client.into()), syn.bytes(), now) else { return };
    let (connection, control) = (stream.id(), proxy.control.clone());
    let task = Task::spawn(serve(core, flow, tuple.destination.port(), stream, control));
    proxy.carry(flow, connection, task);
}

async fn serve(core: SharedCore, flow: FlowId, port: u16, stream: Stream, control: Arc<ControlState>) {
    let caller = core.borrow().present(flow).map(caller);
    let Some(caller) = caller else { return };
    if port == DNS_PORT {
        serve_dns_tcp(stream, control.zone(&caller.role)).await;
    } else {
        // One request for each connection.
        let (asking, asks) = mpsc::channel(1);
        tokio::join!(serve_http(stream, caller.clone(), control, asking), take_asks(core, caller, asks));
    }
}

/// Answers a DNS question that came in one datagram. The core is in use while a packet is handed over, so the answer
/// leaves a moment later.
pub(super) fn answer_dns(control: Arc<ControlState>, core: SharedCore, flow: FlowId, packet: &Packet<'_>) {
    let Some(tuple) = packet.five_tuple() else { return };
    let question: Rc<[u8]> = packet.payload().into();
    tokio::task::spawn_local(async move {
        let role = core.borrow().owner(flow).map(|client| client.role.clone());
        let answer = role.and_then(|role| dns::answer(&question, control.zone(&role), dns::Transport::Udp));
        if let Some(answer) = answer {
            with_core(&core, |core, now| {
                core.send_inner(flow, now, |out| reply::udp(tuple.destination, tuple.source, &answer, out));
            });
        }
    });
}

fn caller(Present { session, access, kind, registered }: Present<'_>) -> Caller {
    let until = match access {
        Access::Active { until } => until,
        Access::Suspended | Access::Revoked => None,
    };
    let client = &session.client;
    Caller {
        id: client.id,
        kind,
        client: client.name.to_string(),
        operator: client.operator.to_string(),
        role: client.role.to_string(),
        expires: until.and_then(|ms| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()),
        addresses: client.addresses.iter().map(|address| IpNet::from(*address)).collect(),
        key: PublicKey::from_bytes(session.key.to_bytes()),
        identity: PublicKey::from_bytes(session.identity.to_bytes()),
        // WireGuard, too, takes no pre-shared key for one of zeros.
        registered: registered.cloned().unwrap_or_default(),
        post_quantum: session.post_quantum,
        source: session.endpoint,
    }
}
