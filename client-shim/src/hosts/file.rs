//! The hosts file itself.
//!
//! It is replaced as a whole by a new file that takes its name, so that whoever looks finds the old one or the new one,
//! also after a power cut. Where that cannot be (a file that is mounted by itself, as in containers; a folder that the
//! person may not write to), it is written in place.

#[cfg(unix)]
#[path = "file/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "file/windows.rs"]
mod platform;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use thiserror::Error;

use super::block::Block;
use super::edit::{self, Broken};
use crate::files;

/// The longest lists of blocked sites have a tenth of it.
const MAX_BYTES: u64 = 64 << 20;
/// How often somebody else may change the file while it is being changed.
const ATTEMPTS: usize = 5;

/// A hosts file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsFile {
    path: PathBuf,
}

/// Why it was left as it is.
#[derive(Debug, Error)]
pub enum HostsError {
    /// This person may not; an administrator may.
    #[error("you may not change {}", path.display())]
    Denied { path: PathBuf, source: io::Error },
    #[error("cannot change {}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("{} was left as it is", path.display())]
    Broken { path: PathBuf, source: Broken },
}

impl HostsFile {
    /// The one that this machine's resolver reads.
    pub fn of_this_machine() -> Self {
        Self { path: platform::path() }
    }

    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a block in, in place of the one that its profile had. Answers whether that changed anything.
    ///
    /// # Errors
    /// When the profile's block is broken, or the file cannot be changed. It is then as it was.
    pub fn apply(&self, block: &Block) -> Result<bool, HostsError> {
        self.change(|text| edit::put(text, block))
    }

    /// Takes the block of a profile out. Answers whether there was one.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn remove(&self, profile: &str) -> Result<bool, HostsError> {
        self.change(|text| edit::take_out(text, profile))
    }

    /// The profiles that have a block in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn profiles(&self) -> Result<Vec<String>, HostsError> {
        Ok(edit::profiles(&self.read().map_err(|error| self.failed(error))?))
    }

    /// Whether this person may change it, without changing anything.
    ///
    /// # Errors
    /// When not.
    pub fn expect_writable(&self) -> Result<(), HostsError> {
        match open(&self.path, false) {
            // Whether it can be made shows when there is something to put into it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            opened => opened.map(drop).map_err(|error| self.failed(error)),
        }
    }

    fn change(&self, edit: impl Fn(&[u8]) -> Result<Vec<u8>, Broken>) -> Result<bool, HostsError> {
        let failed = |error| self.failed(error);
        for _ in 0..ATTEMPTS {
            let before = self.read().map_err(failed)?;
            let after =
                edit(&before).map_err(|source| HostsError::Broken { path: self.path.clone(), source })?;
            if after == before {
                return Ok(false);
            }
            if self.replace(&before, &after).map_err(failed)? {
                return Ok(true);
            }
        }
        Err(failed(io::Error::other("other programs keep changing it")))
    }

    /// A file that is not there is an empty one.
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(text),
            file => file?.take(MAX_BYTES + 1).read_to_end(&mut text)?,
        };
        if text.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("it is larger than any hosts file"));
        }
        Ok(text)
    }

    /// Puts the new content in place of the old one. Answers false if the old one is no longer there.
    fn replace(&self, before: &[u8], after: &[u8]) -> io::Result<bool> {
        // Also where a new file could take the name: who may not write to this one is not to get around that.
        let mut file = open(&self.path, true)?;
        // A link stays one; the file behind it is replaced.
        let path = fs::canonicalize(&self.path)?;
        let new = match new_file(&path, &file.metadata()?, after) {
            Err(error) if is_full(&error) => return Err(error),
            new => new,
        };
        if self.read()? != before {
            return Ok(false);
        }
        let taken = new.and_then(|new| new.persist(&path).map_err(|error| error.error));
        match taken {
            Ok(_) => files::sync_folder(&path)?,
            Err(error) => {
                tracing::debug!(%error, "no new file can take the name: writing in place");
                write_in_place(&mut file, after)?;
            }
        }
        Ok(true)
    }

    fn failed(&self, source: io::Error) -> HostsError {
        let path = self.path.clone();
        match source.kind() {
            ErrorKind::PermissionDenied => HostsError::Denied { path, source },
            _ => HostsError::Unusable { path, source },
        }
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)
}

/// A synced file beside the other, with its content to be, its owner and its permissions.
fn new_file(path: &Path, like: &Metadata, content: &[u8]) -> io::Result<NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".hosts-").tempfile_in(folder)?;
    new.write_all(content)?;
    files::resemble(new.as_file(), like)?;
    platform::copy_labels(path, new.as_file())?;
    new.as_file().sync_all()?;
    Ok(new)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// A shorter content after a longer one: the rest is cut off last, so that no name is missing at any moment.
fn write_in_place(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
