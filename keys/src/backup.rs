//! A backup: the keystore and the registry of an installation in one file.
//!
//! ```text
//! vmsgate-backup 1 SHA-256 OF EVERYTHING AFTER THIS LINE
//! {"made":"2026-11-25T18:00:00Z","by":"0.1.0","installation":"…","keystore":"vmsgate-keystore 1\n…"}
//! nonce (24 bytes), sealed rows of the registry
//! ```
//!
//! The first line carries the version of the format. The rows are sealed under the master key, which the keystore's
//! passphrase opens, and bound to the header. The checksum tells a damaged file from a wrong passphrase and protects
//! nothing. The secrets among the rows are sealed once more, each by itself, as they rest in the registry.

mod error;
mod restore;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use error::BackupError;
pub use restore::Occupant;

use crate::{
    atomic_file::{Existing, write_private},
    keystore::{Keystore, Problem},
    material::PublicKey,
    passphrase::Passphrase,
    registry::{Registry, RegistryError, dump::Dump, whole_millis},
    seal::MasterKey,
};

const WORD: &str = "vmsgate-backup ";
const VERSION: &str = "1";
/// Room for a hundred thousand clients and the keys that they had; whatever is larger is not read into memory.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A backup that was made or read, not yet opened.
#[derive(Clone, Debug)]
pub struct Backup {
    header: Header,
    keystore: Keystore,
    /// Everything after the first line.
    content: Vec<u8>,
    /// Where in it the sealed rows begin.
    body: usize,
    checksum: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    made: Timestamp,
    by: String,
    installation: String,
    keystore: String,
}

/// A backup whose rows were unsealed.
#[derive(Debug)]
pub struct OpenBackup {
    backup: Backup,
    master: MasterKey,
    dump: Dump,
}

impl Backup {
    /// Everything in `registry` at this moment; gateways and commands may go on.
    ///
    /// # Errors
    /// [`BackupError::Registry`]; [`BackupError::TooLarge`].
    pub async fn make(
        registry: &Registry,
        keystore: Keystore,
        master: &MasterKey,
    ) -> Result<Self, BackupError> {
        let made = whole_millis(Timestamp::now());
        let installation = first_identity(registry).await?.to_string();
        let rows = serde_json::to_vec(&registry.dump().await?).map_err(BackupError::Content)?;
        let by = env!("CARGO_PKG_VERSION").to_owned();
        let header = Header { made, by, installation, keystore: keystore.to_text() };
        let mut content = serde_json::to_vec(&header).map_err(BackupError::Content)?;
        content.push(b'\n');
        let body = content.len();
        let sealed = master.seal_document(&bound(&content), &rows);
        content.extend(sealed);
        let checksum = hex(&Sha256::digest(&content));
        let backup = Self { header, keystore, content, body, checksum };
        if backup.bytes() > MAX_FILE_BYTES { Err(BackupError::TooLarge) } else { Ok(backup) }
    }

