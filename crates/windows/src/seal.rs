//! Secrets at rest, sealed by the data protection interface (DPAPI) with a key that follows from the user's password.
//!
//! A copy of the file is of no use on another machine or to another user. Programs that run as the same user can open
//! it: against them Windows protects nothing.

use std::io;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};
use zeroize::{Zeroize, Zeroizing};

use crate::{Lent, check};

/// Tells our secrets from those of other programs of the same user, which are sealed with the same key.
const PURPOSE: &[u8] = b"vmsgate private key";

/// Seals `secret` for the user of this process.
///
/// # Errors
/// When Windows cannot, e.g. for a user whose profile is not loaded.
#[expect(unsafe_code, reason = "a call of the Win32 interface")]
pub fn seal(secret: &[u8]) -> io::Result<Vec<u8>> {
    let (secret, purpose) = (blob(secret)?, blob(PURPOSE)?);
    let mut sealed = CRYPT_INTEGER_BLOB { cbData: 0, pbData: null_mut() };
    // SAFETY: the blobs name slices that outlive the call, which only reads them; it fills `sealed`, or fails.
    check(unsafe {
        CryptProtectData(
            &raw const secret,
            null(),
            &raw const purpose,
            null(),
            null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &raw mut sealed,
        )
    })?;
    let lent = Lent(sealed.pbData);
    // SAFETY: the call succeeded, so that many bytes are there, until `lent` is dropped.
    Ok(unsafe { std::slice::from_raw_parts(lent.0, sealed.cbData as usize) }.to_vec())
}

/// Opens what [`seal`] made.
///
/// # Errors
/// When it was made for somebody else, on another machine, or is damaged.
#[expect(unsafe_code, reason = "a call of the Win32 interface")]
pub fn unseal(sealed: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let (sealed, purpose) = (blob(sealed)?, blob(PURPOSE)?);
    let mut opened = CRYPT_INTEGER_BLOB { cbData: 0, pbData: null_mut() };
    // SAFETY: as in `seal`.
    check(unsafe {
        CryptUnprotectData(
            &raw const sealed,
            null_mut(),
            &raw const purpose,
            null(),
            null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            &raw mut opened,
        )
    })?;
    let lent = Lent(opened.pbData);
    // SAFETY: the call succeeded, so that many bytes are there, ours alone until `lent` is dropped.
    let bytes = unsafe { std::slice::from_raw_parts_mut(lent.0, opened.cbData as usize) };
    let secret = Zeroizing::new(bytes.to_vec());
    bytes.zeroize();
    Ok(secret)
}

/// The call that takes it promises not to write.
fn blob(bytes: &[u8]) -> io::Result<CRYPT_INTEGER_BLOB> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(CRYPT_INTEGER_BLOB { cbData: length, pbData: bytes.as_ptr().cast_mut() })
}
