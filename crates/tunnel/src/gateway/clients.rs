//! Changes while the gateway runs: clients, policy, shutdown. None drops anyone it is not about.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::foresee::Cut;
use super::{GatewayState, Settings};
use crate::event::SessionEnd;
use crate::flow::{CloseReason, Flow, FlowId};
use crate::peer::{ClientConfig, HeldKey, Peer};
use crate::policy::Verdict;
use crate::sink::DatagramSink;

impl GatewayState {
    /// Adds a client or takes over what changed about it. A session survives unless the client may no longer
    /// connect, its key is gone, or its addresses changed.
    pub fn upsert_client(&mut self, config: ClientConfig, now: Instant, datagrams: &mut impl DatagramSink) {
        let role = self.policy.role(&config.info.role);
        let info = Arc::new(config.info);
        let at = match self.by_client.get(&info.id) {
            Some(&at) => at,
            None => {
                let at = self.peers.insert(Peer {
                    info: info.clone(),
                    role,
                    keys: Vec::new(),
                    access: config.access,
                    kind: config.kind,
                    tunnels: Vec::new(),
                    active: None,
                    session: None,
                    interrupted: None,
                    new_flows: None,
                    lines: None,
                }) as u32;
                self.by_client.insert(info.id, at);
                at
            }
        };
        let Some(peer) = self.peers.get_mut(at as usize) else { return };
        let before = std::mem::replace(&mut peer.info, info.clone());
        let moved = before.addresses != info.addresses;
        if let Some(session) = &mut peer.session {
            session.info.client = info.clone();
        }
        peer.role = role;
        peer.access = config.access;
        peer.kind = config.kind;
        let mut old = std::mem::take(&mut peer.keys);
        for key in config.keys {
            // What was agreed for a key that stays.
            let before =
                old.iter().position(|held| held.key.public == key.public).map(|at| old.swap_remove(at));
            let (agreed, offered) = before.map_or((None, None), |held| (held.agreed, held.offered));
            self.by_key.insert(key.public.to_bytes(), at);
            peer.keys.push(HeldKey { key, agreed, offered });
        }
        for HeldKey { key, .. } in &old {
            if self.by_key.get(key.public.as_bytes()) == Some(&at) {
                self.by_key.remove(key.public.as_bytes());
            }
        }
        self.forget_addresses(at, &before.addresses);
        for address in &info.addresses {
            self.by_address.insert(*address, at);
        }
        self.set_bandwidth(at, now);
        let end = if moved { Some(SessionEnd::Removed) } else { config.access.session_end(self.unix(now)) };
        if let Some(end) = end {
            return self.end_session(at, end, now, datagrams);
        }
        self.end_tunnels_of_lost_keys(at, now, datagrams);
        self.rejudge(at, now, datagrams);
    }

    /// Forgets a client.
    pub fn remove_client(&mut self, id: Uuid, now: Instant, datagrams: &mut impl DatagramSink) {
        let Some(at) = self.by_client.remove(&id) else { return };
        self.end_session(at, SessionEnd::Removed, now, datagrams);
        if let Some(peer) = self.peers.try_remove(at as usize) {
            self.limited -= usize::from(peer.lines.is_some());
            for HeldKey { key, .. } in peer.keys {
                if self.by_key.get(key.public.as_bytes()) == Some(&at) {
                    self.by_key.remove(key.public.as_bytes());
                }
            }
            self.forget_addresses(at, &peer.info.addresses);
        }
    }

    /// Changes of several clients come one by one: another client may have the address by now.
    fn forget_addresses(&mut self, at: u32, addresses: &[IpAddr]) {
        for address in addresses {
            if self.by_address.get(address) == Some(&at) {
                self.by_address.remove(address);
            }
        }
    }

    /// Puts a new configuration in force and judges every live flow by it. Answers which of them that ended.
    pub fn set_settings(
        &mut self,
        settings: Settings,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> Vec<Cut> {
        self.policy = settings.policy;
        self.answer_refused = settings.answer_refused;
        self.mtu = settings.mtu;
        self.last_notices = settings.last_notices;
        self.flows.set_limits(settings.flows);
        self.guard.set_limits(settings.handshakes);
        self.bandwidths = settings.bandwidths;
        for (_, peer) in &mut self.peers {
            peer.role = self.policy.role(&peer.info.role);
        }
        let all: Vec<u32> = self.peers.iter().map(|(at, _)| at as u32).collect();
        all.into_iter().for_each(|at| self.set_bandwidth(at, now));
        let judged = self.judged_by(&self.policy, None);
        let cuts = self.cut_by(&judged);
        self.enforce(judged, now, datagrams);
        cuts
    }

    /// Ends every session, so that each has its closing record.
    pub fn shut_down(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        self.cut_flows(|_| true, CloseReason::Shutdown, now, datagrams);
        let present: Vec<u32> =
            self.peers.iter().filter(|(_, peer)| peer.session.is_some()).map(|(at, _)| at as u32).collect();
        for at in present {
            self.end_session(at, SessionEnd::Shutdown, now, datagrams);
        }
        self.refusals.collect(now, true, &mut self.events);
    }

    /// Cuts every flow to the recording network, because nobody could tell afterwards what was done with it.
    pub fn cut_unrecorded(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        self.cut_flows(|flow| !flow.allowed.control, CloseReason::AuditUnavailable, now, datagrams);
    }

    fn cut_flows(
        &mut self,
        which: impl Fn(&Flow) -> bool,
        reason: CloseReason,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let flows: Vec<FlowId> = self.flows.iter().filter(|flow| which(flow)).map(|flow| flow.id).collect();
        for id in flows {
            self.cut_flow(id, reason, now, datagrams);
        }
    }

    /// Cuts the flows of a client that policy no longer allows.
    pub(super) fn rejudge(&mut self, at: u32, now: Instant, datagrams: &mut impl DatagramSink) {
        self.enforce(self.judged_by(&self.policy, Some(at)), now, datagrams);
    }

    /// Cuts what is denied, flows in clear text that must be TLS from now on among them.
    fn enforce(&mut self, judged: Vec<(FlowId, Verdict)>, now: Instant, datagrams: &mut impl DatagramSink) {
        for (id, verdict) in judged {
            match verdict {
                Verdict::Allow(allowed) => {
                    if self.flows.require_tls(id, allowed.require_tls) {
                        self.refuse_clear_text(id, now, datagrams);
                    }
                }
                Verdict::Deny(_) => self.cut_flow(id, CloseReason::Policy, now, datagrams),
            }
        }
    }
}
