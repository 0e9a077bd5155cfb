//! Sealing: how secrets rest in the registry.
//!
//! One random [`MasterKey`] per installation seals every secret with XChaCha20-Poly1305. Each seal has a random
//! nonce of its own (192 bits: two never meet by chance) and is bound to the row it belongs to, so that whoever can
//! write to the database can neither read a secret nor move one to another row.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

pub(crate) const NONCE_BYTES: usize = 24;
pub(crate) const TAG_BYTES: usize = 16;

/// The key that seals every secret of an installation.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// A sealed secret as it is stored: base64 of nonce, ciphertext and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed(String);

/// Which secret of which row is sealed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SealedField<'a> {
    IdentityPrivateKey { identity: &'a str },
    PresharedKey { client: &'a str, public_key: &'a str },
    InvitationPresharedKey { invitation: &'a str, public_key: &'a str },
    AuditSigning,
}

/// A sealed secret cannot be opened: it was altered or moved, or another master key sealed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was altered, or it belongs to another keystore")]
pub struct UnsealError;

impl MasterKey {
    pub(crate) fn generate() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *key);
        Self(key)
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn seal(&self, field: SealedField<'_>, secret: &[u8; 32]) -> Sealed {
        Sealed(STANDARD.encode(self.seal_document(&field.associated_data(), secret)))
    }

    pub(crate) fn unseal(
        &self,
        field: SealedField<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<[u8; 32]>, UnsealError> {
        let bytes = STANDARD.decode(&sealed.0).map_err(|_| UnsealError)?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(UnsealError)?;
        decrypt(&self.0, nonce, ciphertext, &field.associated_data())
    }

    /// Nonce, ciphertext and tag of anything. What it is bound to must be unlike that of every other use of this key.
    pub(crate) fn seal_document(&self, bound_to: &[u8], document: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        [&nonce[..], &encrypt(&self.0, &nonce, document, bound_to)].concat()
    }

    pub(crate) fn open_document(
        &self,
        bound_to: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(UnsealError)?;
        decrypt_any(&self.0, nonce, ciphertext, bound_to)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl Sealed {
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl SealedField<'_> {
    /// No part of an identifier can contain the separator, so no two fields share their bytes.
    fn associated_data(self) -> Vec<u8> {
        match self {
            Self::IdentityPrivateKey { identity } => format!("vmsgate 1\nidentity private key\n{identity}"),
            Self::PresharedKey { client, public_key } => {
                format!("vmsgate 1\npre-shared key\n{client}\n{public_key}")
            }
            Self::InvitationPresharedKey { invitation, public_key } => {
                format!("vmsgate 1\ninvitation pre-shared key\n{invitation}\n{public_key}")
            }
            Self::AuditSigning => "vmsgate 1\naudit signing key".to_owned(),
        }
        .into_bytes()
    }
}

pub(crate) fn encrypt(key: &[u8; 32], nonce: &[u8; NONCE_BYTES], secret: &[u8], bound_to: &[u8]) -> Vec<u8> {
    XChaCha20Poly1305::new(key.into())
        .encrypt(XNonce::from_slice(nonce), Payload { msg: secret, aad: bound_to })
        .unwrap_or_else(|_| unreachable!("only messages of many gigabytes cannot be encrypted"))
}

pub(crate) fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    ciphertext: &[u8],
    bound_to: &[u8],
) -> Result<Zeroizing<[u8; 32]>, UnsealError> {
    let plain = decrypt_any(key, nonce, ciphertext, bound_to)?;
    plain.as_slice().try_into().map(Zeroizing::new).map_err(|_| UnsealError)
}

fn decrypt_any(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    ciphertext: &[u8],
    bound_to: &[u8],
) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
    XChaCha20Poly1305::new(key.into())
        .decrypt(XNonce::from_slice(nonce), Payload { msg: ciphertext, aad: bound_to })
        .map(Zeroizing::new)
        .map_err(|_| UnsealError)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: SealedField<'_> = SealedField::PresharedKey { client: "anna", public_key: "A" };

    #[test]
    fn a_secret_comes_back_for_its_own_row_alone() {
        let master = MasterKey::generate();
        let sealed = master.seal(ANNA, &[7; 32]);

        assert_eq!(*master.unseal(ANNA, &sealed).unwrap(), [7; 32]);
        for other in [
            SealedField::PresharedKey { client: "bert", public_key: "A" },
            SealedField::PresharedKey { client: "anna", public_key: "B" },
            SealedField::IdentityPrivateKey { identity: "anna" },
            SealedField::InvitationPresharedKey { invitation: "anna", public_key: "A" },
        ] {
            assert_eq!(master.unseal(other, &sealed), Err(UnsealError), "{other:?}");
        }
        assert_eq!(MasterKey::generate().unseal(ANNA, &sealed), Err(UnsealError));
    }

    #[test]
    fn no_altered_byte_goes_unseen() {
        let master = MasterKey::generate();
        let bytes = STANDARD.decode(master.seal(ANNA, &[7; 32]).as_str()).unwrap();

        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 1;
            assert!(master.unseal(ANNA, &Sealed(STANDARD.encode(&altered))).is_err(), "byte {index}");
            assert!(
                master.unseal(ANNA, &Sealed(STANDARD.encode(&bytes[..index]))).is_err(),
                "length {index}"
            );
        }
    }

    #[test]
    fn equal_secrets_look_different() {
        let master = MasterKey::generate();

        assert_ne!(master.seal(ANNA, &[7; 32]), master.seal(ANNA, &[7; 32]));
    }
}
