//! From a backup to an installation.
//!
//! The database is made in a directory of its own inside the data directory and opened there as a gateway would. Then
//! the keystore gets its place, and last, in one step, the database: before that step no command finds an installation,
//! after it all of it is there. Whoever was interrupted restores again.

use std::{
    fmt,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use tempfile::TempDir;
use vmsgate_audit::{Create, Database};

use super::{Backup, BackupError, OpenBackup};
use crate::{
    actor::Actor,
    atomic_file::{Existing, take_free_name},
    data_dir::DataDir,
    keystore::{Keystore, KeystoreError},
    registry::{Holdings, Registry, Restoration},
};

/// Who has a data directory already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// The installation that the backup is of.
    Same,
    Another,
    /// A keystore without a database, or a database that cannot be read.
    Remains,
}

/// The directory that a database is made in.
const SCRATCH: &str = ".vmsgate-restore-";

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Same => "holds this installation already",
            Self::Another => "holds another installation",
            Self::Remains => "holds the remains of an installation",
        })
    }
}

impl Backup {
    /// Who is in the way of restoring this into `data`; nobody when it is empty, or a restoration of this very backup
    /// was interrupted there.
    pub async fn occupant(&self, data: &DataDir) -> Option<Occupant> {
        let exists = |path: &Path| fs::symlink_metadata(path).is_ok();
        if exists(&data.database()) {
            return Some(match Registry::open_read_only(&data.database()).await {
                Ok(registry) => {
                    let identities = registry.all_identities().await;
                    registry.close().await;
                    identities.map_or(Occupant::Remains, |identities| {
                        let ours = |key: String| key == self.installation();
                        match identities.iter().any(|identity| ours(identity.public_key.to_string())) {
                            true => Occupant::Same,
                            false => Occupant::Another,
                        }
                    })
                }
                Err(_) => Occupant::Remains,
            });
        }
        // SQLite would take what lies beside the database for its newest writes.
        let beside = ["-wal", "-shm", "-journal"].iter().any(|end| {
            let mut path = data.database().into_os_string();
            path.push(end);
            exists(path.as_ref())
        });
        let other_keystore = match Keystore::read(&data.keystore()) {
            Ok(keystore) => keystore != *self.keystore(),
            Err(error) => !matches!(error, KeystoreError::Missing { .. }),
        };
        (beside || other_keystore).then_some(Occupant::Remains)
    }
}

impl OpenBackup {
    /// Makes the installation in `data`, which holds none.
    ///
    /// # Errors
    /// [`BackupError::Occupied`], and everything that can go wrong with the rows and the disk. Nothing of it is left then.
    pub async fn restore(&self, data: &DataDir, actor: &Actor) -> Result<Holdings, BackupError> {
        if let Some(occupant) = self.backup.occupant(data).await {
            return Err(BackupError::Occupied { path: data.path().to_owned(), occupant });
        }
        let failed = |source| BackupError::Directory { path: data.path().to_owned(), source };
        let existed = data.path().exists();
        DirBuilder::new().recursive(true).mode(0o700).create(data.path()).map_err(failed)?;
        remove_scratch(data.path()).map_err(failed)?;
        let restored = match scratch(Some(data.path())) {
            Ok(scratch) => self.restore_through(&scratch, data, actor).await,
            Err(error) => Err(error),
        };
        if restored.is_err() && !existed {
            // Only if it is empty.
            let _ = fs::remove_dir(data.path());
        }
        restored
    }

    /// Does all of that in a directory that is then removed.
    pub async fn rehearse(&self, actor: &Actor) -> Result<Holdings, BackupError> {
        let scratch = scratch(None)?;
        self.build(&DataDir::new(scratch.path()), actor).await
    }

    async fn restore_through(
        &self,
        scratch: &TempDir,
        data: &DataDir,
        actor: &Actor,
    ) -> Result<Holdings, BackupError> {
        let built = DataDir::new(scratch.path());
        let holdings = self.build(&built, actor).await?;
        let failed = |source| BackupError::Directory { path: data.path().to_owned(), source };
        if !data.keystore().exists() {
            self.backup.keystore().write(&data.keystore(), Existing::Keep)?;
        }
        File::open(built.database()).and_then(|file| file.sync_all()).map_err(failed)?;
        take_free_name(&built.database(), &data.database()).map_err(failed)?;
        File::open(data.path()).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok(holdings)
    }

    /// The database, complete, checked and closed.
    async fn build(&self, scratch: &DataDir, actor: &Actor) -> Result<Holdings, BackupError> {
        let db = Database::open(&scratch.database(), Create::Yes).await?;
        let registry = Registry::load(db, &self.dump).await?;
        let holdings = registry.open_everything(&self.master).await?;
        let mut change = registry.change(actor).await?;
        change.restored(
            &holdings.settings.name,
            &Restoration {
                backup: self.backup.checksum(),
                made: self.backup.made(),
                made_by: self.backup.made_by(),
                clients: holdings.clients,
                checkpoints: self.checkpoints(),
            },
        )?;
        change.commit().await?;
        registry.close().await;
        Ok(holdings)
    }
}

fn scratch(within: Option<&Path>) -> Result<TempDir, BackupError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(SCRATCH).permissions(Permissions::from_mode(0o700));
    let within = within.map_or_else(std::env::temp_dir, Path::to_owned);
    let made = builder.tempdir_in(&within);
    made.map_err(|source| BackupError::Directory { path: within, source })
}

/// What a killed restoration left.
fn remove_scratch(data: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(SCRATCH.as_bytes()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
