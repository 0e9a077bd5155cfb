//! The user's own folders, wherever they were moved to.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;
use std::ptr::null_mut;

use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::UI::Shell::{
    FOLDERID_LocalAppData, FOLDERID_Programs, FOLDERID_Startup, SHGetKnownFolderPath,
};

use crate::check_hresult;

/// A folder that Windows keeps for each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// What programs store for the user on this machine.
    LocalAppData,
    /// The programs of the Start menu.
    StartMenu,
    /// What is started at log-on.
    Startup,
}

impl Folder {
    /// Where it is.
    ///
    /// # Errors
    /// When the user has none.
    #[expect(unsafe_code, reason = "calls of the Win32 interface")]
    pub fn path(self) -> io::Result<PathBuf> {
        let id = match self {
            Self::LocalAppData => FOLDERID_LocalAppData,
            Self::StartMenu => FOLDERID_Programs,
            Self::Startup => FOLDERID_Startup,
        };
        let mut text = null_mut();
        // SAFETY: `id` outlives the call, no token means the user of this process, and `text` is filled in any case.
        let answer = unsafe { SHGetKnownFolderPath(&raw const id, 0, null_mut(), &raw mut text) };
        let path = check_hresult(answer).map(|()| {
            // SAFETY: the call succeeded, so the text is there and ends with a zero.
            let length = (0..).take_while(|place| unsafe { *text.add(*place) } != 0).count();
            // SAFETY: see above; nobody else has it before it is freed below.
            OsString::from_wide(unsafe { std::slice::from_raw_parts(text, length) })
        });
        // SAFETY: the caller of SHGetKnownFolderPath frees the text so, also after a failure, and here is its last use.
        unsafe { CoTaskMemFree(text.cast()) };
        path.map(PathBuf::from)
    }
}
