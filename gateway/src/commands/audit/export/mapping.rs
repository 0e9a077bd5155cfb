//! The file with the key and the table of pseudonyms.

use std::{fs, io, path::Path};

use vmsgate_audit::pseudonym::Pseudonyms;
use vmsgate_cli::{CliError, OrFail};
use vmsgate_keys::{Existing, write_private};
use zeroize::Zeroizing;

/// A mapping that exists, or a new one.
pub(super) fn load(path: &Path) -> Result<Pseudonyms, CliError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pseudonyms::generate()),
        Err(error) => return Err(error).or_user(format!("cannot read {}", path.display())),
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Pseudonyms::from_text(text).map_err(|error| {
        CliError::user(error)
            .context(format!("{} cannot be used and stays as it is", path.display()))
            .hint("name a mapping that an earlier export made, or a file that does not exist")
    })
}

pub(super) fn store(path: &Path, pseudonyms: &Pseudonyms) -> Result<(), CliError> {
    write_private(path, pseudonyms.to_text().as_bytes(), Existing::Replace)
        .or_user(format!("cannot write the mapping {}", path.display()))
}
