//! Adds rows up, one at a time.

use super::{Denials, Denied, Presence, Report, place, word};
use crate::{
    index::server_key,
    query::{DenialRow, FlowRow, SessionRow},
    subject::Tls,
    time::UtcTime,
};

/// More kinds of refusals than anybody reads; a client that tries everything must not fill the memory.
const KINDS_OF_DENIALS: usize = 10_000;

impl Report {
    pub(super) fn add_session(&mut self, row: SessionRow, now: UtcTime) {
        let (from, until) = self.within(row.opened, row.ended.unwrap_or(now));
        let lasted = until.ms_since(from);
        let person = self.people.entry(row.operator.clone()).or_default();
        person.clients.insert(row.client.clone());
        person.roles.insert(row.role);
        person.sessions += 1;
        person.connected_ms += lasted;
        let presence = self.clients.entry(row.client).or_insert_with(|| Presence {
            operator: row.operator,
            connected_ms: 0,
            spans: Vec::new(),
        });
        presence.connected_ms += lasted;
        presence.spans.push((from, until));
    }

    pub(super) fn add_flow(&mut self, row: FlowRow, now: UtcTime) {
        let bytes = self.traffic.spread(row.opened, row.ended.unwrap_or(now), row.traffic);
        self.people.entry(row.operator.clone()).or_default().bytes += bytes;
        let key = (server_key(&row.destination), row.destination.service);
        let reached = self.reached.entry(key).or_default();
        reached.flows += 1;
        reached.operators.insert(row.operator);
        reached.bytes += bytes;
        match row.tls {
            Some(Tls::Tls) => reached.encrypted += 1,
            Some(Tls::Plain) => reached.clear_text += 1,
            Some(Tls::None) | None => {}
        }
    }

    pub(super) fn add_denial(&mut self, row: DenialRow) {
        let denied = Denied {
            client: row.client,
            operator: row.operator,
            destination: place(row.protocol, &row.destination),
            reason: word(&row.reason),
        };
        if self.denials.len() >= KINDS_OF_DENIALS && !self.denials.contains_key(&denied) {
            self.other_denials += row.count;
            return;
        }
        let (first, last) = (row.first, row.last);
        let denials = self.denials.entry(denied);
        let denials = denials.or_insert(Denials { attempts: 0, first, last, rule: row.rule });
        denials.attempts += row.count;
        denials.first = denials.first.min(first);
        denials.last = denials.last.max(last);
    }

    fn within(&self, from: UtcTime, until: UtcTime) -> (UtcTime, UtcTime) {
        let from = from.max(self.scope.since).min(self.scope.until);
        (from, until.min(self.scope.until).max(from))
    }
}