    /// # Errors
    /// [`BackupError::Io`], and everything that a file can be which is no sound backup.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(BackupError::Io)?;
        let meta = file.metadata().map_err(BackupError::Io)?;
        if !meta.is_file() {
            return Err(BackupError::NotABackup);
        }
        if meta.len() > MAX_FILE_BYTES {
            return Err(BackupError::TooLarge);
        }
        let mut bytes = Vec::new();
        // It may grow meanwhile.
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(BackupError::Io)?;
        Self::parse(bytes)
    }

    /// # Errors
    /// [`BackupError::Exists`] when the name is taken, [`BackupError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), BackupError> {
        let bytes = [self.first_line().as_bytes(), &self.content].concat();
        write_private(path, &bytes, Existing::Keep).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists,
            _ => BackupError::Io(error),
        })
    }

    /// # Errors
    /// [`BackupError::WrongPassphrase`]; [`BackupError::Damaged`] when it was edited with care;
    /// [`BackupError::Newer`].
    pub fn open(self, passphrase: &Passphrase) -> Result<OpenBackup, BackupError> {
        let master = self.keystore.open(passphrase)?;
        self.open_with(master)
    }

    fn open_with(self, master: MasterKey) -> Result<OpenBackup, BackupError> {
        let (header, sealed) = self.content.split_at(self.body);
        let rows = master.open_document(&bound(header), sealed).map_err(|_| BackupError::Damaged)?;
        let dump: Dump = serde_json::from_slice(&rows).map_err(BackupError::Content)?;
        if dump.is_newer() { Err(BackupError::Newer) } else { Ok(OpenBackup { backup: self, master, dump }) }
    }

    fn parse(mut bytes: Vec<u8>) -> Result<Self, BackupError> {
        let rest = bytes.strip_prefix(WORD.as_bytes()).ok_or(BackupError::NotABackup)?;
        let (version, _) = split_at(rest, b' ').ok_or(BackupError::Damaged)?;
        if version != VERSION.as_bytes() {
            let is_number = !version.is_empty() && version.iter().all(u8::is_ascii_digit);
            return Err(if is_number { BackupError::Newer } else { BackupError::Damaged });
        }
        let (first_line, _) = split_at(&bytes, b'\n').ok_or(BackupError::Damaged)?;
        let content = bytes.split_off(first_line.len() + 1);
        let checksum = hex(&Sha256::digest(&content));
        let (line, sealed) = split_at(&content, b'\n').ok_or(BackupError::Damaged)?;
        let body = content.len() - sealed.len();
        let header: Header = serde_json::from_slice(line).map_err(|_| BackupError::Damaged)?;
        let keystore = Keystore::parse(&header.keystore).map_err(|problem| match problem {
            Problem::Version => BackupError::Newer,
            Problem::NotAKeystore | Problem::Damaged | Problem::Parameters => BackupError::Damaged,
        });
        let backup = Self { header, keystore: keystore?, content, body, checksum };
        // Whatever differs from what we would have written was written by somebody else.
        if backup.first_line().as_bytes() == bytes { Ok(backup) } else { Err(BackupError::Damaged) }
    }

    fn first_line(&self) -> String {
        format!("{WORD}{VERSION} {}\n", self.checksum)
    }

    /// When it was made.
    pub fn made(&self) -> Timestamp {
        self.header.made
    }

    /// The version of the program that made it.
    pub fn made_by(&self) -> &str {
        &self.header.by
    }

    /// What tells it from every other backup.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// How large the file is.
    pub fn bytes(&self) -> u64 {
        (self.first_line().len() + self.content.len()) as u64
    }

    /// The installation's oldest public key, which tells installations apart. Only a claim before the backup is open.
    fn installation(&self) -> &str {
        &self.header.installation
    }

    fn keystore(&self) -> &Keystore {
        &self.keystore
    }
}

impl OpenBackup {
    pub fn backup(&self) -> &Backup {
        &self.backup
    }

    /// The newest checkpoint of each chain of the audit log when the backup was made, in the form of `vmsgate audit
    /// checkpoint`.
    pub fn checkpoints(&self) -> &[String] {
        &self.dump.checkpoints
    }
}

/// The key of the identity that the installation was made with.
async fn first_identity(registry: &Registry) -> Result<PublicKey, RegistryError> {
    let identities = registry.all_identities().await?;
    let first = identities.iter().min_by_key(|identity| (identity.created, identity.id));
    first.map(|identity| identity.public_key).ok_or(RegistryError::NotInitialised)
}

/// What the sealed rows are bound to.
fn bound(header: &[u8]) -> Vec<u8> {
    [WORD.as_bytes(), VERSION.as_bytes(), b"\n", header].concat()
}

