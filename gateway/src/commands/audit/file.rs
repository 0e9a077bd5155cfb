//! Files that a command writes: whole or not at all, never over another.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use tempfile::NamedTempFile;
use vmsgate_cli::{CliError, OrFail};

/// A file under a temporary name, readable by its owner alone.
#[derive(Debug)]
pub(super) struct NewFile<'a> {
    out: BufWriter<NamedTempFile>,
    path: &'a Path,
}

impl<'a> NewFile<'a> {
    pub(super) fn create(path: &'a Path) -> Result<Self, CliError> {
        if path.exists() {
            return Err(exists(path));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new().prefix(".vmsgate-").tempfile_in(directory);
        let file = file.or_user(format!("cannot write into {}", directory.display()))?;
        Ok(Self { out: BufWriter::new(file), path })
    }

    /// Gives the file its name.
    pub(super) fn keep(self) -> Result<(), CliError> {
        let Self { out, path } = self;
        let cannot = || format!("cannot write {}", path.display());
        let file = out.into_inner().map_err(io::IntoInnerError::into_error).or_unexpected(cannot())?;
        file.as_file().sync_all().or_unexpected(cannot())?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
            Err(error) => Err(error.error).or_unexpected(cannot()),
        }
    }
}

impl Write for NewFile<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.out.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn exists(path: &Path) -> CliError {
    CliError::user(format!("{} exists already", path.display())).hint("name another file, or remove this one")
}
