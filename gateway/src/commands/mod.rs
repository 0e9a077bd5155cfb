//! One file per subcommand, and what they share.

use std::path::PathBuf;

use vmsgate_cli::{
    CliError, Printer, WithHint,
    args::{InstallationArgs, OutputArgs},
};
use vmsgate_config::Config;

pub mod check;
pub mod denials;
pub mod explain;
pub mod flows;
pub mod records;
pub mod sessions;
pub mod status;

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    pub output: OutputArgs,
    pub installation: InstallationArgs,
    pub printer: Printer,
}

impl Context {
    /// The configuration, for commands that cannot do without.
    pub fn config(&self) -> Result<Config, CliError> {
        let path = self.installation.config_path();
        vmsgate_config::load(path).map_err(CliError::user).hint(format!(
            "`vmsgate -c {} check` shows all findings; `-c FILE` names another file",
            path.display()
        ))
    }

    /// The data directory. A configuration is read only if nothing else names one, and may be missing
    /// unless it was asked for.
    pub fn data_dir(&self) -> Result<PathBuf, CliError> {
        let asked = self.installation.config.is_some();
        if self.installation.data.is_some() || !(asked || self.installation.config_path().exists()) {
            return Ok(self.installation.data_dir(None));
        }
        Ok(self.installation.data_dir(Some(&self.config()?.gateway.data)))
    }
}
