//! `vmsgate-shim rotate`

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use vmsgate_cli::{CliError, Exit, Printer, human};
use vmsgate_shim::keys::Rotated;
use vmsgate_shim::report::{ErrorReport, SCHEMA_VERSION};
use vmsgate_shim::{Event, Shim};

use super::status::refused;
use super::up::{claim, read_profile};
use crate::cli::InstanceArgs;
use crate::instance::{self, InstanceError, Rotation};

/// How long the gateway may take to answer where no shim runs yet: long enough for keys from before a rotation that
/// was cut short to be tried too.
const CONNECT_LIMIT: Duration = Duration::from_secs(45);

pub fn execute(args: &InstanceArgs, printer: &Printer) -> Result<Exit, CliError> {
    let rotation = match (instance::rotate(args.profile.as_deref()), &args.profile) {
        (Ok(rotation), _) => rotation,
        (Err(InstanceError::NotRunning(_)), Some(profile)) => alone(profile, printer)?,
        (Err(error @ InstanceError::NoneRuns), None) => {
            let hint = "name the profile's file: vmsgate-shim rotate PROFILE";
            return Err(CliError::user(error).hint(hint));
        }
        (Err(error), _) => return Err(refused(error)),
    };
    match rotation.outcome {
        Ok(rotated) => report(&rotated, printer),
        Err(ErrorReport { message, hint }) => {
            let error = CliError::user(human::printable(&message)).context("the key was not replaced");
            Err(error.hint(human::printable(&hint)))
        }
    }
}

fn report(rotated: &Rotated, printer: &Printer) -> Result<Exit, CliError> {
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, rotated)?;
    } else {
        let Rotated { file, before, after, .. } = rotated;
        printer.line(human::printable(&format!("the key {before} was replaced by {after} in {file}")))?;
    }
    Ok(Exit::Done)
}

/// Opens the tunnel for the rotation alone.
fn alone(path: &Path, printer: &Printer) -> Result<Rotation, CliError> {
    let profile = read_profile(path)?;
    super::on_this_thread(async {
        // A shim that starts meanwhile would take the tunnel away.
        let _instance = claim(&profile, printer)?;
        printer.note("no shim is running: opening the tunnel for the rotation")?;
        let (tell, mut events) = mpsc::unbounded_channel();
        let shim = Shim::start_without_listeners(profile, tell);
        let connected = async { while events.recv().await.is_some_and(|event| event != Event::Connected) {} };
        let heard = tokio::time::timeout(CONNECT_LIMIT, connected).await;
        if heard.is_err() {
            let trouble = shim.report().trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
            let error = CliError::user(format!("the gateway does not answer{trouble}"));
            return Err(
                error.hint("nothing was changed; is this machine online, and is the profile still valid?")
            );
        }
        let rotate = shim.rotator();
        let rotation = Rotation::new(rotate().await);
        shim.stop().await;
        Ok(rotation)
    })?
}
