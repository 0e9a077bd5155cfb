//! The file `keystore`: the master key, sealed under a passphrase.
//!
//! ```text
//! vmsgate-keystore 1
//! argon2id m=65536 t=3 p=1
//! salt 3q2+7wAAAAAAAAAAAAAAAA==
//! nonce AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
//! sealed …64 characters…
//! check 6b86b273ff34fce1
//! ```
//!
//! The first line carries the version of the format. The passphrase, the salt and the parameters give a key (see
//! `kdf`); that key seals the master key with XChaCha20-Poly1305, bound to all lines above, so that nobody can
//! weaken the parameters. `check` is the start of a SHA-256 over the lines above it: it tells a damaged file from a
//! wrong passphrase and protects nothing. A new passphrase re-seals the master key; the registry stays as it is.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    atomic_file::{Existing, write_private},
    kdf::{KdfParams, SALT_BYTES},
    passphrase::Passphrase,
    seal::{MasterKey, NONCE_BYTES, TAG_BYTES, decrypt, encrypt},
};

/// A keystore that was read, not yet opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keystore {
    params: KdfParams,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    sealed: [u8; SEALED_BYTES],
}

const SEALED_BYTES: usize = 32 + TAG_BYTES;
const HEADER: &str = "vmsgate-keystore 1";
const VERSIONLESS_HEADER: &str = "vmsgate-keystore ";
/// The file has about 200 bytes; nobody else's file shall be read into memory.
const MAX_FILE_BYTES: u64 = 4096;

impl Keystore {
    /// A keystore with a new master key.
    pub fn generate(passphrase: &Passphrase) -> Result<(Self, MasterKey), KeystoreError> {
        let master = MasterKey::generate();
        Ok((Self::seal(&master, passphrase)?, master))
    }

    /// A keystore with the same master key under another passphrase.
    pub fn seal(master: &MasterKey, passphrase: &Passphrase) -> Result<Self, KeystoreError> {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        OsRng.fill_bytes(&mut salt);
        OsRng.fill_bytes(&mut nonce);
        let mut keystore = Self { params: KdfParams::STANDARD, salt, nonce, sealed: [0; SEALED_BYTES] };
        let key = keystore.derive(passphrase)?;
        let sealed = encrypt(&key, &nonce, master.as_bytes(), keystore.lines_to_bind().as_bytes());
        keystore.sealed.copy_from_slice(&sealed);
        Ok(keystore)
    }

    /// # Errors
    /// [`KeystoreError::WrongPassphrase`] when the passphrase does not fit.
    pub fn open(&self, passphrase: &Passphrase) -> Result<MasterKey, KeystoreError> {
        let key = self.derive(passphrase)?;
        decrypt(&key, &self.nonce, &self.sealed, self.lines_to_bind().as_bytes())
            .map(MasterKey::from_bytes)
            .map_err(|_| KeystoreError::WrongPassphrase)
    }

    /// # Errors
    /// [`KeystoreError::Missing`], [`KeystoreError::Io`] and everything that a changed file can be.
    pub fn read(path: &Path) -> Result<Self, KeystoreError> {
        let file = File::open(path).map_err(|error| KeystoreError::io(path, error))?;
        let mut text = String::new();
        match file.take(MAX_FILE_BYTES).read_to_string(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Problem::NotAKeystore),
            Err(error) => return Err(KeystoreError::io(path, error)),
            Ok(_) => Self::parse(&text),
        }
        .map_err(|problem| KeystoreError::Unusable { path: path.to_owned(), problem })
    }

    /// # Errors
    /// [`KeystoreError::Exists`] when there is a file that shall be kept, [`KeystoreError::Io`].
    pub fn write(&self, path: &Path, existing: Existing) -> Result<(), KeystoreError> {
        write_private(path, self.to_text().as_bytes(), existing)
            .map_err(|error| KeystoreError::io(path, error))
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// [`Problem`], for everything that `to_text` would not have written.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut lines = text.lines();
        match lines.next() {
            Some(HEADER) => {}
            Some(line) if line.starts_with(VERSIONLESS_HEADER) => return Err(Problem::Version),
            _ => return Err(Problem::NotAKeystore),
        }
        let mut field = |name: &str| {
            let rest =
                lines.next().and_then(|line| line.strip_prefix(name)).and_then(|rest| rest.strip_prefix(' '));
            rest.ok_or(Problem::Damaged)
        };
        let keystore = Self {
            params: parse_params(field("argon2id")?)?,
            salt: parse_bytes(field("salt")?)?,
            nonce: parse_bytes(field("nonce")?)?,
            sealed: parse_bytes(field("sealed")?)?,
        };
        // Whatever differs from what we would have written was written by somebody else.
        if keystore.to_text() != text {
            return Err(Problem::Damaged);
        }
        if keystore.params.is_reasonable() { Ok(keystore) } else { Err(Problem::Parameters) }
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let lines = format!("{}sealed {}\n", self.lines_to_bind(), STANDARD.encode(self.sealed));
        let digest = Sha256::digest(&lines);
        let check: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{lines}check {check}\n")
    }

    fn lines_to_bind(&self) -> String {
        let KdfParams { memory_kib, passes, lanes } = self.params;
        format!(
            "{HEADER}\nargon2id m={memory_kib} t={passes} p={lanes}\nsalt {}\nnonce {}\n",
            STANDARD.encode(self.salt),
            STANDARD.encode(self.nonce)
        )
    }

    fn derive(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        self.params.derive(passphrase, &self.salt).map_err(|_| KeystoreError::Derivation)
    }
}

