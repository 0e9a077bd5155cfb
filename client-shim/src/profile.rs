//! The profile: a stock WireGuard `.conf`, as `vmsgate-keys client add` writes it and wg-quick reads it.
//!
//! It holds a private key, so it is never echoed: errors name the line and the key, not the value. What only wg-quick
//! needs (`Table`, `PostUp`, …) is accepted and ignored; an unknown key is refused with the nearest known one, because
//! a misspelt `PresharedKey` would otherwise end in a tunnel that never comes up.

mod edit;
mod error;
mod parse;
mod secret;
mod write;

use std::fmt;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use vmsgate_config::address::Endpoint;
use vmsgate_tunnel::client::ClientKeys;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::files;

pub(crate) use edit::{NewKeys, with_keys};
pub use error::{Problem, ProfileError};
pub(crate) use secret::{decode_secret, encode_secret};
pub use write::WriteError;
pub(crate) use write::{gateway_key, to_conf};

/// Everything of a profile that the shim uses.
pub struct Profile {
    /// Where it was read from: the file itself, not a link to it.
    pub file: Option<PathBuf>,
    /// The file's name without its folder and ending: what people call the profile.
    pub name: String,
    pub secret: StaticSecret,
    /// The gateway's public key.
    pub gateway: PublicKey,
    pub preshared: Option<Zeroizing<[u8; 32]>>,
    /// The client's own addresses in the tunnel.
    pub addresses: Vec<IpAddr>,
    /// The gateway's addresses in the tunnel.
    pub gateway_addresses: Vec<IpAddr>,
    pub endpoint: Endpoint,
    pub mtu: u16,
    /// Seconds.
    pub persistent_keepalive: Option<u16>,
}

impl Profile {
    /// Reads a profile file.
    ///
    /// # Errors
    /// When it cannot be read, or for the first line that is wrong.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let text = read_text(path)?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let real = dunce::canonicalize(path).ok();
        Ok(Self { file: real, ..Self::parse(&text, &path.display().to_string(), name)? })
    }

    /// What the tunnel is made of.
    pub(crate) fn keys(&self) -> ClientKeys {
        ClientKeys {
            secret: self.secret.clone(),
            gateway: self.gateway,
            preshared: self.preshared.clone(),
            agreed: None,
        }
    }

    /// Reads the text of a profile; `file` is what errors call it.
    ///
    /// # Errors
    /// For the first line that is wrong, or what is missing.
    pub fn parse(text: &str, file: &str, name: String) -> Result<Self, ProfileError> {
        parse::parse(text, name).map_err(|(line, problem)| ProfileError {
            file: file.to_owned(),
            line,
            problem,
        })
    }
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, ProfileError> {
    let failed = |problem| ProfileError { file: path.display().to_string(), line: None, problem };
    let unreadable = |error: std::io::Error| failed(Problem::Unreadable(error.kind(), error.to_string()));
    let mut opened = File::open(path).map_err(unreadable)?;
    let bytes = files::read_bounded(&mut opened).map_err(unreadable)?;
    let bytes = bytes.ok_or_else(|| failed(Problem::TooLarge))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| failed(Problem::NotText))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The text of a profile with its private key in clear, as every WireGuard reads it.
///
/// # Errors
/// As [`Profile::read`].
#[cfg(windows)]
pub fn stock(path: &Path) -> Result<Zeroizing<String>, ProfileError> {
    let text = read_text(path)?;
    let profile = Profile::parse(&text, &path.display().to_string(), String::new())?;
    Ok(edit::in_clear(&text, &profile.secret))
}

/// Writes the text of a profile to a new file that nobody else can read.
///
/// # Errors
/// When there is one of that name, or it cannot be written.
#[cfg(windows)]
pub fn create(path: &Path, text: &str) -> std::io::Result<()> {
    files::create(path, text)
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The file's mode, if others than its owner can read or change it: it holds the private key, and where the tunnel leads.
/// None where the system has no such notion, and for what is no file.
pub fn open_to_others(path: &Path) -> Option<u32> {
    files::open_to_others(path)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_profile_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();

        let error = Profile::read(&path).unwrap_err();

        assert_eq!(error.to_string(), format!("{}: larger than 64 KiB, so it is no profile", path.display()));
    }

    #[test]
    fn a_device_that_never_ends_is_given_up() {
        assert!(matches!(Profile::read(Path::new("/dev/zero")).unwrap_err().problem, Problem::TooLarge));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Profile::read(Path::new("/nowhere/alice.conf")).unwrap_err();

        assert!(error.to_string().starts_with("/nowhere/alice.conf: cannot be read"), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn a_profile_that_others_can_read_or_change_is_noticed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.conf");
        std::fs::write(&path, "").unwrap();
        let mut seen = Vec::new();
        for mode in [0o600, 0o640, 0o644, 0o602, 0o700, 0o400] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            seen.push(open_to_others(&path));
        }
        assert_eq!(seen, [None, Some(0o640), Some(0o644), Some(0o602), None, None]);
    }
}
