//! What the three programs share towards the person at the terminal.
//!
//! * [`Printer`]: stdout carries data and nothing else, stderr carries the rest. `--json` replaces tables by one
//!   document with a `schema_version`, `--quiet` silences notes, colour appears on terminals only.
//! * [`CliError`] and [`Exit`]: what went wrong, whose turn it is, and what to type next. Exit status 0 means
//!   done, 1 means that the answer is no or that the user must fix something, 2 means wrong usage or a fault.
//! * [`Csv`]: rows for spreadsheets and scripts, without cells that a spreadsheet would compute.
//! * [`run_main`]: the one place that turns the above (and a panic) into text and an exit status.
//! * [`DocumentCommand`]: completions and manual pages, in every program.
//! * [`args`]: flags with the same name and meaning in every program.
//! * [`logging`]: readable lines on a terminal, JSON objects elsewhere, always on stderr.
//! * [`time`] and [`human`]: times and sizes, read from people and written for people.
//!
//! ```no_run
//! use vmsgate_cli::{CliError, Exit, Printer, args::OutputArgs, run_main};
//!
//! fn main() -> std::process::ExitCode {
//!     run_main(|| {
//!         let printer = Printer::new(&OutputArgs::default());
//!         printer.line("10.99.0.1")?;
//!         if std::env::args().len() > 9 {
//!             return Err(CliError::user("too many addresses").hint("name at most eight"));
//!         }
//!         Ok(Exit::Done)
//!     })
//! }
//! ```

pub mod args;
mod csv;
mod document;
mod error;
mod exit;
pub mod human;
mod limit;
pub mod logging;
mod printer;
mod table;
pub mod time;

pub use csv::Csv;
pub use document::DocumentCommand;
pub use error::{Cause, CliError, Failure, OrFail, WithHint};
pub use exit::{EXIT_STATUS_HELP, Exit, run_main};
pub use printer::{Printer, Style};
pub use table::Table;
