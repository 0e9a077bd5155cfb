//! `vmsgate-shim export`

use vmsgate_cli::{CliError, Exit, OrFail, Printer};
use vmsgate_shim::profile;

use super::up::refused;
use crate::cli::ExportArgs;

pub fn execute(args: &ExportArgs, printer: &Printer) -> Result<Exit, CliError> {
    let text = profile::stock(&args.profile).map_err(refused)?;
    match &args.out {
        None => printer.raw(text.as_bytes())?,
        Some(file) => {
            profile::create(file, &text).or_user(format!("cannot write {}", file.display()))?;
            printer.warning(format_args!(
                "{} holds your private key, and nothing protects it",
                file.display()
            ))?;
        }
    }
    Ok(Exit::Done)
}
