//! The one database of a gateway: registry and audit log in the file `vmsgate.db`.
//!
//! Both live in one file so that a change of the registry and its administrative record are one transaction. SQL is
//! written once, for SQLite and PostgreSQL, over [`sqlx::Any`]: placeholders `$1`, and columns of the
//! types `BIGINT` and `TEXT` only, because the two databases do not agree on booleans, bytes and times.
//!
//! # Tables of other crates
//!
//! Every crate brings its own migrations and applies them under its own name:
//!
//! ```ignore
//! let db = Database::open(&data.join("vmsgate.db"), Create::No).await?; // audit tables are up to date after this
//! db.migrate("registry", sqlx::migrate!()).await?;                      // remembered in `_migrations_registry`
//! ```
//!
//! sqlx would keep all migrations in one table and take those of the other crate for missing; with a table per name
//! they do not see each other, and version numbers may repeat. All pending migrations of a call are one transaction.
//!
//! # Writing
//!
//! [`Database::begin_write`] takes SQLite's write lock at the start. A transaction that begins by reading and writes
//! later fails at once when another process wrote in between; this one waits its turn instead.

mod error;
mod file;

use std::{borrow::Cow, path::Path, sync::Arc, time::Duration};

use sqlx::{
    Any, AnyPool, Connection,
    any::AnyPoolOptions,
    migrate::{MigrateError, Migrator},
};

pub use error::DbError;
use file::Access;

/// A transaction that holds the write lock from its beginning. Dropping it undoes it.
pub type WriteTransaction = sqlx::Transaction<'static, Any>;

/// Whether [`Database::open`] may make a new database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// A missing file is an error.
    No,
    /// A missing file is made, readable by its owner only.
    Yes,
}

/// A pool of connections to one database. Clones share it.
#[derive(Debug, Clone)]
pub struct Database {
    pool: AnyPool,
    path: Arc<Path>,
    access: Access,
    file: file::Identity,
}

/// How long a writer waits for another before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers beside the one possible writer of SQLite.
const CONNECTIONS: u32 = 4;

impl Database {
    /// Opens the database and brings the audit tables up to date.
    ///
    /// # Errors
    /// [`DbError`] says what is wrong with the file and [`DbError::hint`] what to do.
    pub async fn open(path: &Path, create: Create) -> Result<Self, DbError> {
        sqlx::any::install_default_drivers();
        let path = std::path::absolute(path).map_err(DbError::io(path))?;
        if !file::exists(&path)? {
            match create {
                Create::No => return Err(DbError::Missing { path }),
                Create::Yes => file::create(&path).await?,
            }
        }
        let db = Self::connect(path.into(), Access::Write, CONNECTIONS, BUSY_TIMEOUT).await?;
        db.migrated("audit", sqlx::migrate!()).await
    }

    /// Opens the database as it is, for reading: nothing is migrated, and tables may be missing.
    ///
    /// Works beside a running gateway, and on a copy that lies where nothing can be written, provided that the copy is
    /// whole: without a `-wal` file beside it.
    ///
    /// # Errors
    /// [`DbError`] says what is wrong with the file and [`DbError::hint`] what to do.
    pub async fn open_read_only(path: &Path) -> Result<Self, DbError> {
        sqlx::any::install_default_drivers();
        let path: Arc<Path> = std::path::absolute(path).map_err(DbError::io(path))?.into();
        if !file::exists(&path)? {
            return Err(DbError::Missing { path: path.to_path_buf() });
        }
        match Self::connect(Arc::clone(&path), Access::Read, 1, BUSY_TIMEOUT).await {
            // SQLite cannot make its lock files.
            Err(DbError::CannotOpen { .. } | DbError::ReadOnly { .. }) => {
                if file::has_write_ahead_log(&path) {
                    return Err(DbError::Unmerged { path: path.to_path_buf() });
                }
                Self::connect(path, Access::ReadUnchanging, 1, BUSY_TIMEOUT).await
            }
            outcome => outcome,
        }
    }

    /// A second pool on the same database, with one connection and its own patience with other writers.
    pub(crate) async fn dedicated(&self, busy_timeout: Duration) -> Result<Self, DbError> {
        Self::connect(Arc::clone(&self.path), Access::Write, 1, busy_timeout).await
    }

