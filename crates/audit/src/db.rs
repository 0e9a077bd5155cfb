//! The one database of a gateway: registry and audit log in the file `vmsgate.db`.
//!
//! Both live in one file so that a change of the registry and its administrative record are one transaction. SQL is
//! written once, for SQLite and PostgreSQL, over [`sqlx::Any`]: placeholders `$1`, and no column types but `BIGINT`
//! and `TEXT` (and, without a `NULL`, nothing else: `BOOLEAN` and `BYTEA` are read differently by the two).
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

use std::{
    borrow::Cow,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Any, AnyConnection, AnyPool, ConnectOptions, Connection, Row,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::{MigrateError, Migrator},
};

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
    file: FileIdentity,
}

/// Device and inode: which file it is, whatever its name is by now.
type FileIdentity = (u64, u64);

/// Kept in the header of the file (`PRAGMA application_id`), so that another program's database is recognised: "VMSG".
const APPLICATION_ID: i64 = 0x564d_5347;
/// One page of the smallest kind. SQLite takes less for a new database, but [`create_file`] never leaves less behind.
const SMALLEST: u64 = 512;
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
        match std::fs::metadata(&path) {
            Ok(meta) if !meta.is_file() => return Err(DbError::NotADatabase { path }),
            Ok(meta) if meta.len() < SMALLEST => return Err(DbError::Truncated { path, bytes: meta.len() }),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => match create {
                Create::No => return Err(DbError::Missing { path }),
                Create::Yes => create_file(&path).await?,
            },
            Err(e) => return Err(DbError::io(&path)(e)),
        }
        let db = Self::connect(path.into(), CONNECTIONS, BUSY_TIMEOUT).await?;
        db.migrate("audit", sqlx::migrate!()).await?;
        Ok(db)
    }

    /// A second pool on the same database, with one connection and its own patience with other writers.
    pub(crate) async fn dedicated(&self, busy_timeout: Duration) -> Result<Self, DbError> {
        Self::connect(Arc::clone(&self.path), 1, busy_timeout).await
    }

    /// Fails when the file was removed, moved or replaced since it was opened. SQLite would go on writing to a file
    /// that nobody can find any more.
    pub(crate) fn check_in_place(&self) -> Result<(), DbError> {
        match identity(&self.path) {
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

    /// Waits until every connection is closed; the write-ahead log is then merged into the file.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// Says what an error of the driver means for this database.
    pub fn explain(&self, error: sqlx::Error) -> DbError {
        DbError::from_driver(&self.path, error)
    }

    async fn connect(path: Arc<Path>, connections: u32, busy_timeout: Duration) -> Result<Self, DbError> {
        let options = connect_options(&path)?;
        let file = identity(&path).map_err(DbError::io(&path))?;
        // Alone first: a pool would try a bad file again and again and then say that it took too long.
        check(&options, busy_timeout, &path).await?;
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(30))
            .after_connect(move |connection, _| Box::pin(prepare(connection, busy_timeout)))
            .connect_with(options)
            .await
            .map_err(|e| DbError::from_driver(&path, e))?;
        Ok(Self { pool, path, file })
    }

    /// So that a reader of an up-to-date database never waits for a writer.
    async fn is_current(&self, table: &str, migrator: &Migrator) -> bool {
        let sql = sqlx::AssertSqlSafe(format!("SELECT version FROM {table} ORDER BY version"));
        let applied: Result<Vec<i64>, _> = sqlx::query_scalar(sql).fetch_all(&self.pool).await;
        applied.is_ok_and(|applied| applied.into_iter().eq(migrator.iter().map(|m| m.version)))
    }
}

/// Makes a complete database under a temporary name first: whoever finds the real name finds a whole file.
///
/// When another process was quicker, its file stays and is used.
async fn create_file(path: &Path) -> Result<(), DbError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // Closed at once: closing a second descriptor of an open database would release SQLite's locks on it.
    let temporary = tempfile::Builder::new()
        .prefix(".vmsgate-new-")
        .tempfile_in(directory)
        .map_err(DbError::io(path))?
        .into_temp_path();

    let fail = |e| DbError::from_driver(path, e);
    let mut connection = connect_options(&temporary)?.connect().await.map_err(fail)?;
    let header = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA journal_mode = WAL;");
    sqlx::raw_sql(sqlx::AssertSqlSafe(header)).execute(&mut connection).await.map_err(fail)?;
    connection.close().await.map_err(fail)?;

    match temporary.persist_noclobber(path) {
        Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => return Err(DbError::io(path)(e.error)),
        _ => {}
    }
    std::fs::File::open(directory).and_then(|d| d.sync_all()).map_err(DbError::io(directory))
}

