//! `vmsgate demo`

use vmsgate_cli::{CliError, Exit};

use super::Context;

pub async fn execute(context: &mut Context) -> Result<Exit, CliError> {
    crate::demo::run(context).await
}
