//! From an initiation to a tunnel: identity, limits, peer, pre-shared key.

use std::net::SocketAddr;
use std::time::Instant;

use x25519_dalek::PublicKey;

use super::shard::{Handover, Initiator};
use super::{GatewayState, TunnelSlot, send};
use crate::counters::Drop;
use crate::event::{Interrupted, Rejection};
use crate::guard::Admission;
use crate::noise::{Identity, Initiation, Opened, Preshared, Proof, Refused, Tunnel, TunnelKeys};
use crate::peer::{ClientKey, HeldKey, Peer};
use crate::sink::DatagramSink;

impl GatewayState {
    /// Cheapest checks first: mac1, the source's limit, one Diffie-Hellman, the registry, and only then the rest.
    pub(super) fn handle_initiation(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> Option<Handover> {
        let Some(identity) = self.identities.iter().position(|identity| identity.is_addressed_by(datagram))
        else {
            self.counters.count(Drop::UnknownIdentity);
            return None;
        };
        if !self.admit(identity, from, datagram, now, datagrams)
            || self.is_renewal(identity, from, datagram, now, datagrams)
        {
            return None;
        }
        let key = match self.identities[identity].sender(datagram) {
            Initiation::From(key) => key,
            Initiation::Forged => {
                self.reject(from, Rejection::Forged, None, now);
                return None;
            }
            Initiation::NotForUs => {
                self.counters.count(Drop::UnknownIdentity);
                return None;
            }
        };
        let initiator = Initiator { key, identity: self.identities[identity].public() };
        if let Some(worker) = self.shard.of_key(&key) {
            return Some(Handover { worker, initiator: Some(initiator) });
        }
        self.handle_initiator(initiator, from, datagram, now, datagrams);
        None
    }

    /// An initiation whose sender is known and whose source has passed the limits.
    pub fn handle_initiator(
        &mut self,
        Initiator { key, identity }: Initiator,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Some(&at) = self.by_key.get(key.as_bytes()) else {
            return self.reject(from, Rejection::UnknownKey, Some(key), now);
        };
        let unix = self.unix(now);
        let Some(peer) = self.peers.get(at as usize) else { return };
        if let Some(why) = peer.access.rejection(unix) {
            return self.reject(from, why, Some(key), now);
        }
        if peer.held(&key, unix).is_none() {
            return self.reject(from, Rejection::UnknownKey, Some(key), now);
        }
        let Some(identity) = self.identities.iter().position(|own| own.public() == identity) else {
            return self.counters.count(Drop::UnknownIdentity);
        };
        let (mut answered, mut refused) = (false, None);
        for slot in self.answering(at, key, identity, from, now).into_iter().flatten() {
            match self.respond(slot, from, datagram, datagrams) {
                Ok(answer) => answered |= answer,
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            _ if answered => self.counters.handshakes += 1,
            Some(Refused::Replayed) => self.reject(from, Rejection::Replayed, Some(key), now),
            Some(_) => self.reject(from, Rejection::Forged, Some(key), now),
            None => {}
        }
    }

    /// Answers an initiation of the client that was heard last from this very address, which spares finding out who
    /// sent it: a Diffie-Hellman of five.
    fn is_renewal(
        &mut self,
        identity: usize,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> bool {
        let Some(&slot) = self.by_endpoint.get(&from) else { return false };
        let unix = self.unix(now);
        let Some(found) = self.tunnels.get(slot as usize) else { return false };
        let Some(peer) = self.peers.get(found.peer as usize) else { return false };
        let Some(held) = peer.held(&found.key, unix) else { return false };
        if found.identity != self.identities[identity].public() || peer.access.rejection(unix).is_some() {
            return false;
        }
        let alone = if held.has_only_registered() {
            found.preshared == held.key.preshared
        } else {
            is_settled(peer, held, (slot, found), from)
        };
        let answered = alone && self.respond(slot, from, datagram, datagrams) == Ok(true);
        self.counters.handshakes += u64::from(answered);
        answered
    }

    /// Whether the source may shake hands now; if not, it may get a cookie.
    fn admit(
        &mut self,
        identity: usize,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) -> bool {
        if self.guard.admit(from.ip(), now) == Admission::Accept {
            return true;
        }
        match self.identities[identity].proves_source(from.ip(), datagram, &mut self.message) {
            Proof::Valid if self.guard.admit_proven(from.ip(), now) => true,
            Proof::Valid => {
                self.counters.count(Drop::RateLimited);
                self.reject(from, Rejection::RateLimited, None, now);
                false
            }
            Proof::Cookie(length) => {
                self.counters.count(Drop::CookieDemanded);
                send(from, &self.message[..length], datagrams);
                false
            }
            Proof::NotForUs => false,
        }
    }

    /// Lets a tunnel answer an initiation. Whether it did.
    fn respond(
        &mut self,
        slot: u32,
        from: SocketAddr,
        datagram: &[u8],
        datagrams: &mut impl DatagramSink,
    ) -> Result<bool, Refused> {
        let Some(found) = self.tunnels.get_mut(slot as usize) else { return Ok(false) };
        let Opened::Reply(response) = found.tunnel.open(from.ip(), datagram, &mut self.message)? else {
            return Ok(false);
        };
        send(from, response, datagrams);
        found.awaited = Some(found.tunnel.newest_index());
        Ok(true)
    }

    /// The tunnels that are to answer an initiation under this client key. It does not say which pre-shared key it
    /// means: when that is known it is one tunnel, otherwise one for each, and the client takes the answer that
    /// authenticates.
    fn answering(
        &mut self,
        at: u32,
        key: PublicKey,
        identity: usize,
        from: SocketAddr,
        now: Instant,
    ) -> [Option<u32>; 3] {
        let unix = self.unix(now);
        let Some(peer) = self.peers.get(at as usize) else { return [None; 3] };
        let Some(held) = peer.held(&key, unix) else { return [None; 3] };
        if held.has_only_registered() {
            let preshared = held.key.preshared.clone();
            return [self.tunnel_for(at, key, preshared, identity, now), None, None];
        }
        let public = self.identities.get(identity).map(Identity::public);
        if let Some(slot) = peer.active
            && let Some(found) = self.tunnels.get(slot as usize)
            && found.key == key
            && Some(found.identity) == public
            && is_settled(peer, held, (slot, found), from)
        {
            return [Some(slot), None, None];
        }
        let mut slots = [None; 3];
        let candidates: Vec<Option<Preshared>> = held.candidates().cloned().collect();
        for (place, preshared) in slots.iter_mut().zip(candidates) {
            *place = self.tunnel_for(at, key, preshared, identity, now);
        }
        slots
    }

    /// The client's tunnel for this key, this pre-shared key and this identity; made when there is none. A tunnel with
    /// an earlier pre-shared key stays beside it until its sessions end.
    fn tunnel_for(
        &mut self,
        at: u32,
        key: PublicKey,
        preshared: Option<Preshared>,
        identity: usize,
        now: Instant,
    ) -> Option<u32> {
        let identity = self.identities.get(identity)?;
        let peer = self.peers.get_mut(at as usize)?;
        let fits = |slot: &&u32| {
            let tunnel = self.tunnels.get(**slot as usize);
            tunnel
                .is_some_and(|t| t.key == key && t.identity == identity.public() && t.preshared == preshared)
        };
        if let Some(slot) = peer.tunnels.iter().find(fits) {
            return Some(*slot);
        }
        let entry = self.tunnels.vacant_entry();
        let slot = entry.key() as u32;
        let index = self.shard.index(slot)?;
        let keys = TunnelKeys { peer: key, preshared: preshared.clone(), persistent_keepalive: None };
        let tunnel = Tunnel::new(identity, keys, index, now, &mut self.rng);
        let scheduled = tunnel.next_tick();
        self.ticks.insert((scheduled, slot));
        entry.insert(TunnelSlot {
            tunnel,
            peer: at,
            key,
            preshared,
            identity: identity.public(),
            heard: false,
            awaited: None,
            superseded: None,
            ends: None,
            expected_at: None,
            scheduled,
        });
        // The one heard last stays at the end.
        peer.tunnels.insert(0, slot);
        Some(slot)
    }

    /// Begins a handshake with a client at the address where it was last seen: after a restart the client is back
    /// at once, instead of when its own timers notice (15 s). Its next session takes up the one before.
    pub fn reconnect(&mut self, before: Interrupted, now: Instant, datagrams: &mut impl DatagramSink) {
        let Some(&peer) = self.by_client.get(&before.client) else { return };
        let (unix, at) = (self.unix(now), before.endpoint);
        let Some(found) = self.peers.get_mut(peer as usize) else { return };
        if found.session.is_some() {
            return;
        }
        found.interrupted = Some(before);
        if found.access.rejection(unix).is_some() {
            return;
        }
        // It answers to one of them: which key and which identity it uses is not known here.
        let keys = found.keys.iter().filter(|held| !held.key.has_ended(unix)).map(|held| held.key.clone());
        for ClientKey { public, preshared, .. } in keys.collect::<Vec<_>>() {
            for identity in 0..self.identities.len() {
                let slot = self.tunnel_for(peer, public, preshared.clone(), identity, now);
                let Some(slot) = slot else { return };
                if let Some(tunnel) = self.tunnels.get_mut(slot as usize) {
                    tunnel.expected_at = Some(at);
                }
                self.initiate(slot, at, now, datagrams);
            }
        }
    }

    pub(super) fn reject(&mut self, from: SocketAddr, why: Rejection, key: Option<PublicKey>, now: Instant) {
        self.counters.count(Drop::HandshakeRejected);
        let at = key.and_then(|key| self.by_key.get(key.as_bytes()));
        let client = at.and_then(|at| self.peers.get(*at as usize)).map(|peer| &peer.info);
        let unix = self.clock.1 + now.saturating_duration_since(self.clock.0).as_millis() as u64;
        self.refusals.reject(from, why, key, client, (now, unix));
    }
}

/// Whether an initiation surely means the pre-shared key that the client was heard under last: its last answer was
/// taken, nothing new was agreed since, and the client is where it was.
fn is_settled(peer: &Peer, held: &HeldKey, (slot, found): (u32, &TunnelSlot), from: SocketAddr) -> bool {
    peer.active == Some(slot)
        && found.awaited.is_none()
        && held.offered.is_none()
        && held.candidates().any(|candidate| *candidate == found.preshared)
        && peer.session.as_ref().is_some_and(|session| session.info.endpoint == from)
}
