//! Files with secrets: whole or not at all, never through somebody else's link, and wiped when they are over.
//!
//! A content goes to a temporary file of mode 0600 in the same folder, is synced to disk, and only then takes its
//! name. Whoever looks finds the old file or the new one, also after a power cut.

#[cfg(unix)]
#[path = "files/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "files/windows.rs"]
mod platform;

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub(crate) use platform::{is_ours, is_writable, open_to_others, resemble};

/// No profile comes near it; a wrong file (a disk image, a log) is not read to its end.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Writes `content` to `path` in place of what is there. The owner and the mode are those of `like`, or ours and 0600.
///
/// # Errors
/// The first failed step; `path` is then as it was before.
pub(crate) fn replace(path: &Path, content: &str, like: Option<&Metadata>) -> io::Result<()> {
    let temporary = Temporary::create(path, content, like)?;
    fs::rename(&temporary.0, path)?;
    sync_folder(path)
}

/// Writes a new file of mode 0600.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if there is one of that name, or the first failed step.
pub(crate) fn create(path: &Path, content: &str) -> io::Result<()> {
    let temporary = Temporary::create(path, content, None)?;
    // Unlike a rename, a link fails when the name is taken. File systems without links (a USB stick) have a moment in
    // between.
    match fs::hard_link(&temporary.0, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) if fs::symlink_metadata(path).is_ok() => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(&temporary.0, path)?,
        Ok(()) => {}
    }
    sync_folder(path)
}

/// The text of a file of ours, if there is one.
///
/// # Errors
/// Also for a link, what is no file, and what is too large or no text.
pub(crate) fn read(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    let mut file = match platform::no_follow().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let bytes = read_bounded(&mut file)?.ok_or_else(|| io::Error::other("larger than 64 KiB"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| io::Error::other("not a text file (UTF-8)"))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// Reads to the end; none if that is too far away.
pub(crate) fn read_bounded(file: &mut File) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    // Room for all of it beforehand: a vector that grows would leave copies of the key behind.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut read = 0;
    while let Some(room) = bytes.get_mut(read..).filter(|room| !room.is_empty()) {
        match file.read(room)? {
            0 => {
                bytes.truncate(read);
                return Ok(Some(bytes));
            }
            count => read += count,
        }
    }
    Ok(None)
}

/// Overwrites a file and removes it. That it is gone from the medium too is more than a file system promises.
///
/// # Errors
/// When it cannot be removed. That there is none is no error.
pub(crate) fn wipe(path: &Path) -> io::Result<()> {
    match platform::no_follow().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
        Ok(mut file) => {
            let found = file.metadata()?;
            // A file with another name may be somebody else's, put here for us to overwrite.
            if found.is_file() && !platform::has_other_names(&found) {
                file.write_all(&vec![0; found.len().min(MAX_BYTES as u64) as usize])?;
                file.sync_all()?;
            }
        }
    }
    fs::remove_file(path)?;
    sync_folder(path)
}

/// `path` with an ending added to its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    path.with_file_name(name)
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    platform::sync_folder(folder.unwrap_or(Path::new(".")))
}

/// A synced file under a name of its own, removed when dropped (unless it was renamed).
struct Temporary(PathBuf);

impl Temporary {
    fn create(path: &Path, content: &str, like: Option<&Metadata>) -> io::Result<Self> {
        // Always the same name, so that what a killed process left behind does not stay.
        let temporary = beside(path, "tmp");
        wipe(&temporary)?;
        let mut file = platform::private().write(true).create_new(true).open(&temporary)?;
        let temporary = Self(temporary);
        file.write_all(content.as_bytes())?;
        if let Some(like) = like {
            platform::resemble(&file, like)?;
        }
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_nothing_else_remains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.conf");
        create(&path, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();

        replace(&path, "two", Some(&fs::metadata(&path).unwrap())).unwrap();

        assert_eq!(read(&path).unwrap().unwrap().as_str(), "two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(names(folder.path()), ["alice.conf"]);
    }

    #[test]
    fn a_new_file_takes_no_name_that_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.conf");
        create(&path, "one").unwrap();
        assert_eq!(create(&path, "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path).unwrap().unwrap().as_str(), "one");
        assert_eq!(names(folder.path()), ["alice.conf"]);
    }

    #[test]
    fn what_a_killed_process_left_behind_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.conf");
        fs::write(beside(&path, "tmp"), "half").unwrap();
        replace(&path, "whole", None).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_str(), "whole");
        assert_eq!(names(folder.path()), ["alice.conf"]);
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("alice.conf.next"));
        fs::write(&target, "somebody else's").unwrap();
        symlink(&target, &link).unwrap();
        read(&link).unwrap_err();
        wipe(&link).unwrap();
        symlink(&target, &link).unwrap();
        replace(&link, "ours", None).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"somebody else's");
    }

    #[test]
    fn a_wiped_file_is_gone_and_was_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.conf.previous");
        create(&path, "secret").unwrap();
        let mut opened = File::open(&path).unwrap();
        wipe(&path).unwrap();
        wipe(&path).unwrap();
        assert!(names(folder.path()).is_empty());
        assert_eq!(**read_bounded(&mut opened).unwrap().unwrap(), [0; 6]);
    }

    #[test]
    fn a_file_with_a_second_name_is_removed_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (other, path) = (folder.path().join("other"), folder.path().join("alice.conf.tmp"));
        fs::write(&other, "somebody else's").unwrap();
        fs::hard_link(&other, &path).unwrap();
        wipe(&path).unwrap();
        assert_eq!(names(folder.path()), ["other"]);
        assert_eq!(fs::read(&other).unwrap(), b"somebody else's");
    }
}
