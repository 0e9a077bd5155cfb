//! What the view knows: two statuses and what the person chose. Pure: time is passed in.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::admin::status::{SessionStatus, Status};

/// Refusals that are kept to be shown, newest first.
const MOST_NEWS: usize = 200;

/// By what the clients are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Rate,
    Flows,
    Name,
    Since,
}

impl Order {
    pub fn next(self) -> Self {
        match self {
            Order::Rate => Order::Flows,
            Order::Flows => Order::Name,
            Order::Name => Order::Since,
            Order::Since => Order::Rate,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Order::Rate => "rate",
            Order::Flows => "flows",
            Order::Name => "name",
            Order::Since => "since",
        }
    }
}

/// One client that is there, and what it moves.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub session: &'a SessionStatus,
    /// Bits per second from the client and to it.
    pub up: u64,
    pub down: u64,
}

/// Refusals of one reason since the status before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// When the status came in which they are.
    pub at: jiff::Timestamp,
    pub what: String,
    pub count: u64,
}

#[derive(Debug)]
pub struct Model {
    pub order: Order,
    /// Part of a name, an operator, a role or an address; empty = everybody.
    pub filter: String,
    pub news: Vec<News>,
    now: Option<(Instant, Status)>,
    /// Bits per second up and down, by session.
    rates: BTreeMap<String, (u64, u64)>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            order: Order::Rate,
            filter: String::new(),
            news: Vec::new(),
            now: None,
            rates: BTreeMap::new(),
        }
    }
}

impl Model {
    pub fn status(&self) -> Option<&Status> {
        self.now.as_ref().map(|(_, status)| status)
    }

    /// Takes in the next status.
    pub fn note(&mut self, status: Status, at: Instant, clock: jiff::Timestamp) {
        // Another process counts anew.
        let before = self.now.take().filter(|(_, before)| before.started == status.started);
        self.rates = before.as_ref().map(|(then, before)| {
            let seconds = at.saturating_duration_since(*then).as_secs_f64();
            status.sessions.iter().map(|session| (session.session.clone(), rate(before, session, seconds))).collect()
        }).unwrap_or_default();
        if let Some((_, before)) = &before {
            let kinds = [
                ("flow refused", &before.totals.flows_refused, &status.totals.flows_refused),
                ("handshake rejected", &before.totals.handshakes_rejected, &status.totals.handshakes_rejected),
            ];
            for (kind, old, new) in kinds {
                for (reason, count) in new {
                    let count = count.saturating_sub(old.get(reason).copied().unwrap_or_default());
                    if count > 0 {
                        self.news.insert(0, News { at: clock, what: format!("{kind}: {reason}"), count });
                    }
                }
            }
            self.news.truncate(MOST_NEWS);
        }
        self.now = Some((at, status));
    }

    /// Who is to be shown, in order.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let wanted = self.filter.to_lowercase();
        let sessions = self.status().map(|status| status.sessions.as_slice()).unwrap_or_default();
        let mut rows: Vec<Row<'_>> = sessions
            .iter()
            .filter(|session| matches(session, &wanted))
            .map(|session| {
                let (up, down) = self.rates.get(&session.session).copied().unwrap_or_default();
                Row { session, up, down }
            })
            .collect();
        // Names last, so that equals keep their places from one status to the next.
        rows.sort_by(|a, b| {
            let by_name = || a.session.client.cmp(&b.session.client);
            match self.order {
                Order::Rate => (b.up + b.down).cmp(&(a.up + a.down)),
                Order::Flows => b.session.flows.cmp(&a.session.flows),
                Order::Name => by_name(),
                Order::Since => b.session.since.cmp(&a.session.since),
            }
            .then_with(by_name)
        });
        rows
    }
}

fn matches(session: &SessionStatus, wanted: &str) -> bool {
    let addresses = session.tunnel_addresses.iter().map(ToString::to_string);
    let texts = [session.client.clone(), session.operator.clone(), session.role.clone()];
    let from = session.endpoint.map(|endpoint| endpoint.to_string());
    texts.into_iter().chain(addresses).chain(from).any(|text| text.to_lowercase().contains(wanted))
}

