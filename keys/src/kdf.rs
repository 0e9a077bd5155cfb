//! From a passphrase to a key: Argon2id.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;

pub(crate) const SALT_BYTES: usize = 16;

/// How much work one guess at the passphrase costs. Stored beside the salt, so that a later version can raise it
/// without locking anybody out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KdfParams {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl KdfParams {
    /// 64 MiB and three passes are the second recommended option of RFC 9106, section 4, for machines that
    /// cannot spare 2 GiB. One lane instead of four, because we compute lanes one after the other anyway, and
    /// more of them would help only an attacker. About 0.1 s on a server core, paid once per start.
    pub(crate) const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// What a file may ask for. The upper bounds keep an edited file from taking the machine's memory or time;
    /// the lower ones keep a mistake from making guesses cheap.
    pub(crate) fn is_reasonable(self) -> bool {
        (8 * 1024..=256 * 1024).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=8).contains(&self.lanes)
    }

    pub(crate) fn derive(
        self,
        passphrase: &Passphrase,
        salt: &[u8; SALT_BYTES],
    ) -> Result<Zeroizing<[u8; 32]>, argon2::Error> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
            passphrase.as_bytes(),
            salt,
            &mut *key,
        )?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_parameters_are_within_the_bounds() {
        assert!(KdfParams::STANDARD.is_reasonable());
        assert!(!KdfParams { memory_kib: u32::MAX, ..KdfParams::STANDARD }.is_reasonable());
        assert!(!KdfParams { passes: 0, ..KdfParams::STANDARD }.is_reasonable());
    }

    #[test]
    fn passphrase_and_salt_both_matter() {
        let params = KdfParams { memory_kib: 8 * 1024, passes: 1, lanes: 1 };
        let derive =
            |text: &str, salt| params.derive(&Passphrase::new(text.as_bytes()).unwrap(), &salt).unwrap();

        let key = derive("correct horse", [1; 16]);

        assert_eq!(key, derive("correct horse", [1; 16]));
        assert_ne!(key, derive("correct horsf", [1; 16]));
        assert_ne!(key, derive("correct horse", [2; 16]));
    }
}
