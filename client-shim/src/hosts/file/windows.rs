use std::env;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

pub(super) fn path() -> PathBuf {
    let root = env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    PathBuf::from(root).join(r"System32\drivers\etc\hosts")
}

/// A new file has the access list that the folder gives, as the old one.
pub(super) fn copy_labels(_from: &Path, _to: &File) -> io::Result<()> {
    Ok(())
}
