//! What a worker counts where it is told of flows, so that no packet costs more for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vmsgate_tunnel::flow::{CloseReason, Flow, Traffic};

/// Servers that are counted by name, in one life of the process. A site has fewer, but a configuration can be changed
/// as often as one likes; the rest goes under [`OTHER`].
const MAX_NAMED: usize = 256;
const OTHER: &str = "other";

/// Flows to the recording network since the start: those of the control services are not in it.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// What passed to and from each server.
    pub servers: BTreeMap<Arc<str>, Traffic>,
    pub closed: BTreeMap<&'static str, u64>,
}

/// How busy a worker is, and what waits for it, now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Time since the start that it was not waiting.
    pub busy: Duration,
    /// Parcels of other workers.
    pub handover: usize,
    pub handover_limit: usize,
    /// Flows whose record is not on disk yet.
    pub unrecorded_flows: usize,
    /// Bytes that the sockets did not take at once.
    pub send_bytes: usize,
}

impl Tally {
    /// A flow begins: from now on its server has a name here, or is one of the others.
    pub fn opened(&mut self, server: &Arc<str>) {
        self.server(server);
    }

    pub fn closed(&mut self, server: &Arc<str>, reason: CloseReason, traffic: Traffic) {
        self.server(server).add(traffic);
        *self.closed.entry(reason.as_str()).or_default() += 1;
    }

    /// The same with what live flows have moved so far.
    pub fn with_live<'a>(&self, flows: impl Iterator<Item = &'a Flow>) -> Tally {
        let mut whole = self.clone();
        for flow in flows.filter(|flow| !flow.allowed.control) {
            whole.server(&flow.allowed.server).add(flow.traffic);
        }
        whole
    }

    /// Adds another worker's numbers.
    pub fn add(&mut self, other: Tally) {
        for (server, traffic) in other.servers {
            self.servers.entry(server).or_default().add(traffic);
        }
        for (reason, count) in other.closed {
            *self.closed.entry(reason).or_default() += count;
        }
    }

    fn server(&mut self, name: &Arc<str>) -> &mut Traffic {
        let named = self.servers.len() < MAX_NAMED || self.servers.contains_key(name);
        self.servers.entry(if named { name.clone() } else { OTHER.into() }).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(bytes_up: u64) -> Traffic {
        Traffic { bytes_up, ..Traffic::default() }
    }

    #[test]
    fn servers_are_counted_by_name_up_to_a_bound_and_no_byte_is_lost() {
        let mut tally = Tally::default();
        for at in 0..2 * MAX_NAMED {
            let server: Arc<str> = format!("server-{at}").into();
            tally.opened(&server);
            tally.closed(&server, CloseReason::Finished, moved(10));
        }
        assert_eq!(tally.servers.len(), MAX_NAMED + 1);
        assert_eq!(tally.servers[OTHER], moved(10 * MAX_NAMED as u64));
        assert_eq!(
            tally.servers.values().map(|traffic| traffic.bytes_up).sum::<u64>(),
            20 * MAX_NAMED as u64
        );
        assert_eq!(tally.closed["finished"], 2 * MAX_NAMED as u64);
    }

    #[test]
    fn workers_are_added_up() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.closed(&"rec01".into(), CloseReason::Reset, moved(1));
        two.closed(&"rec01".into(), CloseReason::Reset, moved(2));
        two.closed(&"rec02".into(), CloseReason::Idle, moved(4));
        one.add(two);
        assert_eq!((one.servers["rec01"], one.servers["rec02"]), (moved(3), moved(4)));
        assert_eq!((one.closed["reset"], one.closed["idle"]), (2, 1));
    }
}
