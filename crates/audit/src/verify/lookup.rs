//! What the look-up columns of a record, and its row in the index, have to say: all follows from its text.

use std::{borrow::Cow, collections::BTreeMap};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    members::{Member, Members},
    report::What,
    rows::RecordRow,
};
use crate::{index::OPEN, store::to_i64};

/// What a kind of record does to sessions and flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    SessionOpened,
    SessionRoamed,
    SessionClosed,
    SessionLimited,
    FlowOpened,
    FlowClosed,
    FlowDenied,
    HandshakeRejected,
    /// About no session: administrative acts, and the gateway's and the log's own records.
    Plain,
    /// Written by a later version, whose columns are not known here.
    Unknown,
}

impl Role {
    pub(super) fn of(kind: &str) -> Self {
        match kind {
            "session.opened" => Self::SessionOpened,
            "session.roamed" => Self::SessionRoamed,
            "session.closed" => Self::SessionClosed,
            "session.limited" => Self::SessionLimited,
            "flow.opened" => Self::FlowOpened,
            "flow.closed" => Self::FlowClosed,
            "flow.denied" => Self::FlowDenied,
            "handshake.rejected" => Self::HandshakeRejected,
            other => {
                let plain = ["admin.", "gateway.", "audit."].iter().any(|prefix| other.starts_with(prefix));
                if plain { Self::Plain } else { Self::Unknown }
            }
        }
    }

    fn has_session(self) -> bool {
        !matches!(self, Self::HandshakeRejected | Self::Plain | Self::Unknown)
    }
}

/// What the columns that records are looked up by must say; none stands for NULL.
#[derive(Debug, Default)]
pub(super) struct Columns<'a> {
    pub(super) session: Option<Cow<'a, str>>,
    pub(super) client: Option<Cow<'a, str>>,
    pub(super) operator: Option<Cow<'a, str>>,
    pub(super) server: Option<Cow<'a, str>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(role: Role, members: &Members<'a>) -> Result<Self, What> {
        let required = |member, name| members.text(member).ok_or(What::Member(name));
        if role == Role::HandshakeRejected {
            return Ok(Self { client: members.text(Member::Client), ..Self::default() });
        }
        if !role.has_session() {
            return Ok(Self::default());
        }
        let server = match role {
            Role::FlowOpened | Role::FlowClosed => Some(
                members.text(Member::FlowServer).map_or_else(|| required(Member::FlowAddress, "flow"), Ok)?,
            ),
            Role::FlowDenied => Some(
                members.text(Member::Server).map_or_else(|| required(Member::Address, "destination"), Ok)?,
            ),
            _ => None,
        };
        Ok(Self {
            session: Some(required(Member::SessionId, "session")?),
            client: Some(required(Member::SessionClient, "session")?),
            operator: Some(required(Member::SessionOperator, "session")?),
            server,
        })
    }

    pub(super) fn compare(&self, row: &RecordRow<'_>) -> Result<(), What> {
        for (name, expected, found) in [
            ("session", &self.session, row.session),
            ("client", &self.client, row.client),
            ("operator", &self.operator, row.operator),
            ("server", &self.server, row.server),
        ] {
            if expected.as_deref() != found {
                return Err(What::Column(name));
            }
        }
        Ok(())
    }
}

/// A row of `audit_session` or `audit_flow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexRow<'a> {
    pub(super) session: Cow<'a, str>,
    /// None in `audit_session`.
    pub(super) flow: Option<i64>,
    pub(super) chain: &'a str,
    pub(super) last_seq: i64,
    pub(super) client: Cow<'a, str>,
    pub(super) operator: Cow<'a, str>,
    /// Empty in `audit_session`.
    pub(super) server: Cow<'a, str>,
    /// The gateway's side of a flow: address and port with a blank between, each empty if there is none.
    pub(super) lan_source: Cow<'a, str>,
    pub(super) opened_ms: i64,
    /// [`OPEN`], or when it ended.
    pub(super) ended_ms: i64,
    pub(super) last_seen_ms: i64,
    /// Bytes and packets from the client, then to it.
    pub(super) counters: [i64; 4],
}

/// A sum over rows in any order. Each row is hashed with a secret that is drawn anew for every verification, so nobody
/// can prepare other rows of the same sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    secret: [u8; 16],
    pub(super) rows: u64,
    sum: u128,
}

impl Tally {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self { secret, rows: 0, sum: 0 }
    }

    pub(super) fn add(&mut self, row: &IndexRow<'_>, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.secret);
        for text in [&row.session, row.chain, &row.client, &row.operator, &row.server, &row.lan_source] {
            buffer.extend_from_slice(&text.len().to_le_bytes());
            buffer.extend_from_slice(text.as_bytes());
        }
        let numbers = [row.flow.unwrap_or(-1), row.last_seq, row.opened_ms, row.ended_ms];
        // What was last heard of something open is in the index alone.
        let heard = [row.last_seen_ms, row.counters[0], row.counters[1], row.counters[2], row.counters[3]];
        let heard = heard.map(|number| if row.ended_ms == OPEN { 0 } else { number });
        for number in numbers.iter().chain(&heard) {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        let digest: [u8; 32] = Sha256::digest(&*buffer).into();
        let (first, _) = digest.split_at(16);
        let value = first.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
        self.rows += 1;
        self.sum = self.sum.wrapping_add(value);
    }
}

