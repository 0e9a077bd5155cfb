//! What changes for whom between the configuration in force and another one.
//!
//! Nothing here judges: what roles reach comes from both policies themselves, and the flows that would be cut from the
//! workers, which ask the function that cuts them ([`vmsgate_tunnel::gateway::foresee`]).

mod roles;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vmsgate_config::Config;
use vmsgate_tunnel::gateway::foresee::{Cut, Member};

use crate::policy_build::build_policy;
use crate::run::waiting_for_restart;

/// The version of [`Difference`] as JSON; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub gateway: String,
    /// The version of the policy that this is compared with.
    pub policy_in_force: String,
    pub policy_version: String,
    /// The roles that reach something else, by name.
    pub roles: Vec<RoleDifference>,
    /// The live flows that are not allowed any more.
    pub flows_cut: Vec<FlowCut>,
    /// Changed keys whose new value takes effect at the next start.
    pub waits_for_restart: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDifference {
    pub role: String,
    /// Who has it and may connect.
    pub clients: Vec<String>,
    /// Whether sessions must be post-quantum from now on, or need not be any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_post_quantum: Option<bool>,
    pub changes: Vec<Change>,
}

/// One thing that a role gains or loses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub effect: Effect,
    pub server: String,
    pub service: String,
    pub protocol: String,
    /// `7563` or `8000-8010`; empty for ICMP echo.
    pub ports: String,
    pub addresses: Vec<IpAddr>,
    /// The rule that grants it, or did so.
    pub rule: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    Loses,
    /// Reached over TLS only from now on.
    TlsOnly,
    /// No longer over TLS only.
    NotTlsOnly,
    Gains,
}

/// A live flow that is cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCut {
    pub client: String,
    pub operator: String,
    pub role: String,
    pub session: String,
    /// The flow's number within its session, as in audit records.
    pub flow: u64,
    pub protocol: String,
    pub server: String,
    pub service: String,
    pub address: IpAddr,
    /// 0 for ICMP echo, which has none.
    pub port: u16,
    /// Why, as denial records name it.
    pub reason: String,
    /// What decided.
    pub rule: String,
    /// The rule closest to allowing it.
    pub nearest: Option<String>,
}

impl Difference {
    /// Whether it is none to anybody.
    pub fn concerns_nobody(&self) -> bool {
        self.roles.is_empty() && self.flows_cut.is_empty()
    }
}

/// Compares the configuration in force with another one, for the clients there are; `cuts` is what the workers said.
pub fn compare(in_force: &Config, other: &Config, members: &[Member], cuts: &[Cut]) -> Difference {
    let (before, after) = (build_policy(in_force), build_policy(other));
    let mut flows_cut: Vec<FlowCut> = cuts.iter().map(flow_cut).collect();
    flows_cut.sort_by(|a, b| {
        (&a.client, &a.server, &a.protocol, a.port, a.flow).cmp(&(
            &b.client,
            &b.server,
            &b.protocol,
            b.port,
            b.flow,
        ))
    });
    Difference {
        gateway: in_force.gateway.name.clone(),
        policy_in_force: in_force.version.clone(),
        policy_version: other.version.clone(),
        roles: roles::compare((in_force, &before), (other, &after), members),
        flows_cut,
        waits_for_restart: waiting_for_restart(in_force, other).map(str::to_owned).collect(),
    }
}

fn flow_cut(Cut { flow, refusal }: &Cut) -> FlowCut {
    let (client, to) = (&flow.session.client, flow.tuple.destination);
    let echo = flow.tuple.protocol == vmsgate_tunnel::policy::Protocol::Icmp;
    FlowCut {
        client: client.name.to_string(),
        operator: client.operator.to_string(),
        role: client.role.to_string(),
        session: flow.session.id.to_string(),
        flow: flow.id.as_u64(),
        protocol: flow.tuple.protocol.to_string(),
        server: flow.allowed.server.to_string(),
        service: flow.allowed.service.to_string(),
        address: to.ip(),
        port: if echo { 0 } else { to.port() },
        reason: refusal.reason.to_string(),
        rule: refusal.rule.to_string(),
        nearest: refusal.nearest.as_ref().map(ToString::to_string),
    }
}
