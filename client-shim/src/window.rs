//! The window of a program that was started by a double click closes with it, and what it said is gone. So after a
//! failure it stays until it has been read.

use std::io::{self, Write};
use std::process::ExitCode;

/// Waits for Enter if the window is this program's own and would close now.
pub fn keep_open(code: ExitCode) -> ExitCode {
    if code != ExitCode::SUCCESS && vmsgate_windows::owns_console() {
        let _ = write!(io::stderr(), "\nPress Enter to close this window. ");
        let _ = io::stdin().read_line(&mut String::new());
    }
    code
}
