//! `up --hosts`: the names are in the hosts file for as long as the shim runs.

use vmsgate_cli::CliError;
use vmsgate_shim::Report;
use vmsgate_shim::hosts::{Block, HostsError, HostsFile};

use super::elevation::Elevation;
use super::refused;

/// The block of a running shim. Dropping it takes the block out.
#[derive(Debug)]
pub struct Names {
    file: HostsFile,
    profile: String,
}

impl Names {
    /// Takes out what a killed shim may have left: its servers may be others by now.
    ///
    /// # Errors
    /// When this person may not change the file, or the block in it is broken.
    pub fn prepare(file: HostsFile, profile: &str) -> Result<Self, CliError> {
        let prepared = file.expect_writable().and_then(|()| file.remove(profile));
        prepared.map_err(|error| match &error {
            HostsError::Denied { .. } => CliError::user(error).hint(
                "start it without --hosts; once it runs, `vmsgate-shim hosts --apply` says what to ask an administrator for",
            ),
            _ => refused(error, &file, &Elevation::None),
        })?;
        Ok(Self { file, profile: profile.to_owned() })
    }

    /// Brings the block in line with what the shim offers now.
    ///
    /// # Errors
    /// When that does not come about.
    pub fn update(&self, report: &Report) -> Result<(), HostsError> {
        match Block::of(report) {
            Ok(block) => self.file.apply(&block).map(drop),
            // Nothing to be found by name.
            Err(_) => self.file.remove(&self.profile).map(drop),
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Err(error) = self.file.remove(&self.profile) {
            let (file, error) = (self.file.path().display(), CliError::user(error));
            let reason: Vec<String> = error.chain().collect();
            tracing::warn!(reason = reason.join(": "), "the names stay in {file}");
        }
    }
}
