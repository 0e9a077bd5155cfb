//! `vmsgate-shim keep-routes`, which `up --mode tun` starts.

use vmsgate_cli::{CliError, Exit};

pub fn execute(interface: &str) -> Result<Exit, CliError> {
    vmsgate_shim::tun::keep_routes(interface).map_err(|error| {
        CliError::unexpected(error).context(format!("the routes through {interface} are not kept"))
    })?;
    Ok(Exit::Done)
}
