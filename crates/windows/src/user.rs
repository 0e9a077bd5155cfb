//! Who the user of this process is.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, GetSecurityInfo, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, OWNER_SECURITY_INFORMATION, PSID, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows_sys::Win32::UI::Shell::IsUserAnAdmin;

use crate::{Lent, check};

/// The security identifier of the user, like `S-1-5-21-…-1001`.
///
/// # Errors
/// When Windows does not tell.
#[expect(unsafe_code, reason = "calls of the Win32 interface")]
pub fn user_sid() -> io::Result<String> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the pseudo handle of the process needs no closing, and `token` is filled or the call fails.
    check(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: the call succeeded, so the handle is open and nobody else's.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    // A TOKEN_USER and the longest identifier behind it (68 bytes), aligned as the former wants.
    let mut user = [0_usize; 32];
    let (room, mut filled) = (size_of_val(&user) as u32, 0);
    // SAFETY: `user` has `room` bytes, and the call writes no more.
    check(unsafe {
        GetTokenInformation(token.as_raw_handle(), TokenUser, user.as_mut_ptr().cast(), room, &raw mut filled)
    })?;
    // SAFETY: the call succeeded, so a TOKEN_USER stands at the start; its identifier lies in `user` too.
    sid_text(unsafe { (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid })
}

/// The security identifier of who made a pipe.
///
/// # Errors
/// When Windows does not tell.
#[expect(unsafe_code, reason = "a call of the Win32 interface")]
pub(crate) fn owner_sid(pipe: &impl AsRawHandle) -> io::Result<String> {
    let (mut owner, mut descriptor): (PSID, _) = (null_mut(), null_mut());
    // SAFETY: the handle is open as long as `pipe` is borrowed; the call fills both pointers or fails.
    let error = unsafe {
        GetSecurityInfo(
            pipe.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error.cast_signed()));
    }
    // `owner` points into the descriptor.
    let _descriptor = Lent(descriptor);
    if owner.is_null() { Err(io::ErrorKind::NotFound.into()) } else { sid_text(owner) }
}

/// `sid` must point to an identifier.
#[expect(unsafe_code, reason = "calls of the Win32 interface")]
fn sid_text(sid: PSID) -> io::Result<String> {
    let mut text = null_mut();
    // SAFETY: both callers got the identifier from Windows a moment ago; `text` is filled or the call fails.
    check(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    let lent = Lent(text);
    // SAFETY: Windows ended the text with a zero, and every place before that is part of it.
    let length = (0..).take_while(|place| unsafe { *lent.0.add(*place) } != 0).count();
    // SAFETY: see above; the memory lives until `lent` is dropped.
    let units = unsafe { std::slice::from_raw_parts(lent.0, length) };
    String::from_utf16(units).map_err(io::Error::other)
}

/// Whether this process has an administrator's rights, and not only a user who could ask for them.
#[expect(unsafe_code, reason = "a call of the Win32 interface")]
pub fn is_administrator() -> bool {
    // SAFETY: it takes nothing and answers yes or no.
    unsafe { IsUserAnAdmin() != 0 }
}
