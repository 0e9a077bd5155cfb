//! Folds refusals, so that a port scan is one record with its ports and not 65,535 records.
//!
//! A fold is open for at most [`WINDOW`]. Up to [`SINGLE_PORTS`] ports of one destination come out as a record each,
//! more as one record with ranges. When there are [`MAX_FOLDS`] folds, all come out early: nothing is lost.

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
mod tests {
    use super::*;

    fn session() -> SessionInfo {
        let client = Arc::new(ClientInfo {
            id: Uuid::nil(),
            name: "alice".into(),
            operator: "Alice".into(),
            role: "smart-client".into(),
            addresses: vec![],
        });
        SessionInfo { id: Uuid::nil(), client, key: [1; 32].into(), endpoint: "192.0.2.1:1".parse().unwrap() }
    }

    fn refusal() -> Refusal {
        Refusal {
            reason: DenyReason::NotInRole,
            server: Some("mgmt".into()),
            rule: "none".into(),
            nearest: None,
        }
    }

    fn collect(refusals: &mut Refusals, now: Instant) -> Vec<Denial> {
        let mut events: Vec<GatewayEvent> = Vec::new();
        refusals.collect(now, false, &mut events);
        let denial = |event| match event {
            GatewayEvent::FlowDenied(denial) => denial,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(denial).collect()
    }

    #[test]
    fn a_scan_of_every_port_is_one_record_that_names_every_port() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let destination = "192.168.10.10".parse().unwrap();
        for port in (1..=u16::MAX).filter(|port| *port != 443 && *port != 80) {
            refusals.deny(&session(), (destination, Protocol::Tcp, port), refusal(), (now, 5));
        }
        assert!(collect(&mut refusals, now + WINDOW / 2).is_empty());
        let denials = collect(&mut refusals, now + WINDOW);
        assert_eq!(denials.len(), 1);
        assert_eq!(denials[0].ports, [1..=79, 81..=442, 444..=65535]);
        assert_eq!(denials[0].count, 65533);
    }

    #[test]
    fn a_few_ports_are_a_record_each_with_their_own_count() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let destination = "192.168.10.10".parse().unwrap();
        for port in [22, 22, 22, 3389] {
            refusals.deny(&session(), (destination, Protocol::Tcp, port), refusal(), (now, 5));
        }
        let denials = collect(&mut refusals, now + WINDOW);
        let seen: Vec<_> = denials.iter().map(|denial| (denial.ports.clone(), denial.count)).collect();
        assert_eq!(seen, [(vec![22..=22], 3), (vec![3389..=3389], 1)]);
    }

    #[test]
    fn too_many_folds_come_out_early_and_none_is_lost() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let mut seen = 0;
        for n in 0..10_000u32 {
            let destination = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            refusals.deny(&session(), (destination, Protocol::Udp, 53), refusal(), (now, 5));
            seen += collect(&mut refusals, now).len();
            assert!(refusals.denials.len() <= MAX_FOLDS);
        }
        assert_eq!(seen + collect(&mut refusals, now + WINDOW).len(), 10_000);
    }
}
