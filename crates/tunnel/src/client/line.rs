//! One tunnel to the gateway with the keys that it is made of.

use std::time::Instant;

use x25519_dalek::{PublicKey, StaticSecret};

use crate::noise::{Identity, Preshared, Tick, Tunnel, TunnelKeys};

/// What a tunnel to the gateway is made of.
#[derive(Clone)]
pub struct ClientKeys {
    pub secret: StaticSecret,
    /// The identity of the gateway that is talked to.
    pub gateway: PublicKey,
    /// The registered pre-shared key, as in the profile.
    pub preshared: Option<Preshared>,
    /// The pre-shared key agreed through the tunnel, used in place of the registered one. A gateway that restarted has
    /// lost it: then the registered one is tried again without being told to.
    pub agreed: Option<Preshared>,
}

impl std::fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let agreed = self.agreed.is_some();
        f.debug_struct("ClientKeys").field("agreed", &agreed).finish_non_exhaustive()
    }
}

pub(super) struct Line {
    pub(super) keys: ClientKeys,
    pub(super) tunnel: Tunnel,
    /// 24 bits, the upper ones of the receiver indices of its messages.
    pub(super) index: u32,
}

impl Line {
    pub(super) fn new(
        keys: ClientKeys,
        persistent_keepalive: Option<u16>,
        index: u32,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Line {
        let preshared = keys.agreed.clone().or_else(|| keys.preshared.clone());
        let tunnel_keys = TunnelKeys { peer: keys.gateway, preshared, persistent_keepalive };
        let tunnel = Tunnel::new(&Identity::new(keys.secret.clone()), tunnel_keys, index, now, rng);
        Line { keys, tunnel, index }
    }

    /// Runs its timers if they are due.
    pub(super) fn tick<'a>(&mut self, now: Instant, rng: &mut fastrand::Rng, out: &'a mut [u8]) -> Tick<'a> {
        if now < self.tunnel.next_tick() { Tick::Idle } else { self.tunnel.tick(now, rng, out) }
    }
}
