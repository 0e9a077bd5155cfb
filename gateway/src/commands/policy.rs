//! `vmsgate policy`: a configuration held against what was recorded.

mod cover;
mod judge;
mod learn;
mod replay;

use clap::Subcommand;
use vmsgate_cli::{CliError, Exit};

use super::Context;
use crate::cli::after_help;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say which recorded flows the file would have refused, and which recorded denials it would have allowed
    ///
    /// Judges what is in the audit log by the configuration file at hand, with the roles that clients had then. Reads the
    /// database, not the running gateway, and leaves a record of the reading. What no role decides is left out: refusals by
    /// limits, and while records could not be kept. Records do not tell which sessions were post-quantum: what only
    /// `require-post-quantum` would have refused is not told. Exit status 0 if the file would have decided all of it the
    /// same, 1 if not.
    #[command(after_long_help = after_help(&[
        "vmsgate -c new.toml policy replay --since 30d",
        "vmsgate policy replay --since 7d --client anna-laptop --json",
    ]))]
    Replay(replay::ReplayArgs),

    /// Write the smallest role that covers what a client really used, ready to be added to the file
    ///
    /// Takes the flows of the client in the audit log, and the services of the servers in the configuration file: those that
    /// have what was used and open the least besides. The result is checked by the function that judges packets. Leaves a
    /// record of the reading. Exit status 0 if all that was used is covered, 1 if no service of the file has some of it; the
    /// comments then say what.
    #[command(after_long_help = after_help(&[
        "vmsgate policy learn --client anna-laptop --since 7d",
        "vmsgate policy learn --client anna-laptop --since 30d --role guard >> new.toml",
    ]))]
    Learn(learn::LearnArgs),
}

pub async fn execute(context: &Context, command: &PolicyCommand) -> Result<Exit, CliError> {
    match command {
        PolicyCommand::Replay(args) => replay::execute(context, args).await,
        PolicyCommand::Learn(args) => learn::execute(context, args).await,
    }
}
