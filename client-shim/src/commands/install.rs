//! `vmsgate-shim install` and `vmsgate-shim uninstall`

use std::path::Path;

use vmsgate_cli::{CliError, Exit, Printer, human};
use vmsgate_shim::report::SCHEMA_VERSION;

use super::up::read_profile;
use crate::cli::{InstallArgs, InstanceArgs};
use crate::instance;
use crate::setup::{self, SetupError};

pub fn install(args: &InstallArgs, printer: &Printer) -> Result<Exit, CliError> {
    let profile = read_profile(&args.profile)?;
    let file = profile.file.as_deref().unwrap_or(&args.profile);
    let installed = setup::install(&profile.name, file, !args.no_log_on).map_err(refused)?;
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &installed)?;
        return Ok(Exit::Done);
    }
    for path in std::iter::once(&installed.program).chain(&installed.entries) {
        printer.line(shown(path))?;
    }
    let now = if args.no_log_on { "" } else { ", and it is started whenever you log on" };
    printer.hint(human::printable(&format!("connect now: {}{now}", installed.start)))?;
    Ok(Exit::Done)
}

pub fn uninstall(args: &InstanceArgs, printer: &Printer) -> Result<Exit, CliError> {
    let name = args.profile.as_deref().map(instance::name_of);
    let running = instance::running();
    if let Some(up) = running.iter().find(|up| name.as_ref().is_none_or(|name| name == *up)) {
        let error = CliError::user(human::printable(&format!("the profile {up} is up")));
        return Err(error.hint("end it first: nothing was removed"));
    }
    let removed = setup::uninstall(name.as_deref()).map_err(refused)?;
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &removed)?;
        return Ok(Exit::Done);
    }
    for path in &removed.removed {
        printer.line(format_args!("removed {}", shown(path)))?;
    }
    printer.hint("profiles stay where they are; they hold your keys")?;
    Ok(Exit::Done)
}

fn shown(path: &Path) -> impl std::fmt::Display {
    human::printable(&path.display().to_string())
}

fn refused(error: SetupError) -> CliError {
    let hint = match &error {
        SetupError::NoPlace(_) => "log on as yourself: everything goes into your own folders",
        SetupError::Unwritable { .. } => "run it again once that is possible: it goes on where it was",
        SetupError::NotOurs(_) => "move it away; what is in use stays as it is",
        SetupError::NotNotes(_) => "move it away, and remove by hand what was set up",
        SetupError::NotInstalled(_) | SetupError::NothingInstalled => {
            "`vmsgate-shim install PROFILE` sets one up"
        }
    };
    CliError::user(error).hint(hint)
}
