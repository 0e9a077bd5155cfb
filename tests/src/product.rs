//! What the product reports as JSON, as far as tests ask about it. The only file that knows these shapes.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{process::capture, site::Site};

/// `vmsgate status --json`.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// Counters since the gateway started.
    pub totals: Totals,
    /// Open sessions.
    pub sessions: Vec<SessionStatus>,
}

/// Counters since the gateway started.
#[derive(Debug, Deserialize)]
pub struct Totals {
    /// Flows that policy refused, by reason.
    pub flows_refused: BTreeMap<String, u64>,
    /// Handshakes refused, by reason.
    pub handshakes_rejected: BTreeMap<String, u64>,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// One open session.
#[derive(Debug, Deserialize)]
pub struct SessionStatus {
    /// The client's name.
    pub client: String,
    /// The person.
    pub operator: String,
    /// Its role.
    pub role: String,
    /// Where its datagrams come from.
    pub endpoint: Option<String>,
    /// Live flows.
    pub flows: u64,
}

/// `vmsgate denials --json`: one row.
#[derive(Debug, Deserialize)]
pub struct Denial {
    /// The client's name.
    pub client: String,
    /// Where it wanted to go.
    pub address: IpAddr,
    /// To which port.
    pub port: u16,
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// How often.
    pub count: u64,
    /// Why it was refused.
    pub reason: String,
}

impl Site {
    /// What the running gateway says about itself.
    ///
    /// # Errors
    /// When it does not answer, or not in the expected shape.
    pub fn status(&self) -> Result<Status> {
        let text = capture(&mut self.vmsgate(&["status", "--json"]))?;
        serde_json::from_str(&text).with_context(|| format!("unexpected status: {text}"))
    }

    /// The rows of `vmsgate sessions`, `flows` or `denials`, as far as `T` asks for them.
    ///
    /// # Errors
    /// When the command fails or answers in another shape.
    pub fn records<T: DeserializeOwned>(&self, command: &str, filters: &[&str]) -> Result<Vec<T>> {
        let text = capture(&mut self.vmsgate(&[&[command, "--json"], filters].concat()))?;
        let mut report: serde_json::Value = serde_json::from_str(&text)?;
        ensure!(report["schema_version"].is_u64(), "`{command} --json` has no schema_version: {text:.300}");
        serde_json::from_value(report[command].take())
            .with_context(|| format!("`{command} --json`: {text:.600}"))
    }
}
