//! From a backup to an installation.
//!
//! Both files are made in a directory of their own inside the data directory and opened there as a gateway would. Then
//! the keystore gets its place, and last, in one step, the database: before that step no command finds an installation,
//! after it all of it is there. Whoever was interrupted restores again.

use std::{
    fmt,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use tempfile::{TempDir, TempPath};
use vmsgate_audit::{Create, Database};

use super::{Backup, BackupError, OpenBackup};
use crate::{
    actor::Actor,
    atomic_file::Existing,
    data_dir::DataDir,
    keystore::{Keystore, KeystoreError},
    registry::{Holdings, Identity, Registry, RegistryError, Restoration},
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

/// The directory that an installation is made in.
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
            return Some(self.whose(&data.database()).await.unwrap_or(Occupant::Remains));
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

    async fn whose(&self, database: &Path) -> Result<Occupant, RegistryError> {
        let registry = Registry::open_read_only(database).await?;
        let identities = registry.all_identities().await;
        registry.close().await;
        // Identities are never deleted.
        let ours = |identity: &Identity| identity.public_key.to_string() == self.installation();
        Ok(if identities?.iter().any(ours) { Occupant::Same } else { Occupant::Another })
    }
}

impl OpenBackup {
    /// Makes the installation in `data`, which holds none.
    ///
    /// # Errors
    /// [`BackupError::Occupied`], and everything that can go wrong with the rows and the disk. What is left then is no
    /// installation.
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
            place(&built.keystore(), &data.keystore()).map_err(failed)?;
        }
        place(&built.database(), &data.database()).map_err(failed)?;
        Ok(holdings)
    }

    /// Keystore and database, complete, checked and closed.
    async fn build(&self, scratch: &DataDir, actor: &Actor) -> Result<Holdings, BackupError> {
        self.backup.keystore().write(&scratch.keystore(), Existing::Keep)?;
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

/// Moves a file to a name that is free, for good.
fn place(file: &Path, name: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    TempPath::try_from_path(file)?.persist_noclobber(name)?;
    name.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
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
