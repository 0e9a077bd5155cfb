//! The profile's file, and what lies beside it while a key changes.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::files;
use crate::profile::{NewKeys, Profile, with_keys};

/// Why keys cannot be stored.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the profile was not read from a file")]
    NoFile,
    #[error("{} belongs to another user", .0.display())]
    NotOurs(PathBuf),
    #[error("{} holds another key than the one in use: somebody has changed it", .0.display())]
    Changed(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

/// The profile's file. `FILE.next` holds a key pair that is not registered for sure, `FILE.previous` the profile from
/// before a change that the gateway was not heard after yet.
#[derive(Debug)]
pub(super) struct Store {
    file: PathBuf,
}

impl StoreError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoFile => "start the shim with a profile's file".to_owned(),
            Self::Changed(_) => "restart the shim, so that it uses what the file says".to_owned(),
            Self::NotOurs(_) | Self::Unwritable { .. } if cfg!(windows) => {
                "keys change only where the new one can be stored: put the profile into a folder of your own, e.g. \
                 Documents, and start the shim with that"
                    .to_owned()
            }
            Self::NotOurs(_) | Self::Unwritable { .. } => {
                "keys change only where the new one can be stored: put the profile into a folder of your own \
                 (`install -m 600 PROFILE ~/`), and start the shim with that"
                    .to_owned()
            }
        }
    }
}

impl Store {
    /// `file`: the file itself, not a link to it.
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The profile from before an unfinished change.
    pub(super) fn previous(&self) -> Option<Profile> {
        let text = files::read(&self.previous_file()).ok()??;
        Profile::parse(&text, "", String::new()).ok()
    }

    /// Stores a new key pair before it is asked for. It also shows whether there is room for what will follow.
    pub(super) fn prepare(&self, in_use: &StaticSecret, secret: &StaticSecret) -> Result<(), StoreError> {
        self.metadata()?;
        let keys = NewKeys { secret: Some(secret), ..NewKeys::default() };
        let text = self.edited(&self.text_of(in_use)?, &keys)?;
        self.write(&self.next_file(), &text, None)
    }

    /// Puts new keys into the file in place of `in_use`, which stays beside it.
    pub(super) fn install(&self, in_use: &StaticSecret, keys: &NewKeys<'_>) -> Result<(), StoreError> {
        let like = self.metadata()?;
        let text = self.text_of(in_use)?;
        self.write(&self.previous_file(), &text, None)?;
        self.write(&self.file, &self.edited(&text, keys)?, Some(&like))?;
        self.wipe(&self.next_file())
    }

    /// Takes over the identity of the gateway.
    pub(super) fn set_gateway(&self, in_use: &StaticSecret, gateway: PublicKey) -> Result<(), StoreError> {
        let (like, text) = (self.metadata()?, self.text_of(in_use)?);
        let keys = NewKeys { gateway: Some(gateway), ..NewKeys::default() };
        self.write(&self.file, &self.edited(&text, &keys)?, Some(&like))
    }

    /// Forgets a key pair that was prepared in vain, or by a process that has ended.
    pub(super) fn abandon(&self) -> Result<(), StoreError> {
        self.wipe(&self.next_file())
    }

    /// The gateway was heard under the keys in the file: those before are of no more use.
    pub(super) fn confirm(&self) -> Result<(), StoreError> {
        self.wipe(&self.previous_file())
    }

    /// The text with this key: the file's, or the one from before an unfinished change.
    fn text_of(&self, secret: &StaticSecret) -> Result<Zeroizing<String>, StoreError> {
        for path in [&self.file, &self.previous_file()] {
            let text = files::read(path);
            if let Some(text) =
                text.map_err(|source| StoreError::Unwritable { path: path.clone(), source })?
                && let Ok(profile) = Profile::parse(&text, "", String::new())
                && profile.secret.as_bytes() == secret.as_bytes()
            {
                return Ok(text);
            }
        }
        Err(StoreError::Changed(self.file.clone()))
    }

    fn edited(&self, text: &str, keys: &NewKeys<'_>) -> Result<Zeroizing<String>, StoreError> {
        with_keys(text, keys).map_err(|source| StoreError::Unwritable { path: self.file.clone(), source })
    }

    fn metadata(&self) -> Result<Metadata, StoreError> {
        let unwritable = |source| StoreError::Unwritable { path: self.file.clone(), source };
        let found = fs::symlink_metadata(&self.file).map_err(unwritable)?;
        if !files::is_ours(&found) {
            return Err(StoreError::NotOurs(self.file.clone()));
        }
        if !files::is_writable(&found) {
            return Err(unwritable(io::ErrorKind::PermissionDenied.into()));
        }
        Ok(found)
    }

    fn write(&self, path: &Path, text: &str, like: Option<&Metadata>) -> Result<(), StoreError> {
        files::replace(path, text, like)
            .map_err(|source| StoreError::Unwritable { path: path.to_owned(), source })
    }

    fn wipe(&self, path: &Path) -> Result<(), StoreError> {
        files::wipe(path).map_err(|source| StoreError::Unwritable { path: path.to_owned(), source })
    }

    fn next_file(&self) -> PathBuf {
        files::beside(&self.file, "next")
    }

    fn previous_file(&self) -> PathBuf {
        files::beside(&self.file, "previous")
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
