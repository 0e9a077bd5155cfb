//! Whole records, one after the other, for other programs and for people with a right to see them.
//!
//! Records come in the order of their chains, exactly as they are stored, page by page: memory does not grow with the
//! log, and no long read keeps the gateway's database from tidying up. What is appended meanwhile is left out, so
//! that a selection can be gone through twice with the same result.

pub mod flat;
mod subject;

use std::io;

use serde::Serialize;
use sqlx::Row;

pub(crate) use self::subject::{Subject, clients_of};
use crate::{
    chain::Chain,
    db::Database,
    event::Event,
    index::server_key,
    record::Entry,
    store::{StoreError, to_i64, to_u64},
    text::Label,
    time::UtcTime,
};

/// Which records. What is none does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// By the time of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<UtcTime>,
    /// Not included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<UtcTime>,
    /// Its sessions and flows, its rejected handshakes, and administrative acts on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<Label>,
    /// The name of a server, or the address of a machine that is no configured server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Label>,
    /// Everything about this person: what an access request asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Label>,
}

/// How many records were passed on, and how many could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    pub records: u64,
    /// Their text is no record or belongs to another place: a sign of tampering or of a damaged disk.
    pub unreadable: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write what was exported")]
    Write(#[from] io::Error),
}

/// A selection of a log as it is now.
#[derive(Debug)]
pub struct Export<'a> {
    db: &'a Database,
    selection: &'a Selection,
    /// Each chain and its last record.
    chains: Vec<(Chain, u64)>,
    /// Clients that the subject was ever seen with.
    clients: Vec<String>,
}

const PAGE: i64 = 500;

impl<'a> Export<'a> {
    pub async fn begin(db: &'a Database, selection: &'a Selection) -> Result<Self, StoreError> {
        let chains = chains(db).await?;
        let clients = match &selection.subject {
            Some(operator) => clients_of(db, operator).await?,
            None => Vec::new(),
        };
        Ok(Self { db, selection, chains, clients })
    }

    /// Passes on every selected record, with its text as it is stored.
    pub async fn each(
        &self,
        mut take: impl FnMut(&Entry, &str) -> io::Result<()>,
    ) -> Result<Exported, ExportError> {
        let selection = self.selection;
        let mut subject = selection.subject.as_ref().map(|name| Subject::new(name, &self.clients));
        let mut exported = Exported::default();
        for (chain, last) in &self.chains {
            let mut after = 0;
            while after < *last {
                let page = self.page(chain, after, *last).await?;
                let Some((end, _)) = page.last() else { break };
                after = *end;
                for (seq, text) in &page {
                    let entry = Entry::parse(text).ok().filter(|e| e.seq == *seq && e.chain == *chain);
                    let Some(entry) = entry else {
                        exported.unreadable += 1;
                        continue;
                    };
                    let about_subject = subject.as_mut().is_none_or(|subject| subject.includes(&entry));
                    if about_subject && selection.includes(&entry) {
                        take(&entry, text)?;
                        exported.records += 1;
                    }
                }
            }
        }
        Ok(exported)
    }

    /// The columns beside the texts pass over most of what is not selected, unread; whether a record is selected is
    /// then said by its text.
    async fn page(&self, chain: &Chain, after: u64, last: u64) -> Result<Vec<(u64, String)>, StoreError> {
        let Selection { since, until, client, operator, server, subject } = self.selection;
        let text = |name: &Option<Label>| name.as_ref().map_or("", Label::as_str).to_owned();
        let rows = sqlx::query(
            "SELECT seq, body FROM audit_record WHERE chain = $1 AND seq > $2 AND seq <= $3
                AND time_ms >= $4 AND time_ms < $5
                AND ($6 = '' OR client = $6 OR kind LIKE 'admin.%')
                AND ($7 = '' OR operator = $7)
                AND ($8 = '' OR server = $8)
                AND ($9 = '' OR operator = $9 OR kind LIKE 'admin.%' OR kind = 'handshake.rejected')
             ORDER BY seq LIMIT $10",
        )
        .bind(chain.as_str())
        .bind(to_i64(after))
        .bind(to_i64(last))
        .bind(since.map_or(i64::MIN, UtcTime::unix_ms))
        .bind(until.map_or(i64::MAX, UtcTime::unix_ms))
        .bind(text(client))
        .bind(text(operator))
        .bind(text(server))
        .bind(text(subject))
        .bind(PAGE)
        .fetch_all(self.db.pool())
        .await
        .map_err(|e| self.db.explain(e))?;
        let read = |row: &sqlx::any::AnyRow| Ok((to_u64(row.try_get("seq")?), row.try_get("body")?));
        rows.iter().map(read).collect()
    }
}

/// Every chain of a log and the number of its last record. Administrative acts come first by their name, and tell whose
/// client is whose.
async fn chains(db: &Database) -> Result<Vec<(Chain, u64)>, StoreError> {
    let rows = sqlx::query("SELECT chain, seq FROM audit_chain ORDER BY chain").fetch_all(db.pool()).await;
    let mut chains = Vec::new();
    for row in rows.map_err(|e| db.explain(e))? {
        if let Some(chain) = Chain::from_name(row.try_get("chain")?) {
            chains.push((chain, to_u64(row.try_get("seq")?)));
        }
    }
    Ok(chains)
}

impl Selection {
    /// Whether the record is selected by all but its subject.
    fn includes(&self, entry: &Entry) -> bool {
        let (time, event) = (entry.record.time, &entry.record.event);
        let session = event.session();
        let client = match event {
            Event::Admin(admin) => Some(&admin.object),
            Event::HandshakeRejected(rejected) => rejected.client.as_ref(),
            _ => session.map(|session| &session.client),
        };
        let server = event.destination().map(server_key);
        let wanted = |asked: &Option<Label>, found: Option<&str>| {
            asked.as_ref().is_none_or(|asked| found == Some(asked.as_str()))
        };
        self.since.is_none_or(|since| since <= time)
            && self.until.is_none_or(|until| time < until)
            && wanted(&self.client, client.map(Label::as_str))
            && wanted(&self.operator, session.map(|session| session.operator.as_str()))
            && wanted(&self.server, server.as_deref())
    }
}
