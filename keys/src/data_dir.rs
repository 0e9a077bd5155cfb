//! The data directory and how it comes to be.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use vmsgate_audit::{Create, Database, DbError};

use crate::{
    actor::Actor,
    atomic_file::Existing,
    keystore::{Keystore, KeystoreError},
    passphrase::Passphrase,
    registry::{Identity, Registry, RegistryError, Settings},
    seal::MasterKey,
};

/// Where an installation keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir(PathBuf);

/// An installation that was just made.
#[derive(Debug)]
pub struct Installation {
    pub registry: Registry,
    pub master: MasterKey,
    pub identity: Identity,
}

impl DataDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn keystore(&self) -> PathBuf {
        self.0.join("keystore")
    }

    pub fn database(&self) -> PathBuf {
        self.0.join("vmsgate.db")
    }

    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Makes a new installation: directory (0700), keystore, registry and the gateway's first identity.
    ///
    /// Nothing that exists is overwritten. The keystore is written before the registry refers to it; when the program
    /// is interrupted in between, a second attempt says that the directory is in use and nothing is lost.
    pub async fn initialise(
        &self,
        passphrase: &Passphrase,
        settings: &Settings,
        actor: &Actor,
    ) -> Result<Installation, InitError> {
        let directory = |source| InitError::Directory { path: self.0.clone(), source };
        if self.keystore().try_exists().map_err(directory)? {
            return Err(KeystoreError::Exists { path: self.keystore() }.into());
        }
        let (keystore, master) = Keystore::generate(passphrase)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(directory)?;
        let registry = Registry::within(Database::open(&self.database(), Create::Yes).await?).await?;
        match self.fill(&registry, (&keystore, &master), settings, actor).await {
            Ok(identity) => Ok(Installation { registry, master, identity }),
            Err(error) => {
                registry.close().await;
                Err(error)
            }
        }
    }

    async fn fill(
        &self,
        registry: &Registry,
        (keystore, master): (&Keystore, &MasterKey),
        settings: &Settings,
        actor: &Actor,
    ) -> Result<Identity, InitError> {
        let mut change = registry.change(actor).await?;
        let identity = change.initialise(settings, master).await?;
        keystore.write(&self.keystore(), Existing::Keep)?;
        change.commit().await?;
        Ok(identity)
    }
}

/// Why there is no new installation.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("cannot make the data directory {}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl InitError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Directory { .. } => "choose a directory that you may write to with --data".to_owned(),
            Self::Keystore(error) => error.hint().to_owned(),
            Self::Registry(error) => error.hint(),
            Self::Database(error) => error.hint().to_owned(),
        }
    }
}
