//! Deleting what has been kept long enough, so that the log still verifies.
//!
//! Only a log that verifies is pruned: what is left of a broken one is evidence. Of each chain, records before its last
//! checkpoint go whose time is over; what belongs to open sessions and flows stays. Checkpoints and tombstones, which
//! anchors and gaps lean on, are kept as long as records of the gateway, and until everything before them is gone. In
//! place of what went there is a signed tombstone and a checkpoint that covers it, and on the administrators' chain who
//! had it deleted: all in the same transaction.
//!
//! A transaction deletes a few thousand records at most, so that a running gateway waits for the write lock no longer
//! than it gathers a group of records anyway.

mod select;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    chain::Chain,
    db::{Database, DbError, WriteTransaction},
    event::{Admin, Event},
    record::Record,
    retention::Cutoffs,
    signing::SigningKey,
    store::{StoreError, append, append_checkpoint, to_i64, to_u64},
    text::{Label, Snapshot},
    time::UtcTime,
    tombstone::{Deleted, DeletedRange, Tombstone},
    verify::{Known, Report, verify},
};
use select::{Candidate, Scope};

/// What went, or would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Records in the log before.
    pub before: u64,
    /// How many of each kind went.
    pub counts: BTreeMap<Label, u64>,
    /// The earliest and the latest time of a record that went.
    pub from: Option<UtcTime>,
    pub to: Option<UtcTime>,
}

impl Pruned {
    pub fn records(&self) -> u64 {
        self.counts.values().sum()
    }

    fn add(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            *self.counts.entry(candidate.kind.clone()).or_default() += 1;
            self.from = Some(self.from.map_or(candidate.time, |from| from.min(candidate.time)));
            self.to = Some(self.to.map_or(candidate.time, |to| to.max(candidate.time)));
        }
    }
}

/// Who has records deleted, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleter {
    pub actor: Label,
    pub object: Label,
}

#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    #[error("the log does not verify, so nothing is deleted from it")]
    Unproven(Box<Report>),
    #[error("somebody else deletes records at the same time")]
    Concurrent,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PruneError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<DbError> for PruneError {
    fn from(error: DbError) -> Self {
        Self::Store(error.into())
    }
}

/// What [`prune`] would delete now.
///
/// # Errors
/// As for [`prune`].
pub async fn preview(db: &Database, cutoffs: &Cutoffs) -> Result<Pruned, PruneError> {
    let known = Known::default();
    let (mut pruned, scopes) = scopes(db, &known, cutoffs).await?;
    for scope in scopes {
        let mut after = 0;
        loop {
            let candidates = scope.next(db, after).await?;
            let Some(last) = candidates.last() else { break };
            after = last.seq;
            pruned.add(&candidates);
        }
    }
    Ok(pruned)
}

/// Deletes what is older than `cutoffs`, and leaves tombstones signed with `key`.
///
/// May run beside a gateway. Whatever interrupts it, the log verifies and says who deleted: deletion, tombstone and the
/// administrative record of it are one transaction.
///
/// # Errors
/// [`PruneError::Unproven`] when the log does not verify with `key`; nothing was deleted then.
pub async fn prune(
    db: &Database,
    key: &SigningKey,
    cutoffs: &Cutoffs,
    deleter: &Deleter,
    now: UtcTime,
) -> Result<Pruned, PruneError> {
    let known = Known { key: Some(key.verifying_key()), anchors: Vec::new() };
    let (mut pruned, scopes) = scopes(db, &known, cutoffs).await?;
    for scope in scopes {
        let mut after = 0;
        loop {
            // Selected before the write lock is taken: looking takes longer than deleting.
            let candidates = scope.next(db, after).await?;
            let Some(last) = candidates.last() else { break };
            after = last.seq;
            let mut tx = db.begin_write().await?;
            delete(&mut tx, &scope.chain, &candidates).await?;
            let ranges = scope.ranges(&candidates);
            let left = pruned.before.saturating_sub(pruned.records());
            put_on_record(&mut tx, deleter, now, left, candidates.len()).await?;
            bury(&mut tx, &scope.chain, key, now, (&candidates, ranges)).await?;
            append_checkpoint(&mut tx, &Chain::admin(), key, now).await?;
            db.commit(tx).await?;
            pruned.add(&candidates);
        }
    }
    Ok(pruned)
}

