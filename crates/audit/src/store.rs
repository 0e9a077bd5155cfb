//! Appending to a chain and reading it back, one transaction at a time.

use sqlx::{AnyConnection, Row, any::AnyRow};

use crate::{
    chain::{Chain, Hash, Head, StoredEntry},
    checkpoint::Checkpoint,
    db::{Database, DbError, WriteTransaction},
    event::{Admin, Event},
    index,
    record::{Entry, Record},
    signing::SigningKey,
    time::UtcTime,
};

const CHECKPOINT_KIND: &str = "audit.checkpoint";

/// Appends records to a chain within the caller's transaction and returns the new head.
///
/// Writers of one chain take turns: the first statement locks the chain's head until the transaction ends, so a sequence
/// number is never given twice.
///
/// # Errors
/// [`StoreError`]; the transaction is then to be dropped.
pub async fn append(
    tx: &mut WriteTransaction,
    chain: &Chain,
    records: &[Record],
) -> Result<Head, StoreError> {
    let mut head = lock_head(tx, chain).await?;
    for record in records {
        let entry = Entry { chain: chain.clone(), seq: head.seq + 1, record: record.clone() };
        let text = entry.to_text();
        head = head.extended_by(&text);
        insert_record(tx, &entry, &text, head.hash).await?;
        index::follow(tx, &entry).await?;
    }
    sqlx::query("UPDATE audit_chain SET seq = $1, hash = $2 WHERE chain = $3")
        .bind(to_i64(head.seq))
        .bind(head.hash.to_string())
        .bind(chain.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(head)
}

/// Appends one administrative act that is no change of the registry, in a transaction of its own.
pub async fn append_act(db: &Database, act: Admin, time: UtcTime) -> Result<(), StoreError> {
    let mut tx = db.begin_write().await?;
    append(&mut tx, &Chain::admin(), &[Record::new(time, Event::Admin(act))]).await?;
    Ok(db.commit(tx).await?)
}

/// Appends a signed checkpoint, unless the chain is empty or already ends in one.
pub(crate) async fn append_checkpoint(
    tx: &mut WriteTransaction,
    chain: &Chain,
    key: &SigningKey,
    now: UtcTime,
) -> Result<(), StoreError> {
    let last = sqlx::query_scalar::<_, String>(
        "SELECT kind FROM audit_record WHERE chain = $1 ORDER BY seq DESC LIMIT 1",
    );
    let last = last.bind(chain.as_str()).fetch_optional(&mut **tx).await?;
    if last.is_none_or(|kind| kind == CHECKPOINT_KIND) {
        return Ok(());
    }
    let head = lock_head(tx, chain).await?;
    let checkpoint = Event::Checkpoint(Checkpoint::sign(key, chain, head, now));
    append(tx, chain, &[Record::new(now, checkpoint)]).await.map(drop)
}

/// The last record of a chain, or its genesis while it is empty.
pub async fn head(db: &Database, chain: &Chain) -> Result<Head, StoreError> {
    let row = sqlx::query("SELECT seq, hash FROM audit_chain WHERE chain = $1")
        .bind(chain.as_str())
        .fetch_optional(db.pool())
        .await
        .map_err(|e| db.explain(e))?;
    row.map_or(Ok(chain.genesis()), |row| read_head(chain, &row))
}

/// Up to `limit` entries of a chain after sequence number `after`, in order.
pub async fn entries(
    db: &Database,
    chain: &Chain,
    after: u64,
    limit: u32,
) -> Result<Vec<StoredEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT seq, body, hash FROM audit_record WHERE chain = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(chain.as_str())
    .bind(to_i64(after))
    .bind(i64::from(limit))
    .fetch_all(db.pool())
    .await
    .map_err(|e| db.explain(e))?;
    let read = |row: &AnyRow| {
        Ok(StoredEntry {
            seq: to_u64(row.try_get("seq")?),
            text: row.try_get("body")?,
            hash: row.try_get("hash")?,
        })
    };
    rows.iter().map(read).collect()
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("the audit log refused a statement")]
    Statement(#[from] sqlx::Error),
    #[error("the head of audit chain `{chain}` is not a sequence number and a hash")]
    MalformedHead { chain: String },
    #[error("the hash of record {seq} is none")]
    MalformedHash { seq: u64 },
    #[error("the public audit key in the database is unreadable")]
    MalformedKey,
    #[error("cannot start the audit writer")]
    Thread(#[source] std::io::Error),
}

pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

async fn lock_head(tx: &mut AnyConnection, chain: &Chain) -> Result<Head, StoreError> {
    let genesis = chain.genesis();
    sqlx::query(
        "INSERT INTO audit_chain (chain, seq, hash) VALUES ($1, 0, $2) ON CONFLICT (chain) DO NOTHING",
    )
    .bind(chain.as_str())
    .bind(genesis.hash.to_string())
    .execute(&mut *tx)
    .await?;
    // An update, because a row that was updated stays locked until the end of the transaction in both databases.
    let row = sqlx::query("UPDATE audit_chain SET seq = seq WHERE chain = $1 RETURNING seq, hash")
        .bind(chain.as_str())
        .fetch_one(&mut *tx)
        .await?;
    read_head(chain, &row)
}

fn read_head(chain: &Chain, row: &AnyRow) -> Result<Head, StoreError> {
    let malformed = || StoreError::MalformedHead { chain: chain.as_str().to_owned() };
    let seq = u64::try_from(row.try_get::<i64, _>("seq")?).map_err(|_| malformed())?;
    let hash: Hash = row.try_get::<String, _>("hash")?.parse().map_err(|_| malformed())?;
    Ok(Head { seq, hash })
}

async fn insert_record(
    tx: &mut AnyConnection,
    entry: &Entry,
    text: &str,
    hash: Hash,
) -> Result<(), sqlx::Error> {
    let event = &entry.record.event;
    let session = event.session();
    sqlx::query(
        "INSERT INTO audit_record (chain, seq, time_ms, kind, session, client, operator, server, body, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(entry.chain.as_str())
    .bind(to_i64(entry.seq))
    .bind(entry.record.time.unix_ms())
    .bind(event.kind().as_str().to_owned())
    .bind(session.map(|s| s.id.to_string()))
    .bind(client_of(event))
    .bind(session.map(|s| s.operator.as_str().to_owned()))
    .bind(event.destination().map(index::server_key))
    .bind(text)
    .bind(hash.to_string())
    .execute(tx)
    .await
    .map(drop)
}

fn client_of(event: &Event) -> Option<String> {
    let client = match event {
        Event::HandshakeRejected(rejected) => rejected.client.as_ref(),
        other => other.session().map(|session| &session.client),
    };
    client.map(|name| name.as_str().to_owned())
}
