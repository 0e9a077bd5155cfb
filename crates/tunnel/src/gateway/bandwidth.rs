//! Limits of bandwidth on the packet path: who has one, what passes, and the record of it.

use std::time::{Duration, Instant};

use super::GatewayState;
use crate::bandwidth::Line;
use crate::counters::Drop;
use crate::event::{GatewayEvent, LimitedSession};
use crate::flow::{Direction, Flow, FlowId};
use crate::peer::ClientKind;

/// How long a limit may bite before it is told: one record a minute, however much it holds up.
const WINDOW: Duration = Duration::from_secs(60);
const DIRECTIONS: [Direction; 2] = [Direction::Up, Direction::Down];

impl GatewayState {
    /// Gives a client the limits of its role.
    pub(super) fn set_bandwidth(&mut self, at: u32, now: Instant) {
        let Some(peer) = self.peers.get_mut(at as usize) else { return };
        let bandwidth = self.bandwidths.of(&peer.info.role);
        let limited = peer.kind == ClientKind::Device && (bandwidth.up.is_some() || bandwidth.down.is_some());
        self.limited = self.limited - usize::from(peer.lines.is_some()) + usize::from(limited);
        if limited {
            peer.lines.get_or_insert_default().set(bandwidth, now);
        } else {
            peer.lines = None;
        }
    }

    /// Whether packets of a flow are within its client's limit; if not, they are counted and go no further. The first
    /// packet of a flow always is: it costs more than its bytes.
    pub(super) fn is_within_limit(
        &mut self,
        id: FlowId,
        direction: Direction,
        bytes: usize,
        packets: usize,
        now: Instant,
    ) -> bool {
        self.limited == 0 || self.police(id, direction, bytes, packets, now)
    }

    #[cold]
    fn police(
        &mut self,
        id: FlowId,
        direction: Direction,
        bytes: usize,
        packets: usize,
        now: Instant,
    ) -> bool {
        let Some((line, flow)) = self.measured(id, direction, now) else { return true };
        let is_first = flow.last_packet().is_none();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let admitted = line.admit(flow.share(direction), bytes, now) || is_first;
        if !admitted {
            self.counters.count_many(Drop::Bandwidth, packets as u64);
        }
        admitted
    }

    /// Whether any client has a limit of bandwidth.
    pub fn limits_bandwidth(&self) -> bool {
        self.limited > 0
    }

    /// Whether a flow that ends here may send a packet to its client now.
    pub fn may_send(&mut self, id: FlowId, now: Instant) -> bool {
        self.down(id).is_none_or(|line| line.may_send(now))
    }

    /// When a flow that ends here may send its next packet to its client, if not now.
    pub fn turn(&mut self, id: FlowId, now: Instant) -> Option<Instant> {
        let turn = self.down(id)?.turn(now);
        self.counters.turns_waited += u64::from(turn.is_some());
        turn
    }

    /// The limit of what is sent to a flow's client.
    fn down(&mut self, id: FlowId) -> Option<&mut Line> {
        if self.limited == 0 {
            return None;
        }
        let client = self.flows.get(id)?.client;
        self.peers.get_mut(client as usize)?.lines.as_mut()?.get_mut(Direction::Down)
    }

    /// Takes note of a packet that waited for its turn.
    pub(super) fn charge(&mut self, id: FlowId, bytes: usize, now: Instant) {
        if self.limited == 0 {
            return;
        }
        if let Some((line, flow)) = self.measured(id, Direction::Down, now) {
            line.charge(flow.share(Direction::Down), u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    /// A flow and its client's limit, if there is one, with what the client's flows want measured when it is time to.
    fn measured(&mut self, id: FlowId, direction: Direction, now: Instant) -> Option<(&mut Line, &mut Flow)> {
        let client = self.flows.get(id)?.client;
        let line = self.peers.get_mut(client as usize)?.lines.as_mut()?.get_mut(direction)?;
        if line.is_due(now) {
            let elapsed = line.begin(now);
            self.flows.each_of_client(client, |flow| flow.share(direction).measure(elapsed));
            let (flows, lane) = (&self.flows, direction);
            line.share_out(|| flows.of_client(client).map(move |flow: &Flow| flow.wish(lane)));
        }
        Some((line, self.flows.get_mut(id)?))
    }

    /// Reports the limits that have bitten for a while.
    pub(super) fn report_limited(&mut self, now: Instant) {
        if self.limited == 0 {
            return;
        }
        let due: Vec<u32> = self
            .peers
            .iter_mut()
            .filter_map(|(at, peer)| {
                let lines = peer.lines.as_mut()?;
                let due = DIRECTIONS.iter().any(|direction| {
                    let held = lines.get_mut(*direction).and_then(|line| line.held().copied());
                    held.is_some_and(|held| now.saturating_duration_since(held.first) >= WINDOW)
                });
                due.then_some(at as u32)
            })
            .collect();
        due.into_iter().for_each(|at| self.report_limits_of(at, now));
    }

    /// Reports what the limits of one client held up since the last report.
    pub(super) fn report_limits_of(&mut self, at: u32, now: Instant) {
        for direction in DIRECTIONS {
            let Some(peer) = self.peers.get_mut(at as usize) else { return };
            let Some(line) = peer.lines.as_mut().and_then(|lines| lines.get_mut(direction)) else { continue };
            let Some(held) = line.take_held() else { continue };
            let rule = line.rule().clone();
            let Some(session) = peer.session.as_ref().map(|session| session.info.clone()) else { continue };
            let (first, last) = (self.unix_of_past(held.first, now), self.unix_of_past(held.last, now));
            let limited = LimitedSession { session, direction, rule, count: held.count, first, last };
            self.events.push_back(GatewayEvent::SessionLimited(limited));
        }
    }
}
