//! Folds refusals, so that a port scan is one record with its ports and not 65,535 records.
//!
//! A fold is open for at most [`WINDOW`]. Up to sixteen ports of one destination come out as a record each,
//! more as one record with ranges. When there are 4,096 folds, all come out early: nothing is lost.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;
use x25519_dalek::PublicKey;

use crate::event::{
    ClientInfo, Denial, GatewayEvent, RejectedHandshakes, Rejection, SessionInfo, UnixMillis,
};
use crate::policy::{DenyReason, Protocol, Refusal};

/// How long refusals of one kind are folded.
pub const WINDOW: Duration = Duration::from_secs(10);
const SINGLE_PORTS: usize = 16;
const MAX_FOLDS: usize = 4096;
/// Pairs of role and service that are counted by name. Both come from administrators, so a site has fewer; whoever has
/// more finds the rest under [`OTHER`].
const MAX_NAMED: usize = 256;
const OTHER: &str = "other";

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone)]
struct DenialKey {
    session: Uuid,
    destination: IpAddr,
    protocol: Protocol,
    reason: DenyReason,
    rule: Arc<str>,
}

#[derive(Debug)]
struct DenialFold {
    session: SessionInfo,
    refusal: Refusal,
    ports: BTreeMap<u16, u64>,
    first: UnixMillis,
    last: UnixMillis,
    since: Instant,
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Clone)]
struct RejectionKey {
    source: IpAddr,
    reason: &'static str,
    key: Option<[u8; 32]>,
}

#[derive(Debug)]
struct RejectionFold {
    folded: RejectedHandshakes,
    since: Instant,
}

/// Open folds.
#[derive(Debug, Default)]
pub struct Refusals {
    denials: BTreeMap<DenialKey, DenialFold>,
    rejections: BTreeMap<RejectionKey, RejectionFold>,
    due: Option<Instant>,
    totals: RefusalTotals,
}

/// Refusals since the start, by reason.
#[derive(Debug, Clone, Default)]
pub struct RefusalTotals {
    pub denials: BTreeMap<&'static str, u64>,
    pub rejections: BTreeMap<&'static str, u64>,
    /// Denials by the client's role and the service that was asked for.
    pub by_role: BTreeMap<(Arc<str>, Arc<str>), u64>,
}

impl RefusalTotals {
    fn count_of_role(&mut self, role: &Arc<str>, service: Arc<str>) {
        let mut name = (role.clone(), service);
        if self.by_role.len() >= MAX_NAMED && !self.by_role.contains_key(&name) {
            name = (OTHER.into(), OTHER.into());
        }
        *self.by_role.entry(name).or_default() += 1;
    }

    /// Adds another worker's numbers.
    pub fn add(&mut self, other: &RefusalTotals) {
        for (own, other) in [(&mut self.denials, &other.denials), (&mut self.rejections, &other.rejections)] {
            other.iter().for_each(|(reason, count)| *own.entry(reason).or_default() += count);
        }
        for (name, count) in &other.by_role {
            *self.by_role.entry(name.clone()).or_default() += count;
        }
    }
}

impl Refusals {
    /// Adds a refused attempt to reach `port` of `destination`.
    pub fn deny(
        &mut self,
        session: &SessionInfo,
        (destination, protocol, port): (IpAddr, Protocol, u16),
        refusal: Refusal,
        (now, unix): (Instant, UnixMillis),
    ) {
        *self.totals.denials.entry(refusal.reason.as_str()).or_default() += 1;
        let key = DenialKey {
            session: session.id,
            destination,
            protocol,
            reason: refusal.reason,
            rule: refusal.rule.clone(),
        };
        let fold = self.denials.entry(key).or_insert_with(|| DenialFold {
            session: session.clone(),
            refusal,
            ports: BTreeMap::new(),
            first: unix,
            last: unix,
            since: now,
        });
        fold.last = unix;
        *fold.ports.entry(port).or_default() += 1;
        self.arrange(fold_end(now));
    }

