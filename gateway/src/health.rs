//! Whether the gateway is alive, and whether it can do its job.
//!
//! Two different questions, two probes. *Alive* (`/healthz`) is about the process: does the event loop
//! still turn? If not, restarting helps. *Ready* (`/readyz`) is about the work: every [`Condition`] must
//! hold, and each says in a sentence what is wrong when it does not. Restarting a gateway that is alive
//! but not ready only cuts the sessions that it still carries.
//!
//! A condition that nobody has reported yet counts as not holding: a gateway is ready only after it has
//! proved so.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::run::OwnDatagram;

/// How old the last heartbeat may be before the event loop counts as stuck. The loop turns at least
/// every 250 ms (WireGuard's timers); twenty missed turns is no hiccup.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);

/// What must hold for the gateway to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConditionCode {
    /// Every worker's event loop has turned within [`HEARTBEAT_LIMIT`].
    EventLoop,
    /// Every configured UDP address is bound, and what the gateway sends to it arrives.
    UdpBound,
    /// The last poll of the registry succeeded.
    RegistryReadable,
    /// The audit log takes records, so that new flows may be opened.
    AuditAccepting,
    /// Always holds: what a receiver of the audit log does not take is safe in the store. The text says whether one
    /// does not take it.
    AuditShipping,
    /// The configuration file as it is on disk is the one in force.
    ConfigurationInForce,
}

impl ConditionCode {
    /// The name that it has in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventLoop => "event-loop",
            Self::UdpBound => "udp-bound",
            Self::RegistryReadable => "registry-readable",
            Self::AuditAccepting => "audit-accepting",
            Self::AuditShipping => "audit-shipping",
            Self::ConfigurationInForce => "configuration-in-force",
        }
    }

    /// The conditions that the run loop reports; [`ConditionCode::EventLoop`] is measured instead.
    const REPORTED: [Self; 5] = [
        Self::UdpBound,
        Self::RegistryReadable,
        Self::AuditAccepting,
        Self::AuditShipping,
        Self::ConfigurationInForce,
    ];
}

/// One condition as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub code: ConditionCode,
    pub ok: bool,
    /// One sentence for people.
    pub text: String,
}

/// The gateway's health, written by the run loop and read by the probes. Clones share one state.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Milliseconds after `started` of each worker's last heartbeat.
    heartbeats_ms: Vec<AtomicU64>,
    /// Of each listen address: how to tell the gateway's own datagrams, and how many came.
    ports: OnceLock<Vec<(OwnDatagram, AtomicU64)>>,
    reported: Mutex<BTreeMap<ConditionCode, (bool, String)>>,
}

impl Health {
    pub fn new(now: Instant, workers: u8) -> Self {
        Self(Arc::new(Inner {
            started: now,
            heartbeats_ms: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            ports: OnceLock::new(),
            reported: Mutex::new(BTreeMap::new()),
        }))
    }

    /// To be called at every turn of a worker's event loop.
    pub fn beat(&self, worker: u8, now: Instant) {
        if let Some(heartbeat) = self.0.heartbeats_ms.get(usize::from(worker)) {
            heartbeat.store(self.milliseconds(now), Ordering::Relaxed);
        }
    }

    /// Says how to tell what the gateway sends to its own ports. Once per life.
    pub fn watch_ports(&self, own: Vec<OwnDatagram>) {
        self.0.ports.get_or_init(|| own.into_iter().map(|own| (own, AtomicU64::new(0))).collect());
    }

    /// Whether a datagram is one of the gateway to itself: then the port is not lost, and there is no more to it.
    pub fn heard(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let own = self.0.ports.get().and_then(|ports| ports.iter().find(|(own, _)| own.is(from, datagram)));
        if let Some((_, heard)) = own {
            heard.fetch_add(1, Ordering::Relaxed);
        }
        own.is_some()
    }

