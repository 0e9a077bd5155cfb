//! WireGuard keys: 32 bytes each, written as 44 characters of base64.
//!
//! Secret keys are wiped from memory when dropped, show nothing in `Debug` and cannot be compared with `==`
//! (such a comparison takes longer the more of it is right). Text is read strictly: exactly what `wg` writes.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand_core::{OsRng, RngCore};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, Zeroizing};

const KEY_BYTES: usize = 32;
/// 32 bytes in base64, with one `=` of padding.
const KEY_TEXT: usize = 44;

/// The secret half of an X25519 key pair.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<[u8; KEY_BYTES]>);

/// A secret that two ends of a tunnel share beside their key pairs; it keeps recorded traffic closed even to an
/// attacker who can break X25519 one day.
#[derive(Clone)]
pub struct PresharedKey(Zeroizing<[u8; KEY_BYTES]>);

/// The public half of a key pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

/// The short name of a public key: the first 16 hexadecimal digits of its SHA-256.
///
/// 64 bits are enough to tell keys apart and to find one in a log; they are no proof of identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 8]);

impl PrivateKey {
    /// A new key, clamped as `wg genkey` does it.
    pub fn generate() -> Self {
        let mut bytes = random();
        bytes[0] &= 0b1111_1000;
        bytes[31] = (bytes[31] & 0b0111_1111) | 0b0100_0000;
        Self(bytes)
    }

    pub fn public_key(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.to_secret()).to_bytes())
    }

    /// The key as the cryptography library wants it.
    pub fn to_secret(&self) -> StaticSecret {
        StaticSecret::from(*self.0)
    }
}

impl PresharedKey {
    pub fn generate() -> Self {
        Self(random())
    }
}

impl PublicKey {
    /// A key that proved itself in a handshake already. One from people comes as text, which is checked.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A key that was checked when it was stored: the check below costs as much as a handshake.
    pub(crate) fn from_stored(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }

    /// Some points give every exchange the same, publicly known result.
    fn provides_secrecy(&self) -> bool {
        let probe = StaticSecret::from([1; KEY_BYTES]);
        probe.diffie_hellman(&x25519_dalek::PublicKey::from(self.0)).was_contributory()
    }

    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Sha256::digest(self.0);
        Fingerprint(std::array::from_fn(|index| digest[index]))
    }
}

/// Why a key was refused. The message never repeats the text, which may be a secret key in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a key has {KEY_TEXT} characters of base64 ending in `=`, this text has {0} characters")]
    Length(usize),
    #[error("the text is not a key: it is not base64 as `wg` writes it")]
    Encoding,
    #[error("the public key is one of the few that provide no secrecy")]
    Weak,
}

macro_rules! secret_key {
    ($($name:ident),*) => {$(
        impl $name {
            pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
                Self(Zeroizing::new(bytes))
            }

            pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }

            /// The text for a profile; wiped when dropped.
            pub fn to_base64(&self) -> Zeroizing<String> {
                Zeroizing::new(STANDARD.encode(*self.0))
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                decode(text).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}
secret_key!(PrivateKey, PresharedKey);

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let key = Self(*decode(text)?);
        if key.provides_secrecy() { Ok(key) } else { Err(KeyError::Weak) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn random() -> Zeroizing<[u8; KEY_BYTES]> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    OsRng.fill_bytes(&mut *bytes);
    bytes
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    if text.len() != KEY_TEXT {
        return Err(KeyError::Length(text.chars().count()));
    }
    // One byte more than a key has: the decoder wants room for whole groups of three.
    let mut buffer = Zeroizing::new([0; KEY_BYTES + 1]);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let length = STANDARD.decode_slice(text, &mut *buffer).map_err(|_| KeyError::Encoding)?;
    if length != KEY_BYTES {
        return Err(KeyError::Encoding);
    }
    key.copy_from_slice(&buffer[..KEY_BYTES]);
    buffer.zeroize();
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Alice's key pair of RFC 7748, section 6.1.
    const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        let private: PrivateKey = PRIVATE.parse().unwrap();

        assert_eq!(private.public_key().to_string(), PUBLIC);
        assert_eq!(private.to_base64().as_str(), PRIVATE);
    }

    #[test]
    fn the_fingerprint_is_stable_and_says_nothing_about_the_key() {
        let public: PublicKey = PUBLIC.parse().unwrap();

        assert_eq!(public.fingerprint().to_string(), "300c9c9603b92a4b");
    }

    #[test]
    fn generated_keys_are_clamped_and_differ() {
        let (one, two) = (PrivateKey::generate(), PrivateKey::generate());

        assert_eq!((one.as_bytes()[0] & 7, one.as_bytes()[31] & 0xc0), (0, 0x40));
        assert_ne!(one.public_key(), two.public_key());
    }

    #[test]
    fn text_is_read_as_strictly_as_it_is_written() {
        for wrong in [
            "".to_owned(),
            format!("{PUBLIC} "),
            format!(" {PUBLIC}"),
            PUBLIC.replace('=', ""),
            PUBLIC.replace("o=", "p="),
            PUBLIC.replace('/', "_"),
            "é".repeat(22),
            "=".repeat(44),
        ] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong:?}");
            assert!(wrong.parse::<PrivateKey>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_public_key_without_secrecy_is_refused() {
        let zero = STANDARD.encode([0; 32]);

        assert_eq!(zero.parse::<PublicKey>(), Err(KeyError::Weak));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let key: PrivateKey = PRIVATE.parse().unwrap();

        assert_eq!(
            format!("{key:?} {:?}", PresharedKey::from_bytes([7; 32])),
            "PrivateKey(…) PresharedKey(…)"
        );
    }
}