fn rate(before: &Status, session: &SessionStatus, seconds: f64) -> (u64, u64) {
    let old = before.sessions.iter().find(|old| old.session == session.session);
    let old = old.map(|old| old.traffic).unwrap_or_default();
    let bits = |new: u64, old: u64| {
        if seconds > 0.0 { (new.saturating_sub(old) as f64 * 8.0 / seconds) as u64 } else { 0 }
    };
    (bits(session.traffic.rx_bytes, old.rx_bytes), bits(session.traffic.tx_bytes, old.tx_bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::status::example;

    fn clock() -> jiff::Timestamp {
        "2026-11-24T12:14:00Z".parse().unwrap()
    }

    /// Anna of the example, and Bo, who moves nothing.
    fn two() -> Status {
        let mut status = example();
        let mut bo = status.sessions[0].clone();
        bo.session = "01890000-0000-7000-8000-000000000001".to_owned();
        (bo.client, bo.operator, bo.flows) = ("bo-laptop".to_owned(), "Bo Dahl".to_owned(), 9);
        status.sessions.push(bo);
        status
    }

    fn names(model: &Model) -> Vec<&str> {
        model.rows().iter().map(|row| row.session.client.as_str()).collect()
    }

    #[test]
    fn a_rate_is_what_moved_between_two_statuses() {
        let (mut model, start) = (Model::default(), Instant::now());
        model.note(two(), start, clock());
        assert!(model.rows().iter().all(|row| (row.up, row.down) == (0, 0)), "nothing to compare with yet");
        let mut next = two();
        next.sessions[1].traffic.rx_bytes += 1_000;
        next.sessions[1].traffic.tx_bytes += 500_000;
        model.note(next, start + Duration::from_secs(2), clock());
        let rows = model.rows();
        assert_eq!((rows[0].session.client.as_str(), rows[0].up, rows[0].down), ("bo-laptop", 4_000, 2_000_000));
    }

    #[test]
    fn a_restarted_gateway_counts_anew_and_makes_no_news() {
        let (mut model, start) = (Model::default(), Instant::now());
        model.note(two(), start, clock());
        let mut next = two();
        next.started = "2026-01-02T05:00:00.000Z".to_owned();
        next.sessions[0].traffic.tx_bytes += 1_000_000;
        next.totals.flows_refused.insert("not-in-role".to_owned(), 50);
        model.note(next, start + Duration::from_secs(1), clock());
        assert!(model.news.is_empty() && model.rows().iter().all(|row| row.down == 0));
    }

    #[test]
    fn each_order_puts_first_what_it_is_about() {
        let mut model = Model::default();
        model.note(two(), Instant::now(), clock());
        let mut orders = Vec::new();
        for _ in 0..4 {
            model.order = model.order.next();
            orders.push((model.order.words(), names(&model)[0]));
        }
        let expected =
            [("flows", "bo-laptop"), ("name", "anna-laptop"), ("since", "anna-laptop"), ("rate", "anna-laptop")];
        assert_eq!(orders, expected);
    }

    #[test]
    fn a_filter_looks_at_names_people_roles_and_addresses() {
        let mut model = Model::default();
        model.note(two(), Instant::now(), clock());
        for (filter, found) in [("", 2), ("BO-", 1), ("dahl", 1), ("smart", 2), ("203.0.113.7", 2), ("nobody", 0)] {
            model.filter = filter.to_owned();
            assert_eq!(model.rows().len(), found, "{filter}");
        }
    }

    #[test]
    fn refusals_are_news_once_with_their_number() {
        let (mut model, start) = (Model::default(), Instant::now());
        model.note(two(), start, clock());
        let mut next = two();
        next.totals.flows_refused.insert("not-in-role".to_owned(), 5);
        next.totals.handshakes_rejected.insert("unknown-key".to_owned(), 1);
        for second in 1..=2 {
            model.note(next.clone(), start + Duration::from_secs(second), clock());
        }
        let told: Vec<(&str, u64)> = model.news.iter().map(|news| (news.what.as_str(), news.count)).collect();
        assert_eq!(told, [("handshake rejected: unknown-key", 1), ("flow refused: not-in-role", 2)]);
    }
}
