//! Who was behind an address that another system's log shows at some time.
//!
//! Three kinds of logs show three kinds of addresses, and one question asks for all of them:
//!
//! - The recording server's log, with egress `proxy`, shows the gateway's own side of the flow. Its port tells apart
//!   whom the address alone does not, unless clients have source addresses of their own.
//! - The recording server's log, with egress `tun` without masquerade, shows the client's address inside the tunnel.
//! - A firewall's log shows where the client's tunnel comes from on the internet.
//!
//! Clocks of two machines differ, so a question has a time and a tolerance around it. A port is used again soon: of
//! several flows that had it within the tolerance, those that had it at the very time come first.

mod presence;
mod statements;

use std::{net::IpAddr, time::Duration};

use serde::Serialize;
use uuid::Uuid;

use self::presence::Presence;
use super::{FlowRow, Listing, SCHEMA_VERSION, flows, select::Select};
use crate::{
    db::Database,
    store::{StoreError, to_i64},
    subject::{Destination, Protocol, SessionSubject},
    text::{Fingerprint, Label},
    time::UtcTime,
};

/// An address in another system's log, and when it was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub address: IpAddr,
    pub port: Option<u16>,
    pub at: UtcTime,
    /// By how much the other system's clock may differ.
    pub within: Duration,
    /// At most so many candidates.
    pub limit: u32,
}

/// Somebody whom the sighting may show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    pub certainty: Certainty,
    pub seen_as: SeenAs,
    pub client: Label,
    pub operator: Label,
    pub role: Label,
    pub key: Fingerprint,
    pub session: Uuid,
    pub gateway: Label,
    /// The flow's number within its session; none when the session itself was seen.
    pub flow: Option<u64>,
    pub protocol: Option<Protocol>,
    pub destination: Option<Destination>,
    /// When the flow, or the session at this address, was there.
    pub opened: UtcTime,
    /// None while it is open.
    pub ended: Option<UtcTime>,
}

/// How sure it is, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// This address and port, at this time.
    Exact,
    /// This address and port, within the tolerance.
    Near,
    /// This address; the port is another one or was not asked for.
    AddressOnly,
}

/// Which side of the gateway the address is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenAs {
    LanSource,
    TunnelAddress,
    InternetSource,
}

/// Every candidate, the surest and nearest first. Those of the address alone appear if none had the port.
pub async fn who(db: &Database, sighting: &Sighting) -> Result<Listing<Candidate>, StoreError> {
    let mut search = Search { sighting, candidates: Vec::new(), unreadable: 0 };
    if let Some(port) = sighting.port {
        let flows = search.flows(db, statements::by_port(sighting, port)).await?;
        search.take_flows(flows, SeenAs::LanSource, |flow| flow.lan_source.and_then(|source| source.port));
    }
    let (present, unreadable) = presence::of(db, sighting).await?;
    search.unreadable += unreadable;
    for presence in present {
        search.take_session(db, presence).await?;
    }
    if search.candidates.iter().all(|candidate| candidate.certainty == Certainty::AddressOnly) {
        let flows = search.flows(db, statements::by_address(sighting)).await?;
        search.take_flows(flows, SeenAs::LanSource, |flow| flow.lan_source.and_then(|source| source.port));
    }
    Ok(search.finish())
}

struct Search<'a> {
    sighting: &'a Sighting,
    candidates: Vec<Candidate>,
    unreadable: u64,
}

impl Search<'_> {
    /// The session was at the address: its flows if they are what was seen, or else itself.
    async fn take_session(&mut self, db: &Database, presence: Presence) -> Result<(), StoreError> {
        let Presence { session, gateway, seen_as, opened, ended } = presence;
        if seen_as == SeenAs::TunnelAddress {
            let flows = self.flows(db, statements::of_session(self.sighting, session.id)).await?;
            let at_address = |flow: &FlowRow| flow.tunnel_source.address == self.sighting.address;
            let flows: Vec<_> = flows.into_iter().filter(at_address).collect();
            if !flows.is_empty() {
                self.take_flows(flows, seen_as, |flow| flow.tunnel_source.port);
                return Ok(());
            }
        }
        let port = (seen_as == SeenAs::InternetSource).then(|| session.source.port());
        let SessionSubject { id, client, operator, role, key, .. } = session;
        self.candidates.push(Candidate {
            certainty: self.sighting.certainty(port, opened, ended),
            seen_as,
            client,
            operator,
            role,
            key,
            session: id,
            gateway,
            flow: None,
            protocol: None,
            destination: None,
            opened,
            ended,
        });
        Ok(())
    }

    fn take_flows(&mut self, flows: Vec<FlowRow>, seen_as: SeenAs, port: impl Fn(&FlowRow) -> Option<u16>) {
        for flow in flows {
            self.candidates.push(Candidate {
                certainty: self.sighting.certainty(port(&flow), flow.opened, flow.ended),
                seen_as,
                client: flow.client,
                operator: flow.operator,
                role: flow.role,
                key: flow.key,
                session: flow.session,
                gateway: flow.gateway,
                flow: Some(flow.flow),
                protocol: Some(flow.protocol),
                destination: Some(flow.destination),
                opened: flow.opened,
                ended: flow.ended,
            });
        }
    }

    /// The flows of a statement; one more than can be shown tells that there are more.
    async fn flows(&mut self, db: &Database, select: Select) -> Result<Vec<FlowRow>, StoreError> {
        let limit = self.sighting.limit.saturating_add(1);
        let listing = select.list(db, limit, flows::to_row).await?;
        self.unreadable += listing.unreadable;
        Ok(listing.rows)
    }

    fn finish(self) -> Listing<Candidate> {
        let Self { sighting, candidates: mut rows, unreadable } = self;
        if rows.iter().any(|row| row.certainty != Certainty::AddressOnly) {
            rows.retain(|row| row.certainty != Certainty::AddressOnly);
        }
        rows.sort_by_key(|row| {
            (row.certainty, sighting.distance_ms(row.opened, row.ended), row.session, row.flow)
        });
        let limit = sighting.limit as usize;
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        Listing { schema_version: SCHEMA_VERSION, rows, truncated, unreadable }
    }
}

impl Sighting {
    fn certainty(&self, port: Option<u16>, opened: UtcTime, ended: Option<UtcTime>) -> Certainty {
        match self.port {
            Some(asked) if port == Some(asked) => match self.distance_ms(opened, ended) {
                0 => Certainty::Exact,
                _ => Certainty::Near,
            },
            _ => Certainty::AddressOnly,
        }
    }

    /// How long before its beginning, or after its end, the time in question is.
    fn distance_ms(&self, opened: UtcTime, ended: Option<UtcTime>) -> u64 {
        opened.ms_since(self.at).max(ended.map_or(0, |ended| self.at.ms_since(ended)))
    }

    fn earliest_ms(&self) -> i64 {
        self.at.unix_ms().saturating_sub(self.within_ms())
    }

    fn latest_ms(&self) -> i64 {
        self.at.unix_ms().saturating_add(self.within_ms())
    }

    fn within_ms(&self) -> i64 {
        to_i64(u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
pub(super) fn all_selects(sighting: &Sighting) -> Vec<Select> {
    vec![
        statements::by_port(sighting, 1),
        statements::by_address(sighting),
        statements::of_session(sighting, Uuid::nil()),
        presence::select(sighting),
    ]
}