/// What is before and after the first `separator`.
fn split_at(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor, DataDir, Settings, TunnelRanges};

    /// The bytes of a small backup, and what opens it without deriving a key each time.
    async fn small() -> (Vec<u8>, MasterKey) {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            name: "gw-1".to_owned(),
            endpoints: vec!["vpn.example.org:51820".parse().unwrap()],
            tunnel: TunnelRanges::new(["10.99.0.0/16".parse().unwrap()]).unwrap(),
        };
        let passphrase = Passphrase::new(b"correct horse").unwrap();
        let data = DataDir::new(folder.path());
        let made = data.initialise(&passphrase, &settings, &Actor::current()).await.unwrap();
        let keystore = Keystore::read(&data.keystore()).unwrap();
        let backup = Backup::make(&made.registry, keystore, &made.master).await.unwrap();
        made.registry.close().await;
        backup.write(&folder.path().join("backup")).unwrap();
        (std::fs::read(folder.path().join("backup")).unwrap(), made.master)
    }

    fn with_first_line(content: &[u8]) -> Vec<u8> {
        let line = format!("{WORD}{VERSION} {}\n", hex(&Sha256::digest(content)));
        [line.as_bytes(), content].concat()
    }

    #[tokio::test]
    async fn every_altered_or_missing_byte_is_noticed_before_the_passphrase_is_asked_for() {
        let (bytes, _) = small().await;
        assert!(Backup::parse(bytes.clone()).is_ok());

        for index in 0..bytes.len() {
            for flip in [1, 0x10, 0x80] {
                let mut altered = bytes.clone();
                altered[index] ^= flip;
                assert!(Backup::parse(altered).is_err(), "byte {index} ^ {flip}");
            }
            assert!(Backup::parse(bytes[..index].to_vec()).is_err(), "the first {index} bytes");
        }
        assert!(matches!(Backup::parse([&bytes[..], b"\n"].concat()), Err(BackupError::Damaged)));
    }

    #[tokio::test]
    async fn an_edit_with_a_matching_checksum_still_does_not_open() {
        let (bytes, master) = small().await;
        let content = bytes.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        let open = |content: &[u8]| Backup::parse(with_first_line(content))?.open_with(master.clone());
        assert!(open(content).is_ok());

        for index in 0..content.len() {
            let mut altered = content.to_vec();
            altered[index] ^= 1;
            let error = open(&altered).expect_err(&format!("byte {index}"));
            assert!(matches!(error, BackupError::Damaged | BackupError::Newer), "byte {index}: {error}");
            assert!(open(&content[..index]).is_err(), "the first {index} bytes");
        }
    }

    #[tokio::test]
    async fn other_files_and_newer_formats_are_told_apart_from_damaged_ones() {
        let error = |bytes: &[u8]| Backup::parse(bytes.to_vec()).unwrap_err();

        assert!(matches!(error(b""), BackupError::NotABackup));
        assert!(matches!(error(b"vmsgate-keystore 1\n"), BackupError::NotABackup));
        assert!(matches!(error(b"vmsgate-backup 2 whatever comes next"), BackupError::Newer));
        assert!(matches!(error(b"vmsgate-backup one two"), BackupError::Damaged));
        assert!(matches!(error(b"vmsgate-backup 1 "), BackupError::Damaged));
    }

    #[tokio::test]
    async fn rows_of_a_newer_registry_are_refused() {
        let (bytes, master) = small().await;
        let open = Backup::parse(bytes).unwrap().open_with(master.clone()).unwrap();
        let mut dump = serde_json::to_value(&open.dump).unwrap();
        dump["migration"] = 9999.into();

        let header = &open.backup.content[..open.backup.body];
        let sealed = master.seal_document(&bound(header), dump.to_string().as_bytes());
        let newer = Backup::parse(with_first_line(&[header, &sealed].concat())).unwrap();

        assert!(matches!(newer.open_with(master), Err(BackupError::Newer)));
    }

    #[test]
    fn what_is_too_large_or_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge");
        File::create(&huge).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();

        assert!(matches!(Backup::read(&huge), Err(BackupError::TooLarge)));
        assert!(matches!(Backup::read(folder.path()), Err(BackupError::NotABackup)));
    }
}
