//! From the result of a command to text on stderr and an exit status.

use std::{
    io::{self, IsTerminal, Write},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    thread,
};

use crate::{
    error::{CliError, Failure},
    printer::{Style, colour_allowed},
};

/// Exit statuses, for the end of a program's long help.
pub const EXIT_STATUS_HELP: &str = "\
Exit status:
  0  done
  1  the answer is no, or something must be put right first
  2  wrong usage, or a fault";

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Exit status 0.
    Done,
    /// The command did its work and the answer is no (not allowed, not healthy). Exit status 1.
    No,
}

/// Runs a program's body and turns its result into an exit status.
///
/// An error is printed as `error: …` with one line per cause, then a blank line and `hint: …`. A closed output
/// pipe counts as success. A panic becomes one line on stderr and exit status 2, in threads of the program as
/// well (where it ends the thread alone).
pub fn run_main(body: impl FnOnce() -> Result<Exit, CliError>) -> ExitCode {
    panic::set_hook(Box::new(|info| {
        // A closed stderr must not panic again.
        let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
        let message = info.payload_as_str().unwrap_or("panic");
        let _ = writeln!(io::stderr(), "error: internal fault{}: {message}", place.unwrap_or_default());
    }));
    finish(panic::catch_unwind(AssertUnwindSafe(body)))
}

fn finish(result: thread::Result<Result<Exit, CliError>>) -> ExitCode {
    match result {
        Ok(Ok(Exit::Done)) => ExitCode::SUCCESS,
        Ok(Ok(Exit::No)) => ExitCode::from(1),
        Ok(Err(error)) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            let stderr = io::stderr();
            let colour = colour_allowed(stderr.is_terminal());
            let _ = stderr.lock().write_all(render(&error, colour).as_bytes());
            match error.failure() {
                Failure::User => ExitCode::from(1),
                Failure::Unexpected => ExitCode::from(2),
            }
        }
        Err(_) => {
            let _ = writeln!(
                io::stderr(),
                "\nhint: this is a fault of the program; please report the line above"
            );
            ExitCode::from(2)
        }
    }
}

fn render(error: &CliError, colour: bool) -> String {
    let mut text = String::new();
    for (depth, message) in error.chain().enumerate() {
        if depth == 0 {
            text += &format!("{} {message}\n", Style::Error.paint("error:", colour));
        } else {
            text += &format!("  caused by: {message}\n");
        }
    }
    if let Some(hint) = error.hint_text() {
        text += &format!("\n{} {hint}\n", Style::Note.paint("hint:", colour));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_causes_and_after_a_blank_line_its_hint() {
        let error = CliError::user("no such role `smart`")
            .context("cannot add client `anna`")
            .hint("did you mean `smart-client`?");

        assert_eq!(
            render(&error, false),
            "error: cannot add client `anna`\n  caused by: no such role `smart`\n\nhint: did you mean `smart-client`?\n"
        );
    }

    #[test]
    fn the_exit_status_tells_no_from_wrong_and_from_faults() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);

        assert_eq!(finish(Ok(Ok(Exit::Done))), ExitCode::SUCCESS);
        assert_eq!(finish(Ok(Ok(Exit::No))), ExitCode::from(1));
        assert_eq!(finish(Ok(Err(CliError::user("no")))), ExitCode::from(1));
        assert_eq!(finish(Ok(Err(CliError::unexpected("disk full")))), ExitCode::from(2));
        assert_eq!(finish(Ok(Err(closed.into()))), ExitCode::SUCCESS);
        assert_eq!(finish(Err(Box::new("on purpose"))), ExitCode::from(2));
    }
}
