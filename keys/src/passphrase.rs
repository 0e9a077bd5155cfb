//! The passphrase that opens the keystore. It comes from a file or from the terminal, never from an argument
//! or an environment variable, which other users and crash reports can see.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// A passphrase in memory: wiped when dropped, invisible in `Debug`.
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// Fewer characters are guessed by machines in no time, whatever the key derivation costs.
const MIN_CHARACTERS: usize = 8;
const MAX_BYTES: usize = 1024;

impl Passphrase {
    /// # Errors
    /// [`PassphraseError`] for text that cannot be a passphrase.
    pub fn new(text: &[u8]) -> Result<Self, PassphraseError> {
        match text.len() {
            0 => Err(PassphraseError::Empty),
            1..=MAX_BYTES => Ok(Self(Zeroizing::new(text.to_vec()))),
            _ => Err(PassphraseError::TooLong),
        }
    }

    /// The first line of a file, without its end. Everything else in the file is ignored.
    pub fn from_file(path: &Path) -> Result<Self, PassphraseError> {
        let unreadable = |source| PassphraseError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        // Room for the longest passphrase and a line end, so that one that is too long is seen to be.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 2));
        file.take(MAX_BYTES as u64 + 2).read_to_end(&mut text).map_err(unreadable)?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Self::new(line)
            .map_err(|problem| PassphraseError::InFile { path: path.to_owned(), problem: problem.into() })
    }

    /// Whether it is good enough for a new keystore.
    pub fn check_strength(&self) -> Result<(), PassphraseError> {
        let characters = String::from_utf8_lossy(&self.0).chars().count();
        if characters < MIN_CHARACTERS { Err(PassphraseError::TooShort) } else { Ok(()) }
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    #[error("the passphrase is empty")]
    Empty,
    #[error("the passphrase is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the passphrase has fewer than {MIN_CHARACTERS} characters")]
    TooShort,
    #[error("cannot read the passphrase file {}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the passphrase file {} cannot be used", .path.display())]
    InFile {
        path: PathBuf,
        #[source]
        problem: Box<PassphraseError>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_text(text: &[u8]) -> Result<Passphrase, PassphraseError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Passphrase::from_file(file.path())
    }

    #[test]
    fn only_the_first_line_of_a_file_counts() {
        for text in ["correct horse", "correct horse\n", "correct horse\r\n", "correct horse\nmore\n"] {
            assert_eq!(from_text(text.as_bytes()).unwrap().as_bytes(), b"correct horse", "{text:?}");
        }
        assert_eq!(from_text(b" spaces count \n").unwrap().as_bytes(), b" spaces count ");
    }

    #[test]
    fn a_file_without_a_passphrase_is_named_in_the_error() {
        let empty = from_text(b"\nsecond line\n").unwrap_err();
        let huge = from_text(&vec![b'x'; 100_000]).unwrap_err();
        let missing = Passphrase::from_file(Path::new("/nowhere/passphrase")).unwrap_err();

        assert!(
            matches!(&empty, PassphraseError::InFile { problem, .. } if matches!(**problem, PassphraseError::Empty))
        );
        assert!(
            matches!(&huge, PassphraseError::InFile { problem, .. } if matches!(**problem, PassphraseError::TooLong))
        );
        assert_eq!(missing.to_string(), "cannot read the passphrase file /nowhere/passphrase");
    }

    #[test]
    fn a_new_passphrase_has_eight_characters() {
        let strong = |text: &str| Passphrase::new(text.as_bytes()).unwrap().check_strength().is_ok();

        assert!(!strong("seven77") && strong("eight888") && !strong("äöüßäöü"));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        assert_eq!(format!("{:?}", Passphrase::new(b"hunter22").unwrap()), "Passphrase(…)");
    }
}
