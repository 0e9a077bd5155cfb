//! Owners, modes and folders, as Unix has them.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens no link, and does not wait for the other end of a pipe.
pub(super) fn no_follow() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options
}

/// Makes files that nobody else can read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Whether the file has a second name, which may be somebody else's.
pub(super) fn has_other_names(found: &Metadata) -> bool {
    found.nlink() != 1
}

/// Gives a file of ours the owner and the mode of another.
pub(crate) fn resemble(file: &File, like: &Metadata) -> io::Result<()> {
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(like.mode() & 0o777))
}

/// Makes the names in a folder last over a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether a file belongs to the user of this process, or to anybody where that is root.
pub(crate) fn is_ours(found: &Metadata) -> bool {
    let user = rustix::process::geteuid();
    user.is_root() || found.uid() == user.as_raw()
}

/// Whether its owner lets himself write it.
pub(crate) fn is_writable(found: &Metadata) -> bool {
    found.mode() & 0o200 != 0
}

/// The mode of a file that others than the owner can read or change.
pub(crate) fn open_to_others(path: &Path) -> Option<u32> {
    let found = path.metadata().ok().filter(Metadata::is_file)?;
    let mode = found.permissions().mode() & 0o777;
    (mode & 0o066 != 0).then_some(mode)
}
