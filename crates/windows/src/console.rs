//! The console window that a program writes into.

use windows_sys::Win32::System::Console::GetConsoleProcessList;

/// Whether this process is the only one in its console window: it was started by a double click, and the window closes
/// with it.
#[must_use]
#[expect(unsafe_code, reason = "a call of the Win32 interface")]
pub fn owns_console() -> bool {
    let mut processes = [0; 2];
    // SAFETY: the list has room for as many as the call is told.
    unsafe { GetConsoleProcessList(processes.as_mut_ptr(), processes.len() as u32) == 1 }
}