    /// How often one of them came at the listen address in place `at`.
    pub fn times_heard(&self, at: usize) -> u64 {
        let heard = self.0.ports.get().and_then(|ports| Some(&ports.get(at)?.1));
        heard.map_or(0, |heard| heard.load(Ordering::Relaxed))
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.0.started).as_millis();
        u64::try_from(age).unwrap_or(u64::MAX)
    }

    /// Reports a condition; the newest report counts.
    pub fn report(&self, code: ConditionCode, ok: bool, text: impl Into<String>) {
        self.reported().insert(code, (ok, text.into()));
    }

    /// Whether every event loop has turned within [`HEARTBEAT_LIMIT`].
    pub fn event_loop(&self, now: Instant) -> Condition {
        let oldest = self.0.heartbeats_ms.iter().map(|beat| beat.load(Ordering::Relaxed)).min();
        let beat = self.0.started + Duration::from_millis(oldest.unwrap_or_default());
        let age = now.saturating_duration_since(beat);
        let ok = age < HEARTBEAT_LIMIT;
        let text = if ok {
            "the event loop turns".to_owned()
        } else {
            format!("the event loop has not turned for {} s", age.as_secs())
        };
        Condition { code: ConditionCode::EventLoop, ok, text }
    }

    /// Every condition, always in the same order.
    pub fn conditions(&self, now: Instant) -> Vec<Condition> {
        let reported = self.reported();
        let mut conditions = vec![self.event_loop(now)];
        conditions.extend(ConditionCode::REPORTED.map(|code| match reported.get(&code) {
            Some((ok, text)) => Condition { code, ok: *ok, text: text.clone() },
            None => {
                Condition { code, ok: false, text: "not reported yet: the gateway is starting".to_owned() }
            }
        }));
        conditions
    }

    fn reported(&self) -> MutexGuard<'_, BTreeMap<ConditionCode, (bool, String)>> {
        // A report is replaced as a whole, so a panic elsewhere cannot have left half of one.
        self.0.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_condition_holds() {
        let now = Instant::now();
        for broken in 0..1u32 << ConditionCode::REPORTED.len() {
            let health = Health::new(now, 2);
            for (bit, code) in ConditionCode::REPORTED.into_iter().enumerate() {
                health.report(code, broken & (1 << bit) == 0, "said so");
            }
            let ready = health.conditions(now).iter().all(|condition| condition.ok);
            assert_eq!(ready, broken == 0, "broken conditions {broken:04b}");
        }
    }

    #[test]
    fn what_nobody_reported_does_not_hold() {
        let now = Instant::now();
        let health = Health::new(now, 2);
        for code in ConditionCode::REPORTED {
            let condition = health.conditions(now).into_iter().find(|c| c.code == code).unwrap();
            assert!(!condition.ok);
            health.report(code, true, "fine");
        }
        assert!(health.conditions(now).iter().all(|condition| condition.ok));
    }

    #[test]
    fn a_stuck_event_loop_is_neither_alive_nor_ready() {
        let start = Instant::now();
        let health = Health::new(start, 2);
        for code in ConditionCode::REPORTED {
            health.report(code, true, "fine");
        }
        let late = start + HEARTBEAT_LIMIT;
        assert!(!health.event_loop(late).ok);
        assert!(health.conditions(late).iter().any(|condition| !condition.ok));
        health.beat(0, late);
        assert!(!health.event_loop(late).ok, "one of two is still stuck");
        health.beat(1, late);
        assert!(health.event_loop(late).ok);
        assert!(health.conditions(late).iter().all(|condition| condition.ok));
    }

    #[test]
    fn the_newest_report_counts() {
        let now = Instant::now();
        let health = Health::new(now, 2);
        health.report(ConditionCode::AuditAccepting, true, "accepting");
        health.report(ConditionCode::AuditAccepting, false, "the disk is full");
        let audit =
            health.conditions(now).into_iter().find(|c| c.code == ConditionCode::AuditAccepting).unwrap();
        assert_eq!((audit.ok, audit.text.as_str()), (false, "the disk is full"));
    }
}
