//! What another policy would do to whoever is there, told by the judgement that puts a policy in force.

use std::sync::Arc;
use std::time::Instant;

use super::GatewayState;
use super::inner::{clear_text, judge};
use crate::event::{ClientInfo, FlowInfo};
use crate::flow::{FirstBytes, FlowId};
use crate::peer::ClientKind;
use crate::policy::{Policy, Protocol, Refusal, Verdict};

/// A client that may connect.
#[derive(Debug, Clone)]
pub struct Member {
    pub info: Arc<ClientInfo>,
    /// It is connected, and whether under an agreed pre-shared key.
    pub post_quantum: Option<bool>,
}

/// A live flow that a policy does not allow, or not in clear text.
#[derive(Debug, Clone)]
pub struct Cut {
    pub flow: FlowInfo,
    pub refusal: Refusal,
}

impl GatewayState {
    /// The devices that may connect now.
    pub fn members(&self, now: Instant) -> impl Iterator<Item = Member> + '_ {
        let unix = self.unix(now);
        let may_connect = self
            .peers
            .iter()
            .map(|(_, peer)| peer)
            .filter(move |peer| peer.kind == ClientKind::Device && peer.access.rejection(unix).is_none());
        may_connect.map(|peer| Member {
            info: peer.info.clone(),
            post_quantum: peer.session.as_ref().map(|session| session.info.post_quantum),
        })
    }

    /// The live flows that would be cut if `policy` were put in force now.
    pub fn foresee(&self, policy: &Policy) -> Vec<Cut> {
        self.cut_by(&self.judged_by(policy, None))
    }

    /// The flows that a judgement ends.
    pub(super) fn cut_by(&self, judged: &[(FlowId, Verdict)]) -> Vec<Cut> {
        let cut = |(id, verdict): &(FlowId, Verdict)| {
            let flow = self.flows.get(*id)?;
            let refusal = match verdict {
                Verdict::Deny(refusal) => refusal.clone(),
                Verdict::Allow(allowed) => {
                    let in_clear = flow.first_bytes() == Some(FirstBytes::Plain);
                    (allowed.require_tls.is_some() && in_clear).then(|| clear_text(allowed))?
                }
            };
            Some(Cut { flow: self.flow_info(flow)?, refusal })
        };
        judged.iter().filter_map(cut).collect()
    }

    /// What `policy` says of every live flow, or of those of one client.
    pub(super) fn judged_by(&self, policy: &Policy, only: Option<u32>) -> Vec<(FlowId, Verdict)> {
        let flows = self.flows.iter().filter(|flow| only.is_none_or(|at| flow.client == at));
        let judged = flows.map(|flow| {
            let peer = self.peers.get(flow.client as usize);
            let role = peer.and_then(|peer| policy.role(&peer.info.role));
            let (protocol, destination) = (flow.tuple.protocol, flow.tuple.destination);
            let port = if protocol == Protocol::Icmp { 0 } else { destination.port() };
            (flow.id, judge(policy, peer, role, (protocol, destination.ip(), port)))
        });
        judged.collect()
    }
}
