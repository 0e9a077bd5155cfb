//! The SQLite file: making it, recognising it, connecting to it.

use std::{io, os::unix::fs::MetadataExt, path::Path, time::Duration};

use sqlx::{AnyConnection, ConnectOptions, Connection, Row, any::AnyConnectOptions};

use super::DbError;

/// Device and inode: which file it is, whatever its name is by now.
pub(super) type Identity = (u64, u64);

/// Kept in the header of the file (`PRAGMA application_id`), so that another program's database is recognised: "VMSG".
const APPLICATION_ID: i64 = 0x564d_5347;
/// One page of the smallest kind. SQLite takes less for a new database, but [`create`] never leaves less behind.
const SMALLEST: u64 = 512;

/// Whether there is a file that may be a database.
pub(super) fn exists(path: &Path) -> Result<bool, DbError> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Err(DbError::NotADatabase { path: path.to_owned() }),
        Ok(meta) if meta.len() < SMALLEST => {
            Err(DbError::Truncated { path: path.to_owned(), bytes: meta.len() })
        }
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(DbError::io(path)(e)),
    }
}

/// Makes a complete database under a temporary name first: whoever finds the real name finds a whole file.
///
/// When another process was quicker, its file stays and is used.
pub(super) async fn create(path: &Path) -> Result<(), DbError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // Closed at once: closing a second descriptor of an open database would release SQLite's locks on it.
    let temporary = tempfile::Builder::new()
        .prefix(".vmsgate-new-")
        .tempfile_in(directory)
        .map_err(DbError::io(path))?
        .into_temp_path();

    let fail = |e| DbError::from_driver(path, e);
    let mut connection = connect_options(&temporary, Access::Write)?.connect().await.map_err(fail)?;
    let header = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA journal_mode = WAL;");
    sqlx::raw_sql(sqlx::AssertSqlSafe(header)).execute(&mut connection).await.map_err(fail)?;
    connection.close().await.map_err(fail)?;

    match temporary.persist_noclobber(path) {
        Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => return Err(DbError::io(path)(e.error)),
        _ => {}
    }
    std::fs::File::open(directory).and_then(|d| d.sync_all()).map_err(DbError::io(directory))
}

/// How a connection may use the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
    /// Nobody writes to it, so that reading needs no lock files beside it.
    ReadUnchanging,
}

/// Whether there are writes beside the file that are not in it yet.
pub(super) fn has_write_ahead_log(path: &Path) -> bool {
    log_size(path).is_some_and(|bytes| bytes > 0)
}

/// Removes the empty write-ahead log that a reader alone makes and must leave behind. A connection for writing does so
/// under SQLite's own locks, when it is the last one to close; it may fail where nothing can be written.
pub(super) async fn remove_empty_log(path: &Path) {
    if log_size(path) != Some(0) {
        return;
    }
    let removed = async {
        let options = connect_options(path, Access::Write)?;
        let mut connection = options.connect().await.map_err(|e| DbError::from_driver(path, e))?;
        let looked = sqlx::query("SELECT 1 FROM sqlite_master").fetch_optional(&mut connection).await;
        let closed = connection.close().await;
        looked.and(closed).map_err(|e| DbError::from_driver(path, e))
    };
    if let Err(error) = removed.await {
        tracing::debug!(%error, "the empty write-ahead log stays beside the database");
    }
}

fn log_size(path: &Path) -> Option<u64> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).ok().map(|meta| meta.len())
}

pub(super) fn connect_options(path: &Path, access: Access) -> Result<AnyConnectOptions, DbError> {
    let text = path.to_str().ok_or_else(|| DbError::PathNotUnicode { path: path.to_owned() })?;
    let mut url = String::from("sqlite://");
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(char::from(byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url.push_str(match access {
        Access::Write => "?mode=rw",
        Access::Read => "?mode=ro",
        Access::ReadUnchanging => "?mode=ro&immutable=true",
    });
    let options: AnyConnectOptions = url.parse().map_err(|e| DbError::from_driver(path, e))?;
    Ok(options.disable_statement_logging())
}

pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

pub(super) async fn check(
    options: &AnyConnectOptions,
    busy_timeout: Duration,
    path: &Path,
) -> Result<(), DbError> {
    let fail = |e| DbError::from_driver(path, e);
    let mut connection = options.connect().await.map_err(fail)?;
    prepare(&mut connection, busy_timeout).await.map_err(fail)?;
    let row = sqlx::query("PRAGMA application_id").fetch_one(&mut connection).await;
    let id: i64 = row.and_then(|row| row.try_get(0)).map_err(fail)?;
    connection.close().await.map_err(fail)?;
    if id == APPLICATION_ID { Ok(()) } else { Err(DbError::Foreign { path: path.to_owned() }) }
}

pub(super) async fn prepare(
    connection: &mut AnyConnection,
    busy_timeout: Duration,
) -> Result<(), sqlx::Error> {
    let settings = format!(
        "PRAGMA busy_timeout = {}; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;",
        busy_timeout.as_millis()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(connection).await.map(drop)
}
