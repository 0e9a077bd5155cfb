//! The committed records of a database as one receiver of copies sees them, and how far it has been served.
//!
//! The place in each chain (the *cursor*) is kept in the database itself. It is moved after a receiver took the
//! records, so a crash in between sends them again: every record arrives at least once.

use crate::{
    chain::{Chain, Head, StoredEntry},
    db::Database,
    store::{self, StoreError, to_i64, to_u64},
};

/// One receiver's way into the log, with a connection of its own: a slow reader takes none from anybody else.
#[derive(Debug)]
pub struct Outbox {
    db: Database,
    shipper: String,
}

/// How long a cursor waits for other writers of SQLite. It can wait for the next time instead.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

impl Outbox {
    /// `shipper` is the name that the cursors are kept under.
    pub async fn open(db: &Database, shipper: &str) -> Result<Self, StoreError> {
        Ok(Self { db: db.dedicated(PATIENCE).await?, shipper: shipper.to_owned() })
    }

    /// The last record that the receiver took; 0 before the first.
    pub async fn cursor(&self, chain: &Chain) -> Result<u64, StoreError> {
        let seq: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM audit_cursor WHERE shipper = $1 AND chain = $2")
                .bind(self.shipper.as_str())
                .bind(chain.as_str())
                .fetch_optional(self.db.pool())
                .await
                .map_err(|e| self.db.explain(e))?;
        Ok(seq.map_or(0, to_u64))
    }

    /// Moves the cursors, all or none.
    pub async fn advance(&self, cursors: impl IntoIterator<Item = (&Chain, u64)>) -> Result<(), StoreError> {
        let mut tx = self.db.begin_write().await?;
        for (chain, seq) in cursors {
            sqlx::query(
                "INSERT INTO audit_cursor (shipper, chain, seq) VALUES ($1, $2, $3)
                 ON CONFLICT (shipper, chain) DO UPDATE SET seq = excluded.seq",
            )
            .bind(self.shipper.as_str())
            .bind(chain.as_str())
            .bind(to_i64(seq))
            .execute(&mut *tx)
            .await?;
        }
        Ok(self.db.commit(tx).await?)
    }

    pub async fn head(&self, chain: &Chain) -> Result<Head, StoreError> {
        store::head(&self.db, chain).await
    }

    /// Up to `limit` records of a chain after sequence number `after`, in order.
    pub async fn entries(
        &self,
        chain: &Chain,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        store::entries(&self.db, chain, after, limit).await
    }

    /// Waits until the connection is closed.
    pub async fn close(self) {
        self.db.close().await;
    }
}