fn parse_params(text: &str) -> Result<KdfParams, Problem> {
    let mut values = ["m=", "t=", "p="].into_iter().zip(text.split(' ')).map(|(name, word)| {
        let number = word.strip_prefix(name).and_then(|digits| digits.parse().ok());
        number.ok_or(Problem::Damaged)
    });
    let mut next = || values.next().unwrap_or(Err(Problem::Damaged));
    Ok(KdfParams { memory_kib: next()?, passes: next()?, lanes: next()? })
}

fn parse_bytes<const N: usize>(text: &str) -> Result<[u8; N], Problem> {
    let bytes = STANDARD.decode(text).map_err(|_| Problem::Damaged)?;
    bytes.try_into().map_err(|_| Problem::Damaged)
}

/// Why a keystore cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    #[error("there is no keystore at {}", .path.display())]
    Missing { path: PathBuf },
    #[error("there is already a keystore at {}", .path.display())]
    Exists { path: PathBuf },
    #[error("cannot access the keystore {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the keystore {} cannot be used: {problem}", .path.display())]
    Unusable { path: PathBuf, problem: Problem },
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    #[error("the passphrase cannot be turned into a key")]
    Derivation,
}

/// What is wrong with a keystore file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("it is not a keystore")]
    NotAKeystore,
    #[error("it has a version that this program does not know")]
    Version,
    #[error("it is truncated, or it was edited")]
    Damaged,
    #[error("its argon2id parameters are out of bounds")]
    Parameters,
}

impl KeystoreError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "name the right data directory with --data, or make one with `vmsgate-keys init`"
            }
            Self::Exists { .. } => "nothing was changed; choose another data directory with --data",
            Self::Io { .. } => "check the owner and the permissions of the data directory",
            Self::Unusable { problem: Problem::Version, .. } => {
                "use the version of the program that wrote it"
            }
            Self::Unusable { .. } => "restore the file from a backup; nothing was changed",
            Self::WrongPassphrase => "check the passphrase file, or the data directory named with --data",
            Self::Derivation => "check that 64 MiB of memory are free",
        }
    }

    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            _ => Self::Io { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_right_passphrase_opens_it_and_no_other() {
        let (keystore, master) = Keystore::generate(&passphrase("correct horse")).unwrap();
        let read_back = Keystore::parse(&keystore.to_text()).unwrap();

        assert_eq!(read_back.open(&passphrase("correct horse")).unwrap().as_bytes(), master.as_bytes());
        assert!(matches!(read_back.open(&passphrase("correct hors")), Err(KeystoreError::WrongPassphrase)));
    }

    #[test]
    fn a_new_passphrase_keeps_the_master_key() {
        let (old, master) = Keystore::generate(&passphrase("correct horse")).unwrap();
        let new = Keystore::seal(&master, &passphrase("battery staple")).unwrap();

        assert_eq!(new.open(&passphrase("battery staple")).unwrap().as_bytes(), master.as_bytes());
        assert!(new.open(&passphrase("correct horse")).is_err());
        assert_ne!((old.salt, old.nonce), (new.salt, new.nonce));
    }

    #[test]
    fn every_altered_or_missing_byte_is_noticed_before_the_passphrase_is_tried() {
        let (keystore, _) = Keystore::generate(&passphrase("correct horse")).unwrap();
        let text = keystore.to_text();

        for index in 0..text.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64] {
                let mut bytes = text.clone().into_bytes();
                bytes[index] ^= flip;
                let altered = String::from_utf8(bytes).unwrap();
                assert!(Keystore::parse(&altered).is_err(), "byte {index} ^ {flip}:\n{altered}");
            }
            assert!(Keystore::parse(&text[..index]).is_err(), "first {index} bytes");
        }
        assert_eq!(Keystore::parse(&format!("{text}\n")), Err(Problem::Damaged));
    }

    #[test]
    fn an_edit_with_a_matching_checksum_still_fails_to_open() {
        let (mut keystore, _) = Keystore::generate(&passphrase("correct horse")).unwrap();
        keystore.params.passes = 1;
        let weakened = Keystore::parse(&keystore.to_text()).unwrap();

        assert!(matches!(weakened.open(&passphrase("correct horse")), Err(KeystoreError::WrongPassphrase)));
    }

    #[test]
    fn an_edited_file_cannot_ask_for_gigabytes() {
        let (mut keystore, _) = Keystore::generate(&passphrase("correct horse")).unwrap();
        keystore.params.memory_kib = u32::MAX;

        assert_eq!(Keystore::parse(&keystore.to_text()), Err(Problem::Parameters));
    }

    #[test]
    fn other_files_are_told_apart_from_damaged_ones() {
        assert_eq!(Keystore::parse(""), Err(Problem::NotAKeystore));
        assert_eq!(Keystore::parse("[Interface]\n"), Err(Problem::NotAKeystore));
        assert_eq!(Keystore::parse("vmsgate-keystore 2\n"), Err(Problem::Version));
        assert_eq!(Keystore::parse("vmsgate-keystore 1\n"), Err(Problem::Damaged));
    }
}
