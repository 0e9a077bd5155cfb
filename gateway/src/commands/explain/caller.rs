//! The client that `explain --client` names, as the registry knows it.

use vmsgate_cli::CliError;
use vmsgate_config::Config;

use crate::commands::Context;

pub(super) struct Caller {
    pub(super) role: String,
    /// Why the client can open no tunnel, if it cannot.
    pub(super) refused: Option<String>,
}

pub(super) fn look_up(_context: &Context, _config: &Config, client: &str) -> Result<Caller, CliError> {
    Err(CliError::user(format!("there is no client `{client}`")))
}
