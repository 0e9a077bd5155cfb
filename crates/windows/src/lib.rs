//! What the shim needs of Windows and no safe crate offers: keys that only their user can read (`seal`), channels
//! between processes of one user (`Channel`), whether a console window is the shim's own (`owns_console`), the user's
//! folders (`Folder`) and shortcuts (`Shortcut`), and for mode `tun` an interface (`Wintun`), what is around it
//! (`Surroundings`) and who answers which names (`NameRules`).
//!
//! Elsewhere this crate is empty. Beside `vmsgate-netio` it is the only one in which `unsafe` is allowed, for calls of
//! the Win32 interface.
#![cfg(windows)]

mod channel;
mod console;
mod folder;
mod names;
mod seal;
mod shortcut;
mod surroundings;
mod user;
mod wintun;

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;

use windows_sys::Win32::Foundation::{LocalFree, NO_ERROR};
use windows_sys::core::{BOOL, HRESULT};

pub use channel::{Channel, connect, is_open};
pub use console::owns_console;
pub use folder::Folder;
pub use names::{NameRules, has_name_policy, set_suffix};
pub use seal::{seal, unseal};
pub use shortcut::Shortcut;
pub use surroundings::{RouteChanges, Surroundings};
pub use user::{is_administrator, user_sid};
pub use wintun::Wintun;

/// Memory that Windows lent and wants back.
struct Lent<T>(*mut T);

impl<T> Drop for Lent<T> {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn drop(&mut self) {
        // SAFETY: every maker of one got the pointer from a call that says to free it so, and keeps no copy.
        unsafe { LocalFree(self.0.cast()) };
    }
}

/// The answer of the registry and of the network's tables, which is an error itself.
fn check_error(error: u32) -> io::Result<()> {
    if error == NO_ERROR { Ok(()) } else { Err(io::Error::from_raw_os_error(error.cast_signed())) }
}

fn check(answer: BOOL) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The answer of COM and the shell; a negative one is a failure.
fn check_hresult(answer: HRESULT) -> io::Result<()> {
    if answer < 0 { Err(io::Error::from_raw_os_error(answer)) } else { Ok(()) }
}

/// Text as Windows takes it: UTF-16 with a zero at the end.
fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}
