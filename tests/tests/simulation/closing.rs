//! Beginnings and ends: each once, each for a reason that the model knows too.

use vmsgate_tunnel::counters::Drop as Dropped;
use vmsgate_tunnel::event::{GatewayEvent, SessionEnd};
use vmsgate_tunnel::flow::CloseReason;
use vmsgate_tunnel::peer::Access;
use vmsgate_tunnel::policy::Protocol;

use std::time::Duration;

use crate::model::allows;
use crate::recording::GRACE_MS;
use crate::world::{Cause, IDLE, LiveFlow, PER_CLIENT, TOTAL, World};

const SILENCE: Duration = Duration::from_secs(180);
/// Last use is kept to within this.
const TOUCH: Duration = Duration::from_secs(1);

impl World {
    pub(crate) fn check_beginning(&mut self, event: &GatewayEvent) {
        match event {
            GatewayEvent::SessionOpened { session, .. } => {
                let at = self.person(session.client.id);
                assert!(
                    self.people[at].may_connect(self.unix()),
                    "client {at} is shut out, and has a session"
                );
                let before = self.sessions.insert(session.client.id, session.id);
                assert_eq!(before, None, "client {at} has a session");
            }
            GatewayEvent::FlowOpened { flow, .. } => {
                assert_eq!(self.sessions.get(&flow.session.client.id), Some(&flow.session.id), "no session");
                assert!(flow.allowed.control || !self.store.failing, "a flow whose record cannot be kept");
                let person = self.person(flow.session.client.id);
                let live = LiveFlow { person, tuple: flow.tuple, last: self.now };
                assert!(self.flows.insert(flow.id, live).is_none(), "a flow begins twice");
            }
            _ => {}
        }
    }

    pub(crate) fn ends(&mut self, events: &[GatewayEvent]) {
        let ended = |id| {
            events
                .iter()
                .any(|event| matches!(event, GatewayEvent::SessionClosed { session, .. } if session.id == id))
        };
        for event in events {
            match event {
                GatewayEvent::FlowClosed { flow, reason, .. } => {
                    self.waiting.remove(&flow.id);
                    let of_client = |world: &World, person| {
                        world.flows.values().filter(|live| live.person == person).count()
                    };
                    let here = self.flows.get(&flow.id).expect("a flow ends that is not open").person;
                    let full = of_client(self, here) > PER_CLIENT || self.flows.len() > TOTAL;
                    let live = self.flows.remove(&flow.id).unwrap();
                    let idle = self.now.duration_since(live.last) + TOUCH;
                    let right = match reason {
                        CloseReason::Finished | CloseReason::Reset => live.tuple.protocol == Protocol::Tcp,
                        CloseReason::Idle => idle >= IDLE,
                        CloseReason::Evicted => full && idle >= IDLE,
                        CloseReason::Policy => {
                            !allows(self.configuration, self.people[live.person].role, &live.tuple)
                        }
                        CloseReason::ClientBlocked => ended(flow.session.id),
                        CloseReason::AuditUnavailable => self.cause == Cause::Cut,
                        CloseReason::Shutdown => self.cause == Cause::Shutdown,
                        CloseReason::ServerRefused
                        | CloseReason::ServerUnreachable
                        | CloseReason::ClientUnreachable
                        | CloseReason::TlsRequired => false,
                    };
                    assert!(right, "a flow ends as {reason:?} after {idle:?} in {:?}", self.cause);
                }
                GatewayEvent::SessionClosed { session, reason, .. } => {
                    let at = self.person(session.client.id);
                    let open = self.sessions.remove(&session.client.id);
                    assert_eq!(open, Some(session.id), "a session ends that is not open");
                    assert!(self.flows.values().all(|live| live.person != at), "a flow outlives its session");
                    let access = self.people[at].access;
                    let until = match access {
                        Access::Active { until } => until,
                        Access::Suspended | Access::Revoked => None,
                    };
                    let right = match reason {
                        SessionEnd::Expired => self.quiet(at).is_none_or(|quiet| quiet + TOUCH >= SILENCE),
                        SessionEnd::Revoked => access == Access::Revoked,
                        SessionEnd::Suspended => access == Access::Suspended,
                        SessionEnd::ValidityEnded => until.is_some_and(|until| until <= self.unix()),
                        SessionEnd::Removed => self.cause == Cause::Person(at),
                        SessionEnd::Shutdown => self.cause == Cause::Shutdown,
                    };
                    assert!(right, "a session ends as {reason:?} with {access:?} in {:?}", self.cause);
                }
                _ => {}
            }
        }
    }

    /// What must be true between any two actions.
    pub(crate) fn check(&mut self) {
        let unix = self.unix().saturating_sub(GRACE_MS);
        let open = self.gateway.sessions().map(|session| (session.info.client.id, session.info.id));
        assert_eq!(open.collect::<std::collections::BTreeMap<_, _>>(), self.sessions, "sessions on record");
        for id in self.sessions.keys() {
            let at = self.people.iter().position(|person| person.id == *id).unwrap();
            assert!(self.people[at].may_connect(unix), "client {at} is shut out, and its session lives");
        }
        assert_eq!(self.gateway.flows().len(), self.flows.len(), "flows on record");
        for flow in self.gateway.flows().iter() {
            let live = self.flows.get(&flow.id).expect("a flow without a record");
            assert_eq!(live.tuple, flow.tuple);
            let role = self.people[live.person].role;
            assert!(allows(self.believed, role, &live.tuple), "a live flow that policy refuses");
        }
        let registered = self.people.iter().filter(|person| person.exists).count();
        assert_eq!(self.gateway.client_count(), registered);
    }

    /// The network heals, and who may connect is served again; then the gateway stops, and its log is read.
    pub(crate) fn end(mut self) {
        self.network.heal();
        self.set_failing(false);
        // What is idle makes room.
        self.pass(IDLE + TOUCH);
        for at in 0..self.people.len() {
            let (before, may) = (self.shims[at].answers, self.people[at].may_connect(self.unix()));
            for second in 0..40 {
                // boringtun would begin again by itself, but by the clock of the machine, which stands still here.
                if second % 5 == 4 {
                    self.reconnects(at);
                }
                self.ask(at);
                self.pass(Duration::from_secs(1));
                self.check();
                if self.shims[at].answers > before {
                    break;
                }
            }
            let (served, shut_out) =
                (self.shims[at].answers > before, !self.people[at].may_connect(self.unix()));
            assert!(served || shut_out, "client {at} is not served any more; last refused: {}", self.refused);
            assert!(may || !served, "client {at} is shut out, and was served");
        }
        self.shut_down();
        let denied = self.denied + self.gateway.counters().dropped(Dropped::Denied);
        self.store.verify(denied);
    }

    fn person(&self, id: uuid::Uuid) -> usize {
        self.people.iter().position(|person| person.id == id).unwrap()
    }
}
