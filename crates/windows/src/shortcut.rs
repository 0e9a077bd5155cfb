//! Shortcuts (`.lnk`), written by the shell itself, which knows its own format best.

use std::ffi::c_void;
use std::io;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::System::Com::{
    CLSCTX_INPROC_SERVER, COINIT_APARTMENTTHREADED, CoCreateInstance, CoInitializeEx, CoUninitialize,
};
use windows_sys::Win32::UI::WindowsAndMessaging::{SW_SHOWMINNOACTIVE, SW_SHOWNORMAL};
use windows_sys::core::{GUID, HRESULT, PCWSTR};

use crate::{check_hresult, wide};

/// Identifiers and tables of `shobjidl_core.h` and `objidl.h`.
static SHELL_LINK: GUID = GUID::from_u128(0x00021401_0000_0000_c000_000000000046);
static ISHELL_LINK: GUID = GUID::from_u128(0x000214f9_0000_0000_c000_000000000046);
static IPERSIST_FILE: GUID = GUID::from_u128(0x0000010b_0000_0000_c000_000000000046);

/// A shortcut to a program.
#[derive(Debug, Clone, Copy)]
pub struct Shortcut<'a> {
    pub program: &'a Path,
    pub arguments: &'a str,
    /// The folder that the program starts in.
    pub folder: &'a Path,
    /// What is shown when the pointer rests on it.
    pub description: &'a str,
    /// Whether its window begins in the task bar.
    pub minimized: bool,
}

impl Shortcut<'_> {
    /// Writes the shortcut, in place of one that is there.
    ///
    /// # Errors
    /// What the shell says.
    #[expect(unsafe_code, reason = "calls of the Win32 interface")]
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let _apartment = Apartment::enter()?;
        let mut link: *mut c_void = null_mut();
        // SAFETY: the identifiers outlive the call, and `link` is filled or the call fails.
        check_hresult(unsafe {
            CoCreateInstance(
                &raw const SHELL_LINK,
                null_mut(),
                CLSCTX_INPROC_SERVER,
                &raw const ISHELL_LINK,
                &raw mut link,
            )
        })?;
        let link = Object(link.cast::<*const ShellLink>());
        let [program, arguments, folder, description] =
            [wide(self.program), wide(self.arguments), wide(self.folder), wide(self.description)];
        let show = if self.minimized { SW_SHOWMINNOACTIVE } else { SW_SHOWNORMAL };
        let mut file: *mut c_void = null_mut();
        // SAFETY: an object that was asked for as IShellLinkW begins with a pointer to its table, and lives until it is
        // released; the texts end with a zero and outlive the calls.
        check_hresult(unsafe {
            let table = &**link.0;
            let this = link.0.cast();
            check_hresult((table.set_path)(this, program.as_ptr()))?;
            check_hresult((table.set_arguments)(this, arguments.as_ptr()))?;
            check_hresult((table.set_working_directory)(this, folder.as_ptr()))?;
            check_hresult((table.set_description)(this, description.as_ptr()))?;
            check_hresult((table.set_show)(this, show))?;
            (table.base.query)(this, &raw const IPERSIST_FILE, &raw mut file)
        })?;
        let file = Object(file.cast::<*const PersistFile>());
        let path = wide(path);
        // SAFETY: as above, with IPersistFile.
        check_hresult(unsafe { ((**file.0).save)(file.0.cast(), path.as_ptr(), 1) })
    }
}

/// COM on this thread, for as long as it lives.
struct Apartment;

impl Apartment {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn enter() -> io::Result<Self> {
        // SAFETY: nothing is passed; every success is matched by the call in `drop`.
        check_hresult(unsafe { CoInitializeEx(null_mut(), COINIT_APARTMENTTHREADED.cast_unsigned()) })?;
        Ok(Self)
    }
}

impl Drop for Apartment {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn drop(&mut self) {
        // SAFETY: `enter` succeeded on this thread, and its objects are declared later, so they are gone.
        unsafe { CoUninitialize() };
    }
}

/// One reference to an object whose first field points to a table that begins with [`Base`].
struct Object<T>(*mut *const T);

impl<T> Drop for Object<T> {
    #[expect(unsafe_code, reason = "a call of the Win32 interface")]
    fn drop(&mut self) {
        // SAFETY: both tables begin with the base's three entries, and this reference is given back once.
        unsafe { ((**self.0.cast::<*const Base>()).release)(self.0.cast()) };
    }
}

/// IUnknown. Entries that nobody here calls are only counted.
#[repr(C)]
struct Base {
    query: unsafe extern "system" fn(*mut c_void, *const GUID, *mut *mut c_void) -> HRESULT,
    add_ref: usize,
    release: unsafe extern "system" fn(*mut c_void) -> u32,
}

/// IShellLinkW.
#[repr(C)]
struct ShellLink {
    base: Base,
    get_path: usize,
    id_list: [usize; 2],
    get_description: usize,
    set_description: unsafe extern "system" fn(*mut c_void, PCWSTR) -> HRESULT,
    get_working_directory: usize,
    set_working_directory: unsafe extern "system" fn(*mut c_void, PCWSTR) -> HRESULT,
    get_arguments: usize,
    set_arguments: unsafe extern "system" fn(*mut c_void, PCWSTR) -> HRESULT,
    hotkey: [usize; 2],
    get_show: usize,
    set_show: unsafe extern "system" fn(*mut c_void, i32) -> HRESULT,
    icon_location: [usize; 2],
    set_relative_path: usize,
    resolve: usize,
    set_path: unsafe extern "system" fn(*mut c_void, PCWSTR) -> HRESULT,
}

/// IPersistFile.
#[repr(C)]
struct PersistFile {
    base: Base,
    get_class: usize,
    is_dirty: usize,
    load: usize,
    save: unsafe extern "system" fn(*mut c_void, PCWSTR, i32) -> HRESULT,
}
