//! The only writer of files with secrets: whole or not at all, readable by their owner alone.
//!
//! The content goes to a temporary file of mode 0600 in the same directory, is synced to disk, and only then takes
//! the real name. Whoever looks finds the old file or the new one, also after a power cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

use rand_core::{OsRng, RngCore};

/// What to do with a file that already has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail with [`io::ErrorKind::AlreadyExists`].
    Keep,
    Replace,
}

/// Writes `content` to `path`.
///
/// # Errors
/// The first failed step; `path` is then as it was before.
pub fn write_private(path: &Path, content: &[u8], existing: Existing) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = Temporary::create(directory, content)?;
    match existing {
        Existing::Replace => {
            keep_owner(&temporary.0, path)?;
            fs::rename(&temporary.0, path)?;
        }
        Existing::Keep => take_free_name(&temporary.0, path)?,
    }
    File::open(directory)?.sync_all()
}

/// A file of the gateway's user stays his when root replaces it.
fn keep_owner(temporary: &Path, replaced: &Path) -> io::Result<()> {
    let (new, old) = match fs::metadata(replaced) {
        Ok(old) => (fs::metadata(temporary)?, old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    chown(temporary, Some(old.uid()), Some(old.gid()))
}

/// Unlike a rename, a link fails when the name is taken, without a moment in between. File systems without links
/// (a USB stick) have that moment.
fn take_free_name(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(temporary, path),
        Ok(()) => Ok(()),
    }
}

/// A synced file under a random name, removed when dropped (unless it was renamed).
struct Temporary(PathBuf);

impl Temporary {
    fn create(directory: &Path, content: &[u8]) -> io::Result<Self> {
        let path = directory.join(format!(".vmsgate-{:016x}.tmp", OsRng.next_u64()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let temporary = Self(path);
        file.write_all(content)?;
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_may_read_it_and_nothing_else_remains() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");

        write_private(&path, b"one", Existing::Keep).unwrap();
        write_private(&path, b"two", Existing::Replace).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_replaced_file_keeps_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        write_private(&path, b"one", Existing::Keep).unwrap();
        let owner =
            if rustix::process::getuid().is_root() { 65534 } else { fs::metadata(&path).unwrap().uid() };
        chown(&path, Some(owner), None).unwrap();

        write_private(&path, b"two", Existing::Replace).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().uid(), owner);
    }

    #[test]
    fn a_kept_file_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        write_private(&path, b"one", Existing::Keep).unwrap();

        let error = write_private(&path, b"two", Existing::Keep).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
