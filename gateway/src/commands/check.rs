//! `vmsgate check`

mod compliance;
mod diff;
mod file;
mod post_quantum;

use clap::Args;
use vmsgate_cli::{CliError, Exit};

use super::Context;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Compare the configuration and the data directory with the measures of docs/compliance.md
    #[arg(long)]
    compliance: bool,

    /// Ask the running gateway what the file would change for whom, and which live flows it would cut
    #[arg(long, conflicts_with = "compliance")]
    diff: bool,
}

pub async fn execute(context: &Context, args: &CheckArgs) -> Result<Exit, CliError> {
    match args {
        CheckArgs { compliance: true, .. } => compliance::execute(context).await,
        CheckArgs { diff: true, .. } => diff::execute(context).await,
        _ => file::execute(context).await,
    }
}
