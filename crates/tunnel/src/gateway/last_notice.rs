//! The last that a client hears when it is shut out: why. See docs/decisions/0012-refusal-notice.md.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::GatewayState;
use crate::event::SessionEnd;
use crate::peer::ClientKind;
use crate::reply;
use crate::sink::DatagramSink;

/// What is said, and from where. Nothing is said where there is no text or no address of the client's family.
#[derive(Debug, Clone, Default)]
pub struct LastNotices {
    /// The gateway's own tunnel addresses.
    pub from: Arc<[IpAddr]>,
    /// UDP, at both ends.
    pub port: u16,
    pub revoked: Arc<[u8]>,
    pub suspended: Arc<[u8]>,
    pub expired: Arc<[u8]>,
}

impl LastNotices {
    /// What is said at the end of a session; nothing where the client is gone and not shut out.
    fn text(&self, end: SessionEnd) -> Option<&Arc<[u8]>> {
        let text = match end {
            SessionEnd::Revoked => &self.revoked,
            SessionEnd::Suspended => &self.suspended,
            SessionEnd::ValidityEnded => &self.expired,
            SessionEnd::Expired | SessionEnd::Removed | SessionEnd::Shutdown => return None,
        };
        Some(text).filter(|text| !text.is_empty())
    }
}

impl GatewayState {
    /// Sends the notice while the client's keys still exist. Its flows are cut already.
    pub(super) fn tell_why(
        &mut self,
        at: u32,
        end: SessionEnd,
        now: Instant,
        datagrams: &mut impl DatagramSink,
    ) {
        let Some(peer) = self.peers.get(at as usize) else { return };
        if peer.session.is_none() || peer.kind != ClientKind::Device {
            return;
        }
        let LastNotices { from, port, .. } = &self.last_notices;
        let Some(text) = self.last_notices.text(end).cloned() else { return };
        let ends = from.iter().find_map(|from| {
            let to = peer.info.addresses.iter().find(|to| to.is_ipv4() == from.is_ipv4())?;
            Some((SocketAddr::new(*from, *port), SocketAddr::new(*to, *port)))
        });
        if let Some((from, to)) = ends {
            self.answer_with(at, now, datagrams, |out| reply::udp(from, to, &text, out));
        }
    }
}