/// Follows what the index has to say, record by record. Its memory grows with what is open, not with the log.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) sessions: Tally,
    pub(super) flows: Tally,
    open: BTreeMap<(Uuid, Option<i64>), OpenRow>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct OpenRow {
    chain: String,
    last_seq: i64,
    client: String,
    operator: String,
    server: String,
    lan_source: String,
    opened_ms: i64,
}

impl Follower {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        let tally = || Tally::new(secret);
        Self { sessions: tally(), flows: tally(), open: BTreeMap::new(), buffer: Vec::new() }
    }

    pub(super) fn follow(
        &mut self,
        role: Role,
        (chain, seq, time_ms): (&str, u64, i64),
        members: &Members<'_>,
        columns: &Columns<'_>,
    ) -> Result<(), What> {
        let is_flow = matches!(role, Role::FlowOpened | Role::FlowClosed);
        if !is_flow && !matches!(role, Role::SessionOpened | Role::SessionRoamed | Role::SessionClosed) {
            return Ok(());
        }
        let session = columns.session.as_deref().unwrap_or_default();
        let id = Uuid::try_parse(session).map_err(|_| What::Member("session"))?;
        let flow = if is_flow {
            Some(to_i64(members.number(Member::FlowId).ok_or(What::Member("flow"))?))
        } else {
            None
        };
        let last_seq = to_i64(seq);
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        match role {
            Role::SessionRoamed => {
                // The index follows only a session that it knows.
                if let Some(open) = self.open.get_mut(&(id, flow)) {
                    open.last_seq = last_seq;
                }
            }
            Role::SessionOpened | Role::FlowOpened => {
                let open = OpenRow {
                    chain: chain.to_owned(),
                    last_seq,
                    client: text(&columns.client),
                    operator: text(&columns.operator),
                    server: text(&columns.server),
                    lan_source: lan_source(flow, members),
                    opened_ms: time_ms,
                };
                self.open.insert((id, flow), open);
            }
            _ => {
                self.open.remove(&(id, flow));
                let row = closed_row((chain, last_seq, flow), members, columns)?;
                let tally = if is_flow { &mut self.flows } else { &mut self.sessions };
                tally.add(&row, &mut self.buffer);
            }
        }
        Ok(())
    }

    /// The sums over all that the index has to say.
    pub(super) fn finish(mut self) -> (Tally, Tally) {
        for ((id, flow), open) in &self.open {
            let row = IndexRow {
                session: id.to_string().into(),
                flow: *flow,
                chain: &open.chain,
                last_seq: open.last_seq,
                client: open.client.as_str().into(),
                operator: open.operator.as_str().into(),
                server: open.server.as_str().into(),
                lan_source: open.lan_source.as_str().into(),
                opened_ms: open.opened_ms,
                ended_ms: OPEN,
                last_seen_ms: 0,
                counters: [0; 4],
            };
            let tally = if flow.is_some() { &mut self.flows } else { &mut self.sessions };
            tally.add(&row, &mut self.buffer);
        }
        (self.sessions, self.flows)
    }
}

/// As in [`IndexRow::lan_source`].
pub(super) fn lan_source(flow: Option<i64>, members: &Members<'_>) -> String {
    if flow.is_none() {
        return String::new();
    }
    let address = members.text(Member::LanAddress).unwrap_or_default();
    let port = members.number(Member::LanPort).map(|port| port.to_string()).unwrap_or_default();
    format!("{address} {port}")
}

/// What the index has to say of something closed.
pub(super) fn closed_row<'a>(
    (chain, last_seq, flow): (&'a str, i64, Option<i64>),
    members: &Members<'_>,
    columns: &'a Columns<'_>,
) -> Result<IndexRow<'a>, What> {
    let number = |member, name| members.number(member).map(to_i64).ok_or(What::Member(name));
    let text = |text: &'a Option<Cow<'_, str>>| Cow::Borrowed(text.as_deref().unwrap_or_default());
    let opened_ms = members.time_ms(Member::Opened).ok_or(What::Member("opened"))?;
    let duration_ms = number(Member::DurationMs, "duration_ms")?;
    let ended_ms = opened_ms.saturating_add(duration_ms).min(OPEN - 1);
    Ok(IndexRow {
        session: text(&columns.session),
        flow,
        chain,
        last_seq,
        client: text(&columns.client),
        operator: text(&columns.operator),
        server: text(&columns.server),
        lan_source: lan_source(flow, members).into(),
        opened_ms,
        ended_ms,
        last_seen_ms: ended_ms,
        counters: [
            number(Member::FromClientBytes, "traffic")?,
            number(Member::FromClientPackets, "traffic")?,
            number(Member::ToClientBytes, "traffic")?,
            number(Member::ToClientPackets, "traffic")?,
        ],
    })
}
