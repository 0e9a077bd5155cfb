//! When a client is present: sessions open with the first authenticated transport message, roam, and end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use x25519_dalek::PublicKey;

use super::GatewayState;
use crate::counters::Drop;
use crate::event::{GatewayEvent, SessionEnd, SessionInfo};
use crate::flow::{CloseReason, Direction, FlowId, Traffic, Volume};
use crate::noise::is_newer;
use crate::peer::Session;
use crate::sink::DatagramSink;

/// A key pair lives 180 s (REJECT_AFTER_TIME of the WireGuard paper); a client silent for longer has none.
const SILENCE: Duration = Duration::from_secs(180);

impl GatewayState {
    /// Notes an authenticated message: a session begins with it, or roams, and replies go where it came from.
    ///
    /// An initiation alone opens no session: it can be replayed by anyone who saw it, a transport message cannot. Nor does
    /// the message of a client whose validity has ended since its handshake. Whether there is a session now.
    pub(super) fn authenticated(
        &mut self,
        at: u32,
        (slot, index): (u32, u32),
        from: SocketAddr,
        volume: Volume,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> bool {
        let Some(tunnel) = self.tunnels.get_mut(slot as usize) else { return false };
        if tunnel.awaited == Some(index) {
            tunnel.awaited = None;
        }
        let current = self.peers.get(at as usize).is_some_and(|peer| peer.active == Some(slot));
        let current = current || self.take_over(at, (slot, index), from, now, datagrams);
        let session = self.peers.get_mut(at as usize).and_then(|peer| peer.session.as_mut());
        let Some(session) = session else {
            self.counters.count(Drop::NoSession);
            return false;
        };
        if current && session.info.endpoint != from {
            let previous = std::mem::replace(&mut session.info.endpoint, from);
            self.by_endpoint.remove(&previous);
            self.by_endpoint.insert(from, slot);
            let session = session.info.clone();
            let at = self.clock.1 + now.saturating_duration_since(self.clock.0).as_millis() as u64;
            self.events.push_back(GatewayEvent::SessionRoamed { session, from: previous, at });
        }
        session.last_seen = now;
        session.traffic.count(Direction::Up, volume);
        self.counters.traffic.count(Direction::Up, volume);
        true
    }

    /// A tunnel is heard that is not the one heard last: answers go through it from now on, unless what came is older.
    #[cold]
    fn take_over(
        &mut self,
        at: u32,
        (slot, index): (u32, u32),
        from: SocketAddr,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> bool {
        let Some(tunnel) = self.tunnels.get(slot as usize) else { return false };
        if tunnel.superseded.is_some_and(|newest| !is_newer(index, newest)) {
            return false;
        }
        let (key, identity) = (tunnel.key, tunnel.identity);
        let unix = self.unix(now);
        let Some(peer) = self.peers.get_mut(at as usize) else { return false };
        if peer.session.is_none() && peer.access.rejection(unix).is_some() {
            return false;
        }
        let before = peer.active.replace(slot);
        peer.tunnels.retain(|other| *other != slot);
        peer.tunnels.push(slot);
        let is_new = peer.session.is_none();
        if let Some(before) = before.and_then(|before| self.tunnels.get_mut(before as usize)) {
            before.superseded = Some(before.tunnel.newest_index());
        }
        self.by_endpoint.insert(from, slot);
        if is_new {
            self.begin_session(at, (key, identity), from, now);
        }
        self.adopt(at, slot, is_new, now, datagrams);
        true
    }

    fn begin_session(
        &mut self,
        at: u32,
        (key, identity): (PublicKey, PublicKey),
        endpoint: SocketAddr,
        now: Instant,
    ) {
        let (id, unix) = (self.new_id(now), self.unix(now));
        let Some(peer) = self.peers.get_mut(at as usize) else { return };
        let interrupted = peer.interrupted.take().filter(|before| unix <= before.until);
        let info = SessionInfo {
            id,
            client: peer.info.clone(),
            key,
            identity,
            // Nothing is agreed outside a session.
            post_quantum: false,
            endpoint,
            continues: interrupted.map(|before| before.session),
        };
        self.events.push_back(GatewayEvent::SessionOpened { session: info.clone(), at: unix });
        let traffic = Traffic::default();
        peer.session = Some(Session { info, opened: now, last_seen: now, traffic, last_forwarded: None });
    }

    /// Ends the sessions of clients that fell silent or may no longer connect.
    pub(super) fn end_sessions(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        let unix = self.unix(now);
        let ended: Vec<(u32, SessionEnd)> = self
            .peers
            .iter()
            .filter_map(|(at, peer)| {
                let session = peer.session.as_ref()?;
                if let Some(end) = peer.access.session_end(unix) {
                    return Some((at as u32, end));
                }
                // A flow may idle for hours, and then goes on in the session that opened it.
                let silent = now.saturating_duration_since(session.last_seen) > SILENCE;
                let idle = self.flows.of_client(at as u32).next().is_none();
                (silent && idle).then_some((at as u32, SessionEnd::Expired))
            })
            .collect();
        for (at, end) in ended {
            self.end_session(at, end, now, datagrams);
        }
    }

    /// Cuts a client's flows, tells it why if it is shut out, forgets its key pairs and ends its session.
    pub(super) fn end_session(
        &mut self,
        at: u32,
        end: SessionEnd,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let flows: Vec<FlowId> = self.flows.of_client(at).map(|flow| flow.id).collect();
        let forwarded = self.flows.of_client(at).filter(|flow| !flow.allowed.control);
        let flows_cut = forwarded.count() as u64;
        for id in flows {
            self.cut_flow(id, CloseReason::ClientBlocked, now, datagrams);
        }
        self.tell_why(at, end, now, datagrams);
        self.report_limits_of(at, now);
        let Some(peer) = self.peers.get_mut(at as usize) else { return };
        for held in &mut peer.keys {
            (held.agreed, held.offered) = (None, None);
        }
        peer.active = None;
        let (session, tunnels) = (peer.session.take(), peer.tunnels.clone());
        for slot in tunnels {
            self.forget_tunnel(slot);
        }
        if let Some(session) = session {
            self.by_endpoint.remove(&session.info.endpoint);
            // What was refused in the session is told before its end.
            self.refusals.collect(now, true, &mut self.events);
            let (at, opened) = (self.unix(now), self.unix_of_past(session.opened, now));
            let traffic = session.traffic;
            let last_forwarded = session.last_forwarded.map(|last| self.unix_of_past(last, now));
            let session = session.info;
            self.events.push_back(GatewayEvent::SessionClosed {
                session,
                reason: end,
                traffic,
                last_forwarded,
                flows_cut,
                opened,
                at,
            });
        }
    }
}
