//! `vmsgate check`

mod compliance;
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
}

pub async fn execute(context: &Context, args: &CheckArgs) -> Result<Exit, CliError> {
    if args.compliance { compliance::execute(context).await } else { file::execute(context).await }
}
