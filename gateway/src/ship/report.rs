//! What is known of a receiver, for `vmsgate status` and the health.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vmsgate_config::Ship;

/// One receiver as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipStatus {
    pub name: String,
    /// Its address, as configured.
    pub to: String,
    pub state: ShipState,
    /// Records that it has not received yet.
    pub behind: u64,
    /// Records that it took and said that it did not keep, since the start.
    pub rejected: u64,
    /// The latest failure, also of one that is over.
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShipState {
    Connecting,
    Connected,
    /// Waiting to try again.
    Failing,
}

impl ShipState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Failing => "failing",
        }
    }
}

/// The status of a receiver, written by its shipper and read by the run loop.
#[derive(Debug, Clone)]
pub struct Report(Arc<Mutex<ShipStatus>>);

impl Report {
    pub fn new(ship: &Ship) -> Self {
        Self(Arc::new(Mutex::new(ShipStatus {
            name: ship.name.clone(),
            to: ship.to.to_string(),
            state: ShipState::Connecting,
            behind: 0,
            rejected: 0,
            last_error: None,
        })))
    }

    pub fn status(&self) -> ShipStatus {
        self.locked().clone()
    }

    pub fn connected(&self) {
        self.locked().state = ShipState::Connected;
    }

    pub fn behind(&self, records: u64) {
        self.locked().behind = records;
    }

    pub fn rejected(&self, records: u64) {
        let mut status = self.locked();
        status.rejected = status.rejected.saturating_add(records);
    }

    /// Returns whether this is news.
    pub fn failed(&self, error: String) -> bool {
        let mut status = self.locked();
        let news = status.state != ShipState::Failing || status.last_error.as_ref() != Some(&error);
        status.state = ShipState::Failing;
        status.last_error = Some(error);
        news
    }

    fn locked(&self) -> MutexGuard<'_, ShipStatus> {
        // Fields are replaced as a whole, so a panic elsewhere has left none half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All receivers in one sentence, for the health. It names no addresses: the probes are open to every local user.
pub fn summary(receivers: &[ShipStatus]) -> String {
    if receivers.is_empty() {
        return "the audit log is kept here alone".to_owned();
    }
    let failing: Vec<String> = receivers
        .iter()
        .filter(|one| one.state == ShipState::Failing)
        .map(|one| format!("`{}` is {} records behind", one.name, one.behind))
        .collect();
    if failing.is_empty() {
        return "the audit log is shipped".to_owned();
    }
    format!(
        "warning: the audit log is not shipped, and safe here: {} (see `vmsgate status`)",
        failing.join(", ")
    )
}
