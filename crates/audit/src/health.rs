//! Whether the audit log keeps up, in numbers.

use serde::Serialize;

use crate::time::UtcTime;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    pub state: HealthState,
    /// Records waiting in the queue, of at most `capacity`.
    pub queued: usize,
    pub capacity: usize,
    /// How long the oldest record that was taken from the queue has been waiting for the disk.
    pub behind_ms: u64,
    /// Records written since the start.
    pub written: u64,
    /// Records lost since the start; each loss is told by an `audit.gap` record.
    pub lost: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum HealthState {
    Ok,
    /// Writing works but is late, or the queue is more than half full.
    Lagging,
    /// The store refuses; it is tried again until it works.
    Failed {
        since: UtcTime,
        reason: String,
    },
    /// The writer was stopped.
    Stopped,
}

impl Health {
    pub fn is_ok(&self) -> bool {
        self.state == HealthState::Ok
    }

    /// The state in words.
    pub fn reason(&self) -> &str {
        match &self.state {
            HealthState::Ok => "writing",
            HealthState::Lagging => "writing, but late",
            HealthState::Failed { reason, .. } => reason,
            HealthState::Stopped => "stopped",
        }
    }
}