    /// Counts a denial by whose role it was and what was asked for; `none` if that is no service.
    pub fn count(&mut self, role: &Arc<str>, service: Option<&Arc<str>>) {
        self.totals.count_of_role(role, service.cloned().unwrap_or_else(|| "none".into()));
    }

    /// Adds a handshake that was not answered.
    pub fn reject(
        &mut self,
        source: SocketAddr,
        reason: Rejection,
        key: Option<PublicKey>,
        client: Option<&Arc<ClientInfo>>,
        (now, unix): (Instant, UnixMillis),
    ) {
        *self.totals.rejections.entry(reason.as_str()).or_default() += 1;
        let index =
            RejectionKey { source: source.ip(), reason: reason.as_str(), key: key.map(|key| key.to_bytes()) };
        let fold = self.rejections.entry(index).or_insert_with(|| RejectionFold {
            folded: RejectedHandshakes {
                source,
                reason,
                client: client.cloned(),
                key,
                count: 0,
                first: unix,
                last: unix,
            },
            since: now,
        });
        fold.folded.source = source;
        fold.folded.last = unix;
        fold.folded.count += 1;
        self.arrange(fold_end(now));
    }

    pub fn totals(&self) -> &RefusalTotals {
        &self.totals
    }

    /// When [`Refusals::collect`] has work next.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes out the folds whose window is over, or all.
    pub fn collect(&mut self, now: Instant, all: bool, out: &mut impl Extend<GatewayEvent>) {
        if !all && self.due.is_none_or(|due| due > now) {
            return;
        }
        let over = |since: Instant| all || now.saturating_duration_since(since) >= WINDOW;
        for (key, fold) in self.denials.extract_if(.., |_, fold| over(fold.since)) {
            out.extend(unfold(&key, fold).map(GatewayEvent::FlowDenied));
        }
        let rejections = self.rejections.extract_if(.., |_, fold| over(fold.since));
        out.extend(rejections.map(|(_, fold)| GatewayEvent::HandshakeRejected(fold.folded)));
        let denials = self.denials.values().map(|fold| fold.since);
        let rejections = self.rejections.values().map(|fold| fold.since);
        self.due = denials.chain(rejections).min().map(fold_end);
    }

    fn arrange(&mut self, end: Instant) {
        let full = self.denials.len() + self.rejections.len() >= MAX_FOLDS;
        let end = if full { end - WINDOW } else { end };
        // When there are too many folds the first is due at once, and all others with it.
        if full {
            self.denials.values_mut().for_each(|fold| fold.since = end - WINDOW);
            self.rejections.values_mut().for_each(|fold| fold.since = end - WINDOW);
        }
        self.due = Some(self.due.map_or(end, |due| due.min(end)));
    }
}

fn fold_end(since: Instant) -> Instant {
    since + WINDOW
}

fn unfold(key: &DenialKey, fold: DenialFold) -> impl Iterator<Item = Denial> {
    let single = fold.ports.len() <= SINGLE_PORTS;
    let groups: Vec<(Vec<RangeInclusive<u16>>, u64)> = if single {
        fold.ports.iter().map(|(port, count)| (vec![*port..=*port], *count)).collect()
    } else {
        vec![(ranges(fold.ports.keys().copied()), fold.ports.values().sum())]
    };
    let (destination, protocol) = (key.destination, key.protocol);
    groups.into_iter().map(move |(ports, count)| Denial {
        session: fold.session.clone(),
        destination,
        protocol,
        ports,
        reason: fold.refusal.reason,
        server: fold.refusal.server.clone(),
        rule: fold.refusal.rule.clone(),
        nearest: fold.refusal.nearest.clone(),
        count,
        first: fold.first,
        last: fold.last,
    })
}

/// Joins neighbours of an ascending sequence.
fn ranges(ports: impl Iterator<Item = u16>) -> Vec<RangeInclusive<u16>> {
    let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some(range) if range.end().checked_add(1) == Some(port) => *range = *range.start()..=port,
            _ => ranges.push(port..=port),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
