//! What can be wrong with the database, in words.

use std::{
    io,
    path::{Path, PathBuf},
};

use sqlx::migrate::MigrateError;

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
    #[error(
        "the newest writes to {0} lie in {0}-wal beside it, where they can only be read if that folder can be written to",
        .path.display()
    )]
    Unmerged { path: PathBuf },
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
            Self::Unmerged { .. } => {
                "copy the database and its `-wal` file together to a folder that you may write to, and read that copy"
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

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn from_driver(path: &Path, source: sqlx::Error) -> Self {
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
