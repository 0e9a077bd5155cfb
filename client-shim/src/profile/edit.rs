//! Other keys in the text of a profile, and every other byte as it was.
//!
//! A profile is its owner's file: comments, what only wg-quick needs, spaces and line ends are kept.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::encode_secret;

/// The keys that take the place of those in a profile.
#[derive(Default)]
pub(crate) struct NewKeys<'a> {
    pub(crate) secret: Option<&'a StaticSecret>,
    pub(crate) preshared: Option<&'a [u8; 32]>,
    pub(crate) gateway: Option<PublicKey>,
}

impl std::fmt::Debug for NewKeys<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKeys").finish_non_exhaustive()
    }
}

/// `text`, which must be a profile, with other keys. A profile without a `PresharedKey` gets the line.
///
/// # Errors
/// When the system cannot seal the private key.
pub(crate) fn with_keys(text: &str, keys: &NewKeys<'_>) -> io::Result<Zeroizing<String>> {
    let secret = keys.secret.map(encode_secret).transpose()?;
    Ok(with_values(text, secret.as_deref().map(String::as_str), keys))
}

/// `text`, which must be a profile, with its private key as every WireGuard reads it.
#[cfg(windows)]
pub(super) fn in_clear(text: &str, secret: &StaticSecret) -> Zeroizing<String> {
    with_values(text, Some(&encode(secret.as_bytes())), &NewKeys::default())
}

/// The same with the private key's value as it is to stand there.
fn with_values(text: &str, secret: Option<&str>, keys: &NewKeys<'_>) -> Zeroizing<String> {
    // Growing would leave copies of the keys behind.
    let room = text.len() + secret.map_or(0, str::len) + 128;
    let mut edited = Zeroizing::new(String::with_capacity(room));
    let has_preshared = text.lines().any(|line| key_of(line) == Some("presharedkey".to_owned()));
    for line in text.split_inclusive('\n') {
        let value = match key_of(line).as_deref() {
            Some("privatekey") => secret.map(|secret| Zeroizing::new(secret.to_owned())),
            Some("presharedkey") => keys.preshared.map(encode),
            Some("publickey") => keys.gateway.map(|key| encode(key.as_bytes())),
            _ => None,
        };
        match value.as_deref().and_then(|value| Some((value, value_range(line)?))) {
            Some((value, (before, after))) => {
                edited.push_str(before);
                edited.push_str(value);
                edited.push_str(after);
            }
            None => edited.push_str(line),
        }
        if let (false, Some(key), Some("publickey")) =
            (has_preshared, keys.preshared, key_of(line).as_deref())
        {
            let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
            if !line.ends_with('\n') {
                edited.push_str(end);
            }
            edited.push_str("PresharedKey = ");
            edited.push_str(&encode(key));
            if line.ends_with('\n') {
                edited.push_str(end);
            }
        }
    }
    edited
}

/// The key of a line like `Key = value`, in lower case.
fn key_of(line: &str) -> Option<String> {
    let line = line.split_once('#').map_or(line, |(before, _comment)| before);
    Some(line.split_once('=')?.0.trim().to_ascii_lowercase())
}

/// What stands before and behind the value of a line like `Key = value`.
fn value_range(line: &str) -> Option<(&str, &str)> {
    let end = line.find('#').unwrap_or(line.len());
    let equals = line.get(..end)?.find('=')? + 1;
    let room = line.get(equals..end)?;
    let start = equals + (room.len() - room.trim_start().len());
    Some((line.get(..start)?, line.get(equals + room.trim_end().len()..)?))
}

pub(super) fn encode(key: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(key))
}

#[cfg(test)]
mod tests;
