//! A client that is there, as control services see it.

use super::GatewayState;
use crate::event::SessionInfo;
use crate::noise::Preshared;
use crate::peer::{Access, ClientKind};

/// A client with a live session.
#[derive(Clone, Copy)]
pub struct Present<'a> {
    pub session: &'a SessionInfo,
    pub access: Access,
    pub kind: ClientKind,
    /// The pre-shared key that is registered with the key of the session.
    pub registered: Option<&'a Preshared>,
}

impl GatewayState {
    /// A flow's owner, by [`crate::flow::Flow::client`], while it has a session.
    pub fn present(&self, client: u32) -> Option<Present<'_>> {
        let peer = self.peers.get(client as usize)?;
        let session = &peer.session.as_ref()?.info;
        let held = peer.keys.iter().find(|held| held.key.public == session.key)?;
        Some(Present {
            session,
            access: peer.access,
            kind: peer.kind,
            registered: held.key.preshared.as_ref(),
        })
    }
}

impl std::fmt::Debug for Present<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Present").field("session", &self.session.id).finish_non_exhaustive()
    }
}
