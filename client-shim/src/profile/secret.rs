//! How a private key stands in a file: on Windows sealed for the user and the machine, elsewhere as WireGuard has it.
//!
//! Elsewhere the file's mode keeps others away. On Windows people keep files on shares and sticks, in backups and synced
//! folders, where access lists are lost; what is sealed is of no use there.

use std::io;

#[cfg(windows)]
use base64::Engine as _;
#[cfg(windows)]
use base64::engine::general_purpose::STANDARD;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::Problem;
use super::parse::parse_key;

/// In front of what Windows has sealed; no other WireGuard takes such a line for a key.
const SEALED: &str = "dpapi:";

/// The value for a line `PrivateKey = `.
///
/// # Errors
/// When the system cannot seal it.
#[cfg(windows)]
pub(crate) fn encode_secret(secret: &StaticSecret) -> io::Result<Zeroizing<String>> {
    let sealed = vmsgate_windows::seal(secret.as_bytes())?;
    Ok(Zeroizing::new(format!("{SEALED}{}", STANDARD.encode(sealed))))
}

/// The value for a line `PrivateKey = `.
///
/// # Errors
/// None here; where keys are sealed that may fail.
#[cfg(not(windows))]
pub(crate) fn encode_secret(secret: &StaticSecret) -> io::Result<Zeroizing<String>> {
    Ok(super::edit::encode(secret.as_bytes()))
}

/// The key of a line `PrivateKey = value`.
pub(crate) fn decode_secret(value: &str) -> Result<Zeroizing<[u8; 32]>, Problem> {
    match value.strip_prefix(SEALED) {
        Some(sealed) => unseal(sealed),
        None => parse_key("PrivateKey", value),
    }
}

#[cfg(windows)]
fn unseal(sealed: &str) -> Result<Zeroizing<[u8; 32]>, Problem> {
    let bytes = STANDARD.decode(sealed).map_err(|_| Problem::Sealed)?;
    let opened = vmsgate_windows::unseal(&bytes).map_err(|_| Problem::Sealed)?;
    let key = opened.first_chunk().filter(|_| opened.len() == 32);
    key.map(|key| Zeroizing::new(*key)).ok_or(Problem::Sealed)
}

#[cfg(not(windows))]
fn unseal(_sealed: &str) -> Result<Zeroizing<[u8; 32]>, Problem> {
    Err(Problem::Sealed)
}
