//! What this machine is asked to route and to resolve, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::report::ErrorReport;

/// What the machine is asked for. The newest wish replaces those before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wish {
    /// Comes back in the [`Outcome`].
    pub number: u64,
    /// Each to be routed by itself.
    pub addresses: BTreeSet<IpAddr>,
    pub names: Option<Names>,
}

/// Names that the gateway answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Names {
    /// Where it answers, in the tunnel.
    pub servers: Vec<IpAddr>,
    /// The site's suffix, which is also tried behind short names.
    pub suffix: Option<String>,
    /// Names outside of it.
    pub others: Vec<String>,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub number: u64,
    /// What leads into the tunnel now.
    pub routed: BTreeSet<IpAddr>,
    /// What does not, and why.
    pub refused: BTreeMap<IpAddr, ErrorReport>,
    pub names: NamesState,
}

/// Who resolves the site's names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamesState {
    /// Not known yet.
    #[default]
    Pending,
    /// The gateway, asked by the system's resolver for these names alone.
    Gateway,
    /// Nobody: the system has no resolver that could ask it for these names alone.
    Unresolved(ErrorReport),
}
