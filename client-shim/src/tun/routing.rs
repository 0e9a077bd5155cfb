//! How the routes are, for the report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::wish::Outcome;
use crate::report::ErrorReport;

/// The interface as it stands, for the report.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) interface: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) mtu: u16,
    pub(crate) state: RefCell<RoutingState>,
}

/// What changes.
#[derive(Debug, Default)]
pub(crate) struct RoutingState {
    pub(crate) outcome: Outcome,
    /// What was not even asked for.
    pub(crate) refused: BTreeMap<IpAddr, ErrorReport>,
    /// The interface is of no use any more.
    pub(crate) trouble: Option<ErrorReport>,
}
