//! A fresh pre-shared key for both ends of a tunnel, agreed through it with ML-KEM-768 (FIPS 203).
//!
//! The side that wants one makes an [`Offer`]; the other [`answer`]s it. What ML-KEM yields is not used as it is, but
//! mixed with the pre-shared key of the tunnel that carried the messages and bound to what it is for and to both
//! static keys, so that the result is at least as strong as what was there before.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hkdf::Hkdf;
use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate, Encapsulate, Kem, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768, MlKem768};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of an encapsulation key (FIPS 203, table 3).
const KEY_BYTES: usize = 1184;
/// Bytes of a ciphertext.
const CIPHERTEXT_BYTES: usize = 1088;

/// A pre-shared key; wiped when dropped.
pub type Agreed = Zeroizing<[u8; 32]>;

/// What a pre-shared key is agreed for; keys for one purpose are useless for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Enrolment,
    /// A new key pair of the client.
    Rotation,
    /// The key pairs stay.
    Renewal,
}

/// What the result is bound to.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    pub purpose: Purpose,
    /// The registered pre-shared key of the tunnel that carries the messages.
    pub carrier: &'a [u8; 32],
    /// The static public key that the client will use with the result.
    pub client: &'a [u8; 32],
    /// The gateway's static public key that the messages were carried under.
    pub gateway: &'a [u8; 32],
}

/// One side's half of an agreement. Used once.
pub struct Offer(DecapsulationKey768);

/// Why no key was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    #[error("the encapsulation key is not {KEY_BYTES} bytes of base64, or no valid ML-KEM-768 key")]
    Key,
    #[error("the ciphertext is not {CIPHERTEXT_BYTES} bytes of base64")]
    Ciphertext,
}

impl Offer {
    #[expect(clippy::new_without_default, reason = "a new secret each time is no default")]
    pub fn new() -> Self {
        Offer(MlKem768::generate_keypair().0)
    }

    /// The public half, base64.
    pub fn encapsulation_key(&self) -> String {
        STANDARD.encode(self.0.encapsulation_key().to_bytes())
    }

    /// The key that the other side has too, if its answer was for this offer and the same binding. A wrong answer
    /// gives another key (FIPS 203, implicit rejection), under which no handshake succeeds.
    pub fn accept(self, ciphertext: &str, binding: &Binding<'_>) -> Result<Agreed, AgreementError> {
        let bytes = STANDARD.decode(ciphertext).map_err(|_| AgreementError::Ciphertext)?;
        let ciphertext = Array::try_from(bytes.as_slice()).map_err(|_| AgreementError::Ciphertext)?;
        let shared = Zeroizing::new(self.0.decapsulate(&ciphertext));
        Ok(derive(&shared[..], binding))
    }
}

/// Answers an offer: the ciphertext for the other side, base64, and the key.
pub fn answer(encapsulation_key: &str, binding: &Binding<'_>) -> Result<(String, Agreed), AgreementError> {
    let bytes = STANDARD.decode(encapsulation_key).map_err(|_| AgreementError::Key)?;
    let bytes = Array::try_from(bytes.as_slice()).map_err(|_| AgreementError::Key)?;
    let key = EncapsulationKey768::new(&bytes).map_err(|_| AgreementError::Key)?;
    let (ciphertext, shared) = key.encapsulate();
    let shared = Zeroizing::new(shared);
    Ok((STANDARD.encode(ciphertext), derive(&shared[..], binding)))
}

fn derive(shared: &[u8], binding: &Binding<'_>) -> Agreed {
    let purpose: &[u8] = match binding.purpose {
        Purpose::Enrolment => b"vmsgate 1\npre-shared key: enrolment\n",
        Purpose::Rotation => b"vmsgate 1\npre-shared key: rotation\n",
        Purpose::Renewal => b"vmsgate 1\npre-shared key: renewal\n",
    };
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(binding.carrier), shared)
        .expand_multi_info(&[purpose, binding.client, binding.gateway], &mut *key)
        .unwrap_or_else(|_| unreachable!("32 bytes are fewer than HKDF-SHA256 can give"));
    key
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Offer(…)")
    }
}

impl fmt::Debug for Binding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: Binding<'static> =
        Binding { purpose: Purpose::Renewal, carrier: &[1; 32], client: &[2; 32], gateway: &[3; 32] };

    #[test]
    fn both_sides_have_the_same_key_and_another_each_time() {
        let agree = || {
            let offer = Offer::new();
            let (ciphertext, theirs) = answer(&offer.encapsulation_key(), &BINDING).unwrap();
            (offer.accept(&ciphertext, &BINDING).unwrap(), theirs)
        };
        let (one, other) = (agree(), agree());
        assert_eq!(one.0, one.1);
        assert_eq!(other.0, other.1);
        assert_ne!(one.0, other.0);
    }

    #[test]
    fn whatever_differs_in_the_binding_makes_another_key() {
        let others = [
            Binding { purpose: Purpose::Rotation, ..BINDING },
            Binding { purpose: Purpose::Enrolment, ..BINDING },
            Binding { carrier: &[9; 32], ..BINDING },
            Binding { client: &[9; 32], ..BINDING },
            Binding { gateway: &[9; 32], ..BINDING },
        ];
        for other in others {
            let offer = Offer::new();
            let (ciphertext, theirs) = answer(&offer.encapsulation_key(), &BINDING).unwrap();
            assert_ne!(offer.accept(&ciphertext, &other).unwrap(), theirs, "{other:?}");
        }
    }

    #[test]
    fn damaged_messages_are_refused_or_give_another_key() {
        let offer = Offer::new();
        let key = offer.encapsulation_key();
        for wrong in ["", "AAAA", "!", &key[4..], &format!("{key}AAAA"), &STANDARD.encode([0xff; KEY_BYTES])]
        {
            assert_eq!(answer(wrong, &BINDING).unwrap_err(), AgreementError::Key);
        }
        let (ciphertext, theirs) = answer(&key, &BINDING).unwrap();
        assert_eq!(Offer::new().accept(&ciphertext[4..], &BINDING), Err(AgreementError::Ciphertext));
        let mut altered = STANDARD.decode(&ciphertext).unwrap();
        altered[500] ^= 1;
        assert_ne!(offer.accept(&STANDARD.encode(altered), &BINDING).unwrap(), theirs);
    }
}
