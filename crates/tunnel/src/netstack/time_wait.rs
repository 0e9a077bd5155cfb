//! TIME-WAIT without a socket: a finished connection keeps its last acknowledgement and repeats it.
//!
//! The peer may have missed that acknowledgement and will then repeat its FIN; a reset in answer would turn an orderly
//! close into an error. A hundred bytes do for that what the socket's buffers, megabytes of them, would.

use std::time::Duration;

use smoltcp::wire::IpEndpoint;

use super::schedule::Place;
use super::segment::Segment;

/// How long stragglers are answered. Far less than RFC 9293's four minutes: packets of this connection come through
/// one tunnel, and smoltcp uses the same ten seconds.
pub(super) const TIME_WAIT: Duration = Duration::from_secs(10);

pub(super) struct TimeWait {
    local: IpEndpoint,
    remote: IpEndpoint,
    final_ack: Box<[u8]>,
    pub(super) place: Place,
}

impl TimeWait {
    pub(super) fn new(local: IpEndpoint, remote: IpEndpoint, final_ack: Box<[u8]>) -> Self {
        Self { local, remote, final_ack, place: Place::default() }
    }

    pub(super) fn belongs(&self, segment: &Segment) -> bool {
        segment.source == self.remote && segment.destination == self.local
    }

    /// The answer to a segment: only what occupies sequence space deserves one.
    pub(super) fn answer(&self, segment: &Segment) -> Option<&[u8]> {
        (!segment.rst && segment.end() != segment.seq).then_some(&*self.final_ack)
    }
}
