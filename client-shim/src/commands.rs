//! One file per subcommand.

pub mod doctor;
pub mod enroll;
#[cfg(windows)]
pub mod export;
pub mod hosts;
#[cfg(any(target_os = "linux", windows))]
pub mod install;
#[cfg(target_os = "linux")]
pub mod keep_routes;
pub mod rotate;
pub mod status;
pub mod up;

mod ending;
mod first_answer;
mod keys;
mod refusal;
mod tables;
mod view;

use std::future::Future;

use tokio::task::LocalSet;
use vmsgate_cli::{CliError, OrFail};

/// Runs a command on this thread: everything about a tunnel stays on one.
fn on_this_thread<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(LocalSet::new().block_on(&runtime.or_unexpected("cannot start the runtime")?, work))
}
