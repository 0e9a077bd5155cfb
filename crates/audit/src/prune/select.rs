//! Which records of a chain may go.

use sqlx::{Any, Row as _, any::AnyArguments, query::Query};

use crate::{
    chain::{Chain, Hash},
    db::Database,
    index::OPEN,
    retention::{Class, Cutoffs},
    store::{StoreError, to_i64, to_u64},
    text::Label,
    time::UtcTime,
    tombstone::{DeletedRange, Tombstone},
};

/// Records of one transaction. Deleting so many takes some 100 ms on an ordinary disk.
const BATCH: i64 = 4000;

/// What of one chain may go.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) chain: Chain,
    /// Nothing from here on: the last checkpoint.
    end: u64,
    /// Everything before it goes, checkpoints and tombstones too.
    first_kept: u64,
    cutoffs: Cutoffs,
}

/// A record that may go.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) seq: u64,
    pub(super) kind: Label,
    pub(super) time: UtcTime,
    pub(super) hash: Hash,
    /// The row of the index that this record, the last of its session or flow, is behind.
    pub(super) listed: Option<Listed>,
}

#[derive(Debug)]
pub(super) struct Listed {
    pub(super) session: String,
    pub(super) flow: Option<i64>,
}

/// Whether the time of record `r` is over. Those that the proof of others leans on are no matter of time alone. A closing record waits for its opening one: otherwise what is closed would
/// look open.
const OVER: &str = "
    CASE WHEN r.kind IN ('audit.checkpoint', 'audit.tombstone') THEN 0
    WHEN r.kind IN ('session.opened', 'session.roamed') THEN r.time_ms < $4 AND NOT EXISTS
        (SELECT 1 FROM audit_session i WHERE i.session = r.session AND i.ended_ms = $16)
    WHEN r.kind = 'session.limited' THEN r.time_ms < $4
    WHEN r.kind = 'session.closed' THEN r.time_ms < $4 AND json_extract(r.body, '$.opened') < $5
    WHEN r.kind = 'flow.opened' THEN r.time_ms < $6 AND NOT EXISTS
        (SELECT 1 FROM audit_flow i WHERE i.session = r.session
            AND i.flow = json_extract(r.body, '$.flow.id') AND i.ended_ms = $16)
    WHEN r.kind = 'flow.closed' THEN r.time_ms < $6 AND json_extract(r.body, '$.opened') < $7
    WHEN r.kind = 'flow.denied' THEN r.time_ms < $8
    WHEN r.kind = 'handshake.rejected' THEN r.time_ms < $10
    WHEN substr(r.kind, 1, 6) = 'admin.' THEN r.time_ms < $12
    ELSE r.time_ms < $14 END";

impl Scope {
    /// What may go of `chain`, of which everything before the checkpoint `end` is proven.
    pub(super) async fn new(
        db: &Database,
        chain: Chain,
        end: u64,
        cutoffs: &Cutoffs,
    ) -> Result<Self, StoreError> {
        let mut scope = Self { chain, end, first_kept: 0, cutoffs: *cutoffs };
        let sql = format!(
            "SELECT r.seq FROM audit_record r WHERE r.chain = $1 AND r.seq > $2 AND r.seq < $3
                AND NOT CASE WHEN r.kind IN ('audit.checkpoint', 'audit.tombstone') THEN r.time_ms < $14 ELSE {OVER} END
             ORDER BY r.seq LIMIT 1"
        );
        let row = scope.bind(sqlx::query(sqlx::AssertSqlSafe(sql)), 0).fetch_optional(db.pool()).await;
        let row = row.map_err(|e| db.explain(e))?;
        scope.first_kept = row.map_or(Ok(end), |row| row.try_get(0).map(to_u64))?;
        Ok(scope)
    }

    /// The next records after number `after` that may go; none when there are no more.
    pub(super) async fn next(&self, db: &Database, after: u64) -> Result<Vec<Candidate>, StoreError> {
        let sql = format!(
            "SELECT r.seq, r.kind, r.time_ms, r.hash, r.session, CASE WHEN r.kind = 'flow.closed'
                THEN json_extract(r.body, '$.flow.id') END AS flow
             FROM audit_record r WHERE r.chain = $1 AND r.seq > $2 AND r.seq < $3
                AND (r.seq < $17 OR ({OVER})) ORDER BY r.seq LIMIT {BATCH}"
        );
        let query = self.bind(sqlx::query(sqlx::AssertSqlSafe(sql)), after).bind(to_i64(self.first_kept));
        let rows = query.fetch_all(db.pool()).await.map_err(|e| db.explain(e))?;
        let mut candidates = Vec::with_capacity(rows.len());
        let mut ranges = 0;
        for row in rows {
            let seq = to_u64(row.try_get("seq")?);
            let kind: String = row.try_get("kind")?;
            let hash: String = row.try_get("hash")?;
            let session: Option<String> = row.try_get("session")?;
            let flow: Option<i64> = row.try_get("flow")?;
            let is_last = matches!(kind.as_str(), "session.closed" | "flow.closed");
            let continues = candidates.last().is_some_and(|last: &Candidate| last.seq + 1 == seq);
            ranges += usize::from(!continues);
            if ranges > Tombstone::MAX_RANGES {
                break;
            }
            candidates.push(Candidate {
                seq,
                kind: Label::new(&kind),
                time: UtcTime::from_unix_ms(row.try_get("time_ms")?),
                hash: hash.parse().map_err(|_| StoreError::MalformedHash { seq })?,
                listed: session.filter(|_| is_last).map(|session| Listed { session, flow }),
            });
        }
        Ok(candidates)
    }

    /// The gaps that deleting these leaves. The one at the beginning of the chain takes in all earlier ones, whose
    /// tombstones may be among what goes.
    pub(super) fn ranges(&self, candidates: &[Candidate]) -> Vec<DeletedRange> {
        let (from_start, scattered) =
            candidates.split_at(candidates.partition_point(|candidate| candidate.seq < self.first_kept));
        let beginning =
            from_start.last().map(|last| DeletedRange { first: 1, last: last.seq, hash: last.hash });
        let runs = scattered.chunk_by(|a, b| a.seq + 1 == b.seq);
        let others = runs.filter_map(|run| {
            let (first, last) = (run.first()?, run.last()?);
            Some(DeletedRange { first: first.seq, last: last.seq, hash: last.hash })
        });
        beginning.into_iter().chain(others).collect()
    }

    /// The values of `$1` to `$16`: times come twice, as numbers and as records write them.
    fn bind<'q>(&self, query: Query<'q, Any, AnyArguments>, after: u64) -> Query<'q, Any, AnyArguments> {
        let mut query = query.bind(self.chain.as_str().to_owned()).bind(to_i64(after)).bind(to_i64(self.end));
        for class in
            [Class::Sessions, Class::Flows, Class::Denials, Class::Handshakes, Class::Admin, Class::Gateway]
        {
            // Nothing is older than 1970, so that everything of this class stays.
            let cutoff = self.cutoffs.of(class).unwrap_or(UtcTime::from_unix_ms(0));
            query = query.bind(cutoff.unix_ms()).bind(cutoff.to_string());
        }
        query.bind(OPEN)
    }
}
