//! Which keys a client may be heard under, and when they end.

use std::time::{Duration, Instant};

use uuid::Uuid;
use x25519_dalek::PublicKey;

use super::GatewayState;
use crate::event::{GatewayEvent, SessionEnd};
use crate::noise::{Identity, Preshared};
use crate::sink::DatagramSink;

/// How long a tunnel under an agreed pre-shared key still receives when the next one is in use.
const AFTERGLOW: Duration = Duration::from_secs(10);

impl GatewayState {
    /// Notes a pre-shared key that was agreed with a client through its tunnel, to be used with this client key of its:
    /// in memory only, until the session ends. It takes the place of the one before when the client is first heard under
    /// it. It may be the one that was registered with a new key in this session. False when the client has no session or no
    /// such key.
    pub fn agree(&mut self, client: Uuid, key: PublicKey, preshared: Preshared) -> bool {
        let Some(&at) = self.by_client.get(&client) else { return false };
        let Some(peer) = self.peers.get_mut(at as usize) else { return false };
        let Some(held) = peer.keys.iter_mut().find(|held| held.key.public == key) else { return false };
        if peer.session.is_none() {
            return false;
        }
        let offered = (held.agreed.as_ref() != Some(&preshared)).then_some(preshared);
        let unused = std::mem::replace(&mut held.offered, offered);
        if unused.is_some() && !held.candidates().any(|candidate| *candidate == unused) {
            for slot in self.tunnels_with(at, key, &unused) {
                self.forget_tunnel(slot);
            }
        }
        true
    }

    /// The identities that answer from now on, the preferred one first; those that answered before keep their state.
    /// Tunnels of others end, and with them the sessions that have no other.
    pub fn set_identities(
        &mut self,
        identities: Vec<Identity>,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let mut before = std::mem::take(&mut self.identities);
        let same = |new: Identity| {
            let known = before.iter().position(|old| old.public() == new.public());
            known.map_or(new, |at| before.swap_remove(at))
        };
        self.identities = identities.into_iter().map(same).collect();
        let public: Vec<PublicKey> = self.identities.iter().map(Identity::public).collect();
        self.end_tunnels(None, |_, identity| !public.contains(identity), now, datagrams);
    }

    /// Ends what has had its time: client keys, and tunnels whose pre-shared key is no longer used.
    pub(super) fn end_keys(&mut self, now: Instant, datagrams: &mut impl DatagramSink) {
        let over = self.tunnels.iter().filter(|(_, slot)| slot.ends.is_some_and(|ends| ends <= now));
        for slot in over.map(|(slot, _)| slot as u32).collect::<Vec<_>>() {
            self.remove_tunnel(slot, now, datagrams);
        }
        let unix = self.unix(now);
        let some_end = |(at, peer): (usize, &crate::peer::Peer)| {
            peer.keys.iter().any(|held| held.key.has_ended(unix)).then_some(at as u32)
        };
        for at in self.peers.iter().filter_map(some_end).collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(at as usize) else { continue };
            for held in peer.keys.extract_if(.., |held| held.key.has_ended(unix)) {
                self.by_key.remove(held.key.public.as_bytes());
            }
            self.end_tunnels_of_lost_keys(at, now, datagrams);
        }
    }

    /// Ends a client's tunnels under keys that it has no longer.
    pub(super) fn end_tunnels_of_lost_keys(
        &mut self,
        at: u32,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Some(peer) = self.peers.get(at as usize) else { return };
        let keys: Vec<PublicKey> = peer.keys.iter().map(|held| held.key.public).collect();
        self.end_tunnels(Some(at), |key, _| !keys.contains(key), now, datagrams);
    }

    /// Ends the tunnels, of one client or all, whose client key or identity is gone. A session goes on if another tunnel
    /// has carried it.
    fn end_tunnels(
        &mut self,
        only: Option<u32>,
        gone: impl Fn(&PublicKey, &PublicKey) -> bool,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let of = |at: u32| only.is_none_or(|only| only == at);
        let tunnels = self.tunnels.iter().filter(|(_, slot)| of(slot.peer));
        let slots: Vec<u32> = tunnels
            .filter(|(_, slot)| gone(&slot.key, &slot.identity))
            .map(|(slot, _)| slot as u32)
            .collect();
        let candidates: Vec<u32> = match only {
            Some(at) => vec![at],
            None => self.peers.iter().map(|(at, _)| at as u32).collect(),
        };
        for at in candidates {
            let Some(peer) = self.peers.get(at as usize) else { continue };
            let Some(session) = &peer.session else { continue };
            let mut others = peer.tunnels.iter().filter_map(|slot| self.tunnels.get(*slot as usize));
            if gone(&session.info.key, &session.info.identity)
                && !others.any(|slot| slot.heard && !gone(&slot.key, &slot.identity))
            {
                self.end_session(at, SessionEnd::Removed, now, datagrams);
            }
        }
        for slot in slots {
            self.remove_tunnel(slot, now, datagrams);
        }
    }

    /// A client is heard through this tunnel from now on: tells its session so, which may be a new one, and everybody else.
    /// When that is the first time under an agreed pre-shared key, the one before it ends; when it is no agreed one, the
    /// client has lost the agreed one.
    pub(super) fn adopt(
        &mut self,
        at: u32,
        slot: u32,
        is_new: bool,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Some(tunnel) = self.tunnels.get_mut(slot as usize) else { return };
        (tunnel.heard, tunnel.superseded) = (true, None);
        let (key, identity, preshared) = (tunnel.key, tunnel.identity, tunnel.preshared.clone());
        let Some(peer) = self.peers.get_mut(at as usize) else { return };
        let (mut post_quantum, mut over) = (false, None);
        if let Some(held) = peer.keys.iter_mut().find(|held| held.key.public == key) {
            if preshared.is_some() && preshared == held.offered {
                over = std::mem::replace(&mut held.agreed, held.offered.take());
                post_quantum = true;
            } else if preshared.is_some() && preshared == held.agreed {
                post_quantum = true;
            } else {
                over = held.agreed.take();
            }
            over = over.filter(|over| held.key.preshared.as_ref() != Some(over));
        }
        let (mut lost, mut changed) = (false, is_new);
        if let Some(session) = &mut peer.session {
            let info = &mut session.info;
            lost = info.post_quantum && !post_quantum;
            changed |= (info.key, info.identity, info.post_quantum) != (key, identity, post_quantum);
            (info.key, info.identity, info.post_quantum) = (key, identity, post_quantum);
        }
        let client = peer.info.id;
        lost = lost && peer.role.is_some_and(|role| self.policy.requires_post_quantum(role));
        if changed {
            let at = self.unix(now);
            self.events.push_back(GatewayEvent::KeyConfirmed { client, key, identity, post_quantum, at });
        }
        if over.is_some() {
            for slot in self.tunnels_with(at, key, &over) {
                if let Some(tunnel) = self.tunnels.get_mut(slot as usize) {
                    tunnel.ends = Some(now + AFTERGLOW);
                }
            }
        }
        if lost {
            self.rejudge(at, now, datagrams);
        }
    }

    fn tunnels_with(&self, at: u32, key: PublicKey, preshared: &Option<Preshared>) -> Vec<u32> {
        let Some(peer) = self.peers.get(at as usize) else { return Vec::new() };
        let fits = |slot: &u32| {
            let tunnel = self.tunnels.get(*slot as usize);
            tunnel.is_some_and(|tunnel| tunnel.key == key && tunnel.preshared == *preshared)
        };
        peer.tunnels.iter().copied().filter(fits).collect()
    }
}
