//! What the view knows: two statuses, what the log told, and what the person chose. Pure: time is passed in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use clap::ValueEnum;
use vmsgate_audit::query::{DenialRow, FlowRow};

use crate::admin::status::{SessionStatus, Status, Traffic};

/// By what the clients are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// What they move, both ways together
    Rate,
    /// How many open flows they have
    Flows,
    /// By name
    Name,
    /// Who came last, first
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

/// What the keys are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Clients,
    /// Letters go into the filter.
    Filter,
    /// One client is looked at.
    Client(String),
    /// Letters go into the reason for which a client is cut off; then the view is as before.
    Reason {
        client: String,
        reason: String,
        back: Box<Mode>,
    },
}

/// Bits per second, from the clients and to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    pub up: u64,
    pub down: u64,
}

/// One client that is there.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub session: &'a SessionStatus,
    pub rate: Rate,
}

/// What the audit log tells.
#[derive(Debug, Default)]
pub struct Told {
    /// The newest first; of one client while it is looked at.
    pub denials: Vec<DenialRow>,
    /// Open ones of the client that is looked at.
    pub flows: Vec<FlowRow>,
}

#[derive(Debug)]
pub struct Model {
    pub order: Order,
    pub filter: String,
    pub mode: Mode,
    /// What was said last.
    pub message: Option<String>,
    pub told: Told,
    pub(super) selected: Option<String>,
    lost: Option<String>,
    now: Option<(Instant, Status)>,
    rates: HashMap<String, Rate>,
    servers: BTreeMap<String, Rate>,
    /// Flows refused and handshakes rejected since the status before.
    refused: u64,
}

impl Model {
    pub fn new(order: Order, filter: String) -> Self {
        Self {
            order,
            filter,
            mode: Mode::Clients,
            message: None,
            told: Told::default(),
            selected: None,
            lost: None,
            now: None,
            rates: HashMap::new(),
            servers: BTreeMap::new(),
            refused: 0,
        }
    }

    pub fn status(&self) -> Option<&Status> {
        self.now.as_ref().map(|(_, status)| status)
    }

    /// What each server moves, for the clients.
    pub fn servers(&self) -> &BTreeMap<String, Rate> {
        &self.servers
    }

    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Why there is no newer status.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    pub fn lose(&mut self, why: String) {
        self.lost = Some(why);
    }

    pub fn say(&mut self, message: String) {
        self.message = Some(message);
    }

    /// The client that is looked at.
    pub fn looked_at(&self) -> Option<&str> {
        match &self.mode {
            Mode::Client(client) => Some(client),
            Mode::Reason { back, .. } => match &**back {
                Mode::Client(client) => Some(client),
                _ => None,
            },
            Mode::Clients | Mode::Filter => None,
        }
    }

    /// Takes in the next status.
    pub fn note(&mut self, status: Status, at: Instant) {
        self.lost = None;
        // Another process counts anew.
        let before = self.now.take().filter(|(_, before)| before.started == status.started);
        (self.rates, self.servers, self.refused) = Default::default();
        if let Some((then, before)) = &before {
            let seconds = at.saturating_duration_since(*then).as_secs_f64();
            let old: HashMap<&str, Traffic> =
                before.sessions.iter().map(|session| (session.session.as_str(), session.traffic)).collect();
            for session in &status.sessions {
                let old = old.get(session.session.as_str()).copied().unwrap_or_default();
                self.rates.insert(session.session.clone(), rate(old, session.traffic, seconds));
            }
            for (server, traffic) in &status.totals.servers {
                let old = before.totals.servers.get(server).copied().unwrap_or_default();
                self.servers.insert(server.clone(), rate(old, *traffic, seconds));
            }
            self.refused = refusals(&status).saturating_sub(refusals(before));
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
            .map(|session| Row { session, rate: self.rate(session) })
            .collect();
        // Names last, so that equals keep their places from one status to the next.
        match self.order {
            Order::Rate => {
                rows.sort_by_key(|row| (Reverse(row.rate.up + row.rate.down), &row.session.client))
            }
            Order::Flows => rows.sort_by_key(|row| (Reverse(row.session.flows), &row.session.client)),
            Order::Name => rows.sort_by_key(|row| &row.session.client),
            Order::Since => rows.sort_by_key(|row| (Reverse(&row.session.since), &row.session.client)),
        }
        rows
    }

    pub fn rate(&self, session: &SessionStatus) -> Rate {
        self.rates.get(&session.session).copied().unwrap_or_default()
    }

    /// Where the selected client is in the list; the first if it is gone.
    pub fn selection(&self, rows: &[Row<'_>]) -> usize {
        let selected = self.selected.as_deref();
        rows.iter().position(|row| Some(row.session.client.as_str()) == selected).unwrap_or(0)
    }
}

fn refusals(status: &Status) -> u64 {
    let totals = &status.totals;
    totals.flows_refused.values().chain(totals.handshakes_rejected.values()).sum()
}

fn matches(session: &SessionStatus, wanted: &str) -> bool {
    let addresses = session.tunnel_addresses.iter().map(ToString::to_string);
    let texts = [&session.client, &session.operator, &session.role].map(|text| text.to_lowercase());
    let from = session.endpoint.map(|endpoint| endpoint.to_string());
    texts.into_iter().chain(addresses).chain(from).any(|text| text.contains(wanted))
}

fn rate(old: Traffic, new: Traffic, seconds: f64) -> Rate {
    let bits = |old: u64, new: u64| match seconds > 0.0 {
        true => (new.saturating_sub(old) as f64 * 8.0 / seconds) as u64,
        false => 0,
    };
    Rate { up: bits(old.rx_bytes, new.rx_bytes), down: bits(old.tx_bytes, new.tx_bytes) }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(super) mod tests;