fn connect_options(path: &Path) -> Result<AnyConnectOptions, DbError> {
    let text = path.to_str().ok_or_else(|| DbError::PathNotUnicode { path: path.to_owned() })?;
    let mut url = String::from("sqlite://");
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(char::from(byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url.push_str("?mode=rw");
    let options: AnyConnectOptions = url.parse().map_err(|e| DbError::from_driver(path, e))?;
    Ok(options.disable_statement_logging())
}

fn identity(path: &Path) -> io::Result<FileIdentity> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

async fn check(options: &AnyConnectOptions, busy_timeout: Duration, path: &Path) -> Result<(), DbError> {
    let fail = |e| DbError::from_driver(path, e);
    let mut connection = options.connect().await.map_err(fail)?;
    prepare(&mut connection, busy_timeout).await.map_err(fail)?;
    let row = sqlx::query("PRAGMA application_id").fetch_one(&mut connection).await;
    let id: i64 = row.and_then(|row| row.try_get(0)).map_err(fail)?;
    connection.close().await.map_err(fail)?;
    if id == APPLICATION_ID { Ok(()) } else { Err(DbError::Foreign { path: path.to_owned() }) }
}

async fn prepare(connection: &mut AnyConnection, busy_timeout: Duration) -> Result<(), sqlx::Error> {
    let settings = format!(
        "PRAGMA busy_timeout = {}; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        busy_timeout.as_millis()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(connection).await.map(drop)
}

/// What is wrong with the database. The message names the file; [`DbError::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("there is no database at {}", .path.display())]
    Missing { path: PathBuf },
    #[error("the database {} is truncated: only {bytes} bytes are left", .path.display())]
    Truncated { path: PathBuf, bytes: u64 },
    #[error("the database {} was removed or replaced while it was in use", .path.display())]
    Replaced { path: PathBuf },
    #[error("{} is not a database", .path.display())]
    NotADatabase { path: PathBuf },
    #[error("the database {} is damaged or truncated", .path.display())]
    Damaged { path: PathBuf, source: sqlx::Error },
    #[error("{} is the database of another program", .path.display())]
    Foreign { path: PathBuf },
    #[error(
        "the database {} was changed by a newer version of this program ({component} tables, migration {version})",
        .path.display()
    )]
    Newer { path: PathBuf, component: &'static str, version: i64 },
    #[error("the database {} cannot be written", .path.display())]
    ReadOnly { path: PathBuf, source: sqlx::Error },
    #[error("the database {} stayed locked by another writer", .path.display())]
    Busy { path: PathBuf, source: sqlx::Error },
    #[error("no room to write to the database {}", .path.display())]
    Full { path: PathBuf, source: sqlx::Error },
    #[error("the database {} cannot be opened", .path.display())]
    CannotOpen { path: PathBuf, source: sqlx::Error },
    #[error("the path {} is not valid UTF-8", .path.display())]
    PathNotUnicode { path: PathBuf },
    #[error("cannot access {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot bring the {component} tables of {} up to date", .path.display())]
    Migration { path: PathBuf, component: &'static str, source: MigrateError },
    #[error("the database {} refused a statement", .path.display())]
    Statement { path: PathBuf, source: sqlx::Error },
}

impl DbError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "name the right data directory with --data, or make one with `vmsgate-keys init`"
            }
            Self::Truncated { .. } => {
                "restore it from a backup; if there never was anything in it, remove the file and run `vmsgate-keys init`"
            }
            Self::Replaced { .. } => "put the file back, or restart the gateway to go on with the new one",
            Self::NotADatabase { .. } | Self::Foreign { .. } => "name the right data directory with --data",
            Self::Damaged { .. } => "keep the file for examination and restore the database from a backup",
            Self::Newer { .. } => {
                "run the newer version; the database of a newer version can't be used by an older one"
            }
            Self::ReadOnly { .. } | Self::CannotOpen { .. } | Self::Io { .. } => {
                "check the owner and the permissions of the file and its directory, and that its disk is mounted for writing"
            }
            Self::Busy { .. } => {
                "another vmsgate command holds the database: wait for it to end and try again"
            }
            Self::Full { .. } => "free room on the disk that holds the data directory",
            Self::PathNotUnicode { .. } => "choose a data directory with a plain name",
            Self::Migration { .. } | Self::Statement { .. } => {
                "check that the file was not edited by hand; if it was not, report this as a bug"
            }
        }
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }

    fn from_driver(path: &Path, source: sqlx::Error) -> Self {
        // The low byte of SQLite's extended result code is its primary code: https://www.sqlite.org/rescode.html
        let code = source.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<u32>().ok());
        let path = path.to_owned();
        if matches!(source, sqlx::Error::PoolTimedOut) {
            return Self::Busy { path, source };
        }
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Busy { path, source },
            Some(8) => Self::ReadOnly { path, source },
            Some(11) => Self::Damaged { path, source },
            Some(13) => Self::Full { path, source },
            Some(14) => Self::CannotOpen { path, source },
            Some(26) => Self::NotADatabase { path },
            _ => Self::Statement { path, source },
        }
    }
}
