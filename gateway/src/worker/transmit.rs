//! From the streams that end here into the tunnels: in turn, within each client's bandwidth.

use std::collections::HashMap;
use std::time::Instant;

use vmsgate_tunnel::flow::FlowId;
use vmsgate_tunnel::gateway::GatewayState;
use vmsgate_tunnel::netstack::{ConnectionId, Outlet};
use vmsgate_tunnel::noise::OVERHEAD;

use super::core::Core;
use super::outlets::Outlets;

/// Packets taken from the stack before the sockets are served again.
const TRANSMIT_BATCH: usize = 64;

struct Tunnels<'a> {
    state: &'a mut GatewayState,
    outlets: &'a mut Outlets,
    connections: &'a HashMap<ConnectionId, FlowId>,
    staging: &'a mut [u8],
    now: Instant,
}

impl Outlet for Tunnels<'_> {
    fn may_send(&mut self, connection: ConnectionId, now: Instant) -> bool {
        !self.state.limits_bandwidth()
            || self.connections.get(&connection).is_none_or(|flow| self.state.may_send(*flow, now))
    }

    fn turn(&mut self, connection: ConnectionId, now: Instant) -> Option<Instant> {
        if !self.state.limits_bandwidth() {
            return None;
        }
        self.state.turn(*self.connections.get(&connection)?, now)
    }

    fn send(&mut self, connection: ConnectionId, packet: &[u8]) {
        let room = self.staging.get_mut(..packet.len());
        if let (Some(flow), Some(room)) = (self.connections.get(&connection), room) {
            room.copy_from_slice(packet);
            self.state.handle_egress(*flow, self.staging, packet.len(), self.now, self.outlets);
        }
    }
}

impl Core {
    /// Moves packets from the streams into the tunnels, as long as the sockets' queues have room.
    pub(super) fn transmit(&mut self, now: Instant) {
        let Core { state, outlets, proxy, staging, mtu, .. } = self;
        let (stack, connections) = proxy.connections();
        let mut more = true;
        while more && outlets.have_room(TRANSMIT_BATCH, *mtu + OVERHEAD) {
            let mut tunnels = Tunnels { state, outlets, connections, staging, now };
            more = stack.poll_transmit_to(now, TRANSMIT_BATCH, &mut tunnels);
            outlets.flush();
        }
        proxy.forget_finished();
    }
}
