//! Why there is no backup, or none that can be restored. The caller says which file it is about.

use std::{io, path::PathBuf};

use vmsgate_audit::{DbError, StoreError};

use super::restore::Occupant;
use crate::{keystore::KeystoreError, registry::RegistryError};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("there is already a file of that name")]
    Exists,
    #[error("the file cannot be accessed")]
    Io(#[source] io::Error),
    #[error("it is not a backup")]
    NotABackup,
    #[error("it was made by a newer version of this program")]
    Newer,
    #[error("it is truncated, or it was edited")]
    Damaged,
    #[error("it is larger than the 256 MiB that a backup may have")]
    TooLarge,
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    #[error("its rows cannot be read")]
    Content(#[source] serde_json::Error),
    #[error("the data directory {} {occupant}", .path.display())]
    Occupied { path: PathBuf, occupant: Occupant },
    #[error("cannot write to {}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Keystore(KeystoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("cannot write the administrative record")]
    Record(#[from] StoreError),
}

impl BackupError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Exists => "nothing was written; name a new file".to_owned(),
            Self::Io(_) => "check the name, the permissions and the room on the disk".to_owned(),
            Self::NotABackup => "name a file that `vmsgate-keys backup` wrote".to_owned(),
            Self::Newer => "nothing was changed; use that version or a later one".to_owned(),
            Self::Damaged | Self::Content(_) => "nothing was changed; use another copy of it".to_owned(),
            Self::TooLarge => "check that it is the right file".to_owned(),
            Self::WrongPassphrase => {
                "nothing was changed; a backup opens with the passphrase that the keystore had when it was made"
                    .to_owned()
            }
            Self::Occupied { .. } => {
                "nothing was changed; name an empty directory with --data, or move `keystore` and everything that \
                 begins with `vmsgate.db` elsewhere first"
                    .to_owned()
            }
            Self::Directory { .. } => {
                "name a directory that you may write to, on a disk with room: with --data, or for a dry run TMPDIR"
                    .to_owned()
            }
            Self::Keystore(error) => error.hint().to_owned(),
            Self::Registry(error) => error.hint(),
            Self::Database(error) | Self::Record(StoreError::Database(error)) => error.hint().to_owned(),
            Self::Record(_) => "nothing was changed; `vmsgate audit verify` tells more".to_owned(),
        }
    }
}

impl From<KeystoreError> for BackupError {
    fn from(error: KeystoreError) -> Self {
        match error {
            KeystoreError::WrongPassphrase => Self::WrongPassphrase,
            other => Self::Keystore(other),
        }
    }
}
