//! Proves a log, or names the first record that does not hold.
//!
//! # What is checked
//!
//! Every chain is walked from its first record to its last. Numbers have no gap but where a signed tombstone stands for
//! what went; every hash follows from the one before and the record's text; the text is canonical and names its own place;
//! the columns that records are looked up by say what the text says; checkpoints name the record before them and are
//! signed with the one key; the last record is the one that `audit_chain` names. Then the tables that sessions and flows
//! are listed from are compared with the records.
//!
//! # What it costs
//!
//! One pass, in one read transaction, so that it sees one state while the gateway writes. SQLite reads the next rows
//! while the last ones are checked. Memory grows with what is open and with the number of tombstoned ranges, not with the
//! log. See `docs/audit-format.md` for the format, and `tests/verify.py` for a verifier that shares no code with this one.

mod lookup;
mod members;
mod report;
mod rows;
mod scan;
mod tables;
mod walk;

use std::hash::{BuildHasher, RandomState};

use sqlx::{AnyConnection, Row as _};

pub use report::{
    AnchorReport, AnchorState, ChainReport, Fault, IndexState, KeySource, Position, Report, What,
};

use crate::{
    chain::{Chain, Head},
    checkpoint::Anchor,
    db::Database,
    record::Entry,
    signing::VerifyingKey,
    store::{StoreError, to_u64},
    text::Label,
};
use lookup::Follower;
use walk::Walk;

/// What is known of a log from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The public key. Without it that of the anchors is used, and without those the database's own.
    pub key: Option<VerifyingKey>,
    pub anchors: Vec<Anchor>,
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    /// As `audit_chain` says; pruned records are among them.
    pub total: u64,
}

/// Verifies the whole log. `progress` is told after each few hundred records.
///
/// # Errors
/// [`StoreError`] when the database cannot be read. What does not hold is no error: see [`Report::proven`].
pub async fn verify(
    db: &Database,
    known: &Known,
    progress: impl FnMut(Progress),
) -> Result<Report, StoreError> {
    let mut tx = db.pool().begin().await.map_err(|e| db.explain(e))?;
    let mut run = Run { connection: &mut tx, known, progress, done: 0 };
    run.verify().await
}

/// The newest checkpoint of every chain that has one, to be kept elsewhere. They are not verified.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub async fn newest_checkpoints(db: &Database) -> Result<Vec<Anchor>, StoreError> {
    let mut tx = db.pool().begin().await.map_err(|e| db.explain(e))?;
    let key = stored_key(&mut tx).await?.ok_or(StoreError::MalformedKey)?;
    let Some(key) = key else { return Ok(Vec::new()) };
    let mut anchors = Vec::new();
    for name in chain_names(&mut tx).await? {
        let row = sqlx::query(
            "SELECT body, hash FROM audit_record WHERE chain = $1 AND kind = 'audit.checkpoint'
             ORDER BY seq DESC LIMIT 1",
        );
        let Some(row) = row.bind(name).fetch_optional(&mut *tx).await? else { continue };
        let (text, hash): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        // An altered one is no anchor; `verify` says what is wrong with it.
        let (Ok(entry), Ok(hash)) = (Entry::parse(&text), hash.parse()) else { continue };
        anchors.push(Anchor {
            chain: entry.chain,
            head: Head { seq: entry.seq, hash },
            time: entry.record.time,
            key,
        });
    }
    Ok(anchors)
}

struct Run<'a, P> {
    connection: &'a mut AnyConnection,
    known: &'a Known,
    progress: P,
    done: u64,
}

impl<P: FnMut(Progress)> Run<'_, P> {
    async fn verify(&mut self) -> Result<Report, StoreError> {
        let mut faults = Vec::new();
        let stored_key = stored_key(self.connection).await?.unwrap_or_else(|| {
            faults.push("the public key in `audit_key` is unreadable".to_owned());
            None
        });
        let (key, key_source) = match (self.known.key, self.known.anchors.first()) {
            (Some(key), _) => (Some(key), KeySource::Given),
            (None, Some(anchor)) => (Some(anchor.key), KeySource::Anchor),
            (None, None) if stored_key.is_some() => (stored_key, KeySource::Database),
            (None, None) => (None, KeySource::Missing),
        };
        if let (Some(key), Some(stored)) = (key, stored_key)
            && key != stored
        {
            faults.push(format!("the key in `audit_key` is {stored}, not {key}: it was replaced"));
        }
        faults.extend(strange_chains(self.connection).await?);

        let secret = random();
        let mut follower = Follower::new(secret);
        let (mut chains, mut anchors) = (Vec::new(), Vec::new());
        let total = self.total().await?;
        for name in chain_names(self.connection).await? {
            let Some(chain) = Chain::from_name(&name).filter(|chain| chain.as_str() == name) else {
                let mut report = ChainReport::new(Label::new(&name));
                report.fail(1, What::UnknownChain);
                chains.push(report);
                continue;
            };
            let (report, compared) = self.walk(&chain, key, total, &mut follower).await?;
            chains.push(report);
            anchors.extend(compared);
        }
        let of_no_chain = |anchor: &&Anchor| chains.iter().all(|c| c.chain.as_str() != anchor.chain.as_str());
        let lost = self.known.anchors.iter().filter(of_no_chain);
        anchors.extend(lost.map(|anchor| AnchorReport::new(anchor, AnchorState::Missing)));

        let index = if chains.iter().all(|chain| chain.fault.is_none()) {
            tables::compare(self.connection, follower.finish(), secret).await?
        } else {
            IndexState::NotChecked
        };
        let proven = faults.is_empty()
            && index == IndexState::Agrees
            && anchors.iter().all(|anchor| anchor.state.holds());
        Ok(Report { proven, key, key_source, chains, anchors, index, faults })
    }

    async fn walk(
        &mut self,
        chain: &Chain,
        key: Option<VerifyingKey>,
        total: u64,
        follower: &mut Follower,
    ) -> Result<(ChainReport, Vec<AnchorReport>), StoreError> {
        let (rows, has_gaps) = extent(self.connection, chain).await?;
        let tombstones = if has_gaps { tombstones(self.connection, chain).await? } else { Vec::new() };
        let anchors = self.known.anchors.iter().filter(|anchor| anchor.chain == *chain);
        let mut walk = Walk::new(chain, key, anchors, tombstones);
        let mut next = rows::records(self.connection, chain.as_str(), i64::MIN).await?;
        while let Some(batch) = next.take() {
            // The database's thread fetches while this one checks.
            let fetch = rows::records(self.connection, chain.as_str(), batch.last);
            let check = async { walk.check(batch.reader(), follower) };
            let (fetched, holds) = tokio::join!(fetch, check);
            self.done += batch.count;
            (self.progress)(Progress { done: self.done, total });
            if !holds {
                break;
            }
            next = fetched?;
        }
        Ok(walk.finish(stored_head(self.connection, chain).await?, rows))
    }

    async fn total(&mut self) -> Result<u64, StoreError> {
        let sum = sqlx::query_scalar::<_, Option<i64>>(
            "SELECT SUM(seq) FROM audit_chain WHERE typeof(seq) = 'integer' AND seq BETWEEN 0 AND 1000000000000",
        );
        Ok(to_u64(sum.fetch_one(&mut *self.connection).await?.unwrap_or(0)))
    }
}