/// Puts on the administrators' chain that a transaction deletes `records` of the `before` that there were.
async fn put_on_record(
    tx: &mut WriteTransaction,
    deleter: &Deleter,
    now: UtcTime,
    before: u64,
    records: usize,
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct Count {
        records: u64,
    }
    let count = |records| Snapshot::of(&Count { records }).ok();
    let act = Admin {
        act: Label::new("audit.prune"),
        actor: deleter.actor.clone(),
        object: deleter.object.clone(),
        before: count(before),
        after: count(before.saturating_sub(records as u64)),
    };
    append(tx, &Chain::admin(), &[Record::new(now, Event::Admin(act))]).await.map(drop)
}

/// How many administrative records are from `from` on, but before `to`.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub async fn acts_between(db: &Database, from: UtcTime, to: UtcTime) -> Result<u64, StoreError> {
    let count = sqlx::query_scalar::<_, i64>(
        "SELECT COUNT(*) FROM audit_record WHERE chain = $1 AND substr(kind, 1, 6) = 'admin.'
            AND time_ms >= $2 AND time_ms < $3",
    );
    let count = count.bind(Chain::admin().as_str().to_owned()).bind(from.unix_ms()).bind(to.unix_ms());
    Ok(to_u64(count.fetch_one(db.pool()).await.map_err(|e| db.explain(e))?))
}

/// How many records there are, and what of each chain may go, once the whole log is proven.
async fn scopes(db: &Database, known: &Known, cutoffs: &Cutoffs) -> Result<(Pruned, Vec<Scope>), PruneError> {
    let report = verify(db, known, |_| ()).await?;
    if !report.proven {
        return Err(PruneError::Unproven(Box::new(report)));
    }
    let before = report.chains.iter().map(|chain| chain.records).sum();
    let mut scopes = Vec::new();
    for found in report.chains {
        // Unsigned records cannot go: nothing would tell that they were those that were there.
        if let (Some(chain), Some(signed)) = (Chain::from_name(found.chain.as_str()), found.proven_until) {
            scopes.push(Scope::new(db, chain, signed.seq, cutoffs).await?);
        }
    }
    Ok((Pruned { before, ..Pruned::default() }, scopes))
}

async fn delete(
    tx: &mut WriteTransaction,
    chain: &Chain,
    candidates: &[Candidate],
) -> Result<(), PruneError> {
    let mut deleted = 0;
    for run in candidates.chunk_by(|a, b| a.seq + 1 == b.seq) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let sql = "DELETE FROM audit_record WHERE chain = $1 AND seq BETWEEN $2 AND $3";
        let query = sqlx::query(sql).bind(chain.as_str()).bind(to_i64(first.seq)).bind(to_i64(last.seq));
        deleted += query.execute(&mut **tx).await?.rows_affected();
    }
    if deleted != candidates.len() as u64 {
        return Err(PruneError::Concurrent);
    }
    for candidate in candidates {
        let Some(listed) = &candidate.listed else { continue };
        let seq = to_i64(candidate.seq);
        let query = match listed.flow {
            None => {
                sqlx::query("DELETE FROM audit_session WHERE session = $1 AND chain = $2 AND last_seq = $3")
                    .bind(listed.session.clone())
                    .bind(chain.as_str())
                    .bind(seq)
            }
            Some(flow) => sqlx::query(
                "DELETE FROM audit_flow WHERE session = $1 AND chain = $2 AND last_seq = $3 AND flow = $4",
            )
            .bind(listed.session.clone())
            .bind(chain.as_str())
            .bind(seq)
            .bind(flow),
        };
        query.execute(&mut **tx).await?;
    }
    Ok(())
}

/// Puts tombstones and a checkpoint at the end of the chain.
async fn bury(
    tx: &mut WriteTransaction,
    chain: &Chain,
    key: &SigningKey,
    now: UtcTime,
    (candidates, ranges): (&[Candidate], Vec<DeletedRange>),
) -> Result<(), PruneError> {
    let mut summary = Pruned::default();
    summary.add(candidates);
    let deleted = Deleted {
        ranges,
        counts: summary.counts,
        from: summary.from.unwrap_or(now),
        to: summary.to.unwrap_or(now),
    };
    let tombstone = Tombstone::sign(key, chain, now, deleted);
    append(tx, chain, &[Record::new(now, Event::Tombstone(tombstone))]).await?;
    append_checkpoint(tx, chain, key, now).await?;
    Ok(())
}
