//! What Windows has of owners, modes and folders: access lists that a new file inherits from its folder. In a user's
//! profile they let that user in, and administrators.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a link itself instead of what it points to (`FILE_FLAG_OPEN_REPARSE_POINT` of `winbase.h`).
const OPEN_REPARSE_POINT: u32 = 0x0020_0000;

/// Opens no link, as a file.
pub(super) fn no_follow() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OPEN_REPARSE_POINT);
    options
}

pub(super) fn private() -> OpenOptions {
    OpenOptions::new()
}

/// A second name is given by those only who may write the file anyway.
pub(super) fn has_other_names(_found: &Metadata) -> bool {
    false
}

pub(crate) fn resemble(_file: &File, _like: &Metadata) -> io::Result<()> {
    Ok(())
}

/// NTFS keeps a journal of its names, and no program can ask for more.
pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// The access list decides, and shows when the file is written.
pub(crate) fn is_ours(_found: &Metadata) -> bool {
    true
}

pub(crate) fn is_writable(found: &Metadata) -> bool {
    !found.permissions().readonly()
}

/// There is no mode to tell.
pub(crate) fn open_to_others(_path: &Path) -> Option<u32> {
    None
}