/// The key in the database: none where there is none; the outer option is none for one that cannot be read.
async fn stored_key(connection: &mut AnyConnection) -> Result<Option<Option<VerifyingKey>>, StoreError> {
    let table = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit_key'");
    if table.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(Some(None));
    }
    let rows = sqlx::query("SELECT public_key FROM audit_key ORDER BY id").fetch_all(connection).await?;
    let [row] = &rows[..] else { return Ok(rows.is_empty().then_some(None)) };
    let key = row.try_get::<String, _>(0).ok().and_then(|text| text.parse().ok());
    Ok(key.map(Some))
}

/// Every name in the records and in `audit_chain`, without reading all records.
async fn chain_names(connection: &mut AnyConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut names = Vec::new();
    let mut last = String::new();
    loop {
        let next = sqlx::query_scalar::<_, Option<String>>(
            "SELECT MIN(chain) FROM (
                SELECT * FROM (SELECT chain FROM audit_record WHERE chain > $1 AND chain < x'' ORDER BY chain LIMIT 1)
                UNION ALL
                SELECT * FROM (SELECT chain FROM audit_chain WHERE chain > $1 AND chain < x'' ORDER BY chain LIMIT 1))",
        );
        let Some(name) = next.bind(last.clone()).fetch_one(&mut *connection).await? else { return Ok(names) };
        names.push(name.clone());
        last = name;
    }
}

/// Rows whose chain is no text, or an empty one: they belong to no chain.
async fn strange_chains(connection: &mut AnyConnection) -> Result<Option<String>, sqlx::Error> {
    let strange = "SELECT COUNT(*) FROM audit_record WHERE chain >= x'' OR chain <= ''";
    let count: i64 = sqlx::query_scalar(strange).fetch_one(connection).await?;
    Ok((count > 0).then(|| format!("{count} rows of `audit_record` belong to no chain")))
}

/// How many rows a chain has, and whether numbers are missing between or before them.
async fn extent(connection: &mut AnyConnection, chain: &Chain) -> Result<(u64, bool), sqlx::Error> {
    let row =
        sqlx::query("SELECT COUNT(*), COALESCE(MAX(seq) <> COUNT(*), 0) FROM audit_record WHERE chain = $1");
    let row = row.bind(chain.as_str()).fetch_one(connection).await?;
    Ok((to_u64(row.try_get(0)?), row.try_get::<i64, _>(1)? != 0))
}

/// What can be read of a chain's tombstones. Whether they hold is found when the walk comes to them.
async fn tombstones(connection: &mut AnyConnection, chain: &Chain) -> Result<Vec<Entry>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT body FROM audit_record WHERE chain = $1 AND kind = 'audit.tombstone' AND octet_length(body) <= 262144
         ORDER BY seq",
    );
    let rows = rows.bind(chain.as_str()).fetch_all(connection).await?;
    let texts = rows.iter().filter_map(|row| row.try_get::<String, _>(0).ok());
    Ok(texts.filter_map(|text| Entry::parse(&text).ok()).collect())
}

async fn stored_head(connection: &mut AnyConnection, chain: &Chain) -> Result<Option<Head>, sqlx::Error> {
    let row = sqlx::query("SELECT seq, hash FROM audit_chain WHERE chain = $1 AND seq < '' AND hash < x''");
    let Some(row) = row.bind(chain.as_str()).fetch_optional(connection).await? else { return Ok(None) };
    let seq = row.try_get::<i64, _>(0).ok().and_then(|seq| u64::try_from(seq).ok());
    let hash = row.try_get::<String, _>(1).ok().and_then(|hash| hash.parse().ok());
    Ok(seq.zip(hash).map(|(seq, hash)| Head { seq, hash }))
}

/// Unpredictable, so that nobody prepares a database for it.
fn random() -> [u8; 16] {
    let half = || RandomState::new().hash_one(0_u8).to_le_bytes();
    let mut bytes = [0; 16];
    let (low, high) = bytes.split_at_mut(8);
    low.copy_from_slice(&half());
    high.copy_from_slice(&half());
    bytes
}
