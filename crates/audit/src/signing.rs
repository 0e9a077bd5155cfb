//! The Ed25519 key pair that signs checkpoints.
//!
//! Where the secret half rests is no business of this crate: whoever keeps it makes a [`SigningKey`] from its 32 bytes.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::Signer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

use crate::text::Fingerprint;

/// The secret half. Wiped from memory when dropped; `Debug` shows the fingerprint of the public half.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

/// The public half: all that is needed to check a log. Written as 44 characters of base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

/// An Ed25519 signature, written as 128 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; Self::BYTES]);

impl SigningKey {
    /// The private key of RFC 8032: any 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl VerifyingKey {
    /// The first 16 hexadecimal digits of the SHA-256 of the key, as for every key of the product.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Sha256::digest(self.0.as_bytes());
        let text: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Fingerprint::new(&text).unwrap_or_else(|_| Fingerprint::unknown())
    }

    /// Strict: refuses the encodings and the weak keys with which one signature fits several messages.
    pub(crate) fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
    }
}

impl Signature {
    const BYTES: usize = 64;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    #[error("a public audit key is 44 characters of base64 ending in `=`")]
    Encoding,
    #[error("this is no usable Ed25519 public key")]
    Point,
}

impl FromStr for VerifyingKey {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = STANDARD.decode(text).map_err(|_| MalformedKey::Encoding)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| MalformedKey::Encoding)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| MalformedKey::Point)?;
        if key.is_weak() { Err(MalformedKey::Point) } else { Ok(Self(key)) }
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

impl Serialize for VerifyingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying_key().fingerprint())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let malformed = || D::Error::custom("a signature is 128 lower-case hexadecimal digits");
        crate::chain::parse_hex(&text).map(Self).ok_or_else(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_read_back_and_nonsense_is_refused() {
        let key = SigningKey::from_seed(&[7; 32]).verifying_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("AAAA".parse::<VerifyingKey>(), Err(MalformedKey::Encoding));
        let identity_point = STANDARD.encode([[1].as_slice(), &[0; 31]].concat());
        assert_eq!(identity_point.parse::<VerifyingKey>(), Err(MalformedKey::Point), "signs everything");
    }

    #[test]
    fn the_secret_half_does_not_show() {
        let shown = format!("{:?}", SigningKey::from_seed(&[7; 32]));
        assert!(shown.starts_with("SigningKey(") && shown.len() < 30, "{shown}");
    }

    #[test]
    fn the_first_vector_of_rfc_8032_is_signed_as_written_there() {
        let seed =
            crate::chain::parse_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
                .unwrap();
        let key = SigningKey::from_seed(&seed);
        let signature = key.sign(b"");
        assert!(signature.to_string().starts_with("e5564300c360ac729086e2cc806e828a"), "{signature}");
        assert!(key.verifying_key().verifies(b"", &signature));
        assert!(!key.verifying_key().verifies(b"x", &signature));
    }
}