    /// Fails when the file was removed, moved or replaced since it was opened. SQLite would go on writing to a file
    /// that nobody can find any more.
    pub(crate) fn check_in_place(&self) -> Result<(), DbError> {
        match file::identity(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            _ => Err(DbError::Replaced { path: self.path.to_path_buf() }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For reading. While somebody writes, readers see the state before.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a transaction that may write, waiting for other writers (10 s at most).
    pub async fn begin_write(&self) -> Result<WriteTransaction, DbError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.explain(e))
    }

    /// Commits, or says why not.
    pub async fn commit(&self, tx: WriteTransaction) -> Result<(), DbError> {
        tx.commit().await.map_err(|e| self.explain(e))
    }

    /// Applies what is pending of one crate's migrations; `component` names the crate's part of the database.
    ///
    /// # Errors
    /// [`DbError::Newer`] when a later version of the program has already changed these tables.
    pub async fn migrate(&self, component: &'static str, mut migrator: Migrator) -> Result<(), DbError> {
        let table = format!("_migrations_{component}");
        if self.is_current(&table, &migrator).await {
            return Ok(());
        }
        migrator.table_name = Cow::Owned(table);
        let mut tx = self.begin_write().await?;
        // Not `run`: its future is not `Send` when it borrows a transaction.
        migrator.run_direct(None, &mut *tx, false).await.map_err(|e| match e {
            MigrateError::VersionMissing(version) => {
                DbError::Newer { path: self.path.to_path_buf(), component, version }
            }
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => self.explain(e),
            other => DbError::Migration { path: self.path.to_path_buf(), component, source: other },
        })?;
        self.commit(tx).await
    }

    /// The database with its tables up to date, or closed in order.
    ///
    /// # Errors
    /// As for [`Database::migrate`].
    pub async fn migrated(self, component: &'static str, migrator: Migrator) -> Result<Self, DbError> {
        match self.migrate(component, migrator).await {
            Ok(()) => Ok(self),
            Err(error) => {
                self.close().await;
                Err(error)
            }
        }
    }

    /// Empties the write-ahead log into the file, so that what a committed change overwrote is in neither. While
    /// somebody reads it stays as it is until they are done; that is no failure.
    pub async fn forget_overwritten(&self) -> Result<(), DbError> {
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&self.pool).await;
        checkpoint.map(drop).map_err(|e| self.explain(e))
    }

    /// Waits until every connection is closed; the write-ahead log is then merged into the file, and nothing is left
    /// beside it, unless another process has it open.
    ///
    /// A reader leaves what was not merged before it came: a copy that is evidence stays as it is.
    pub async fn close(self) {
        self.pool.close().await;
        if self.access == Access::Read {
            file::remove_empty_log(&self.path).await;
        }
    }

    /// Says what an error of the driver means for this database.
    pub fn explain(&self, error: sqlx::Error) -> DbError {
        DbError::from_driver(&self.path, error)
    }

    async fn connect(
        path: Arc<Path>,
        access: Access,
        connections: u32,
        busy_timeout: Duration,
    ) -> Result<Self, DbError> {
        let options = file::connect_options(&path, access)?;
        let file = file::identity(&path).map_err(DbError::io(&path))?;
        // Alone first: a pool would try a bad file again and again and then say that it took too long.
        file::check(&options, busy_timeout, &path).await?;
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(move |connection, _| Box::pin(file::prepare(connection, busy_timeout)))
            // SQLite undoes a transaction by itself when there is no room, and the driver, which does not notice, would
            // take this connection for being inside it for ever.
            .before_acquire(|connection, _| {
                let usable = !connection.is_in_transaction();
                Box::pin(async move { Ok(usable) })
            })
            .connect_with(options)
            .await
            .map_err(|e| DbError::from_driver(&path, e))?;
        Ok(Self { pool, path, access, file })
    }

    /// So that a reader of an up-to-date database never waits for a writer.
    async fn is_current(&self, table: &str, migrator: &Migrator) -> bool {
        let sql = sqlx::AssertSqlSafe(format!("SELECT version FROM {table} ORDER BY version"));
        let applied: Result<Vec<i64>, _> = sqlx::query_scalar(sql).fetch_all(&self.pool).await;
        applied.is_ok_and(|applied| applied.into_iter().eq(migrator.iter().map(|m| m.version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_transaction_that_found_no_room_the_next_one_begins_as_ever() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open(&dir.path().join("vmsgate.db"), Create::Yes).await.unwrap();
        // One connection: whoever comes next gets the one that failed, or what replaces it.
        let db = db.dedicated(BUSY_TIMEOUT).await.unwrap();
        sqlx::query("PRAGMA max_page_count = 1").execute(db.pool()).await.unwrap();
        let mut tx = db.begin_write().await.unwrap();
        let large = sqlx::query("INSERT INTO audit_chain (chain, seq, hash) VALUES ('x', 0, $1)")
            .bind("x".repeat(1_000_000));
        let error = db.explain(large.execute(&mut *tx).await.unwrap_err());
        assert!(matches!(error, DbError::Full { .. }), "{error:?}");
        drop(tx);

        let tx = db.begin_write().await.unwrap();
        db.commit(tx).await.unwrap();
    }
}
