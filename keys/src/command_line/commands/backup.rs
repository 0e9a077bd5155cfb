//! `backup`: keystore and registry into one file.

use std::{fs, path::Path};

use crate::{Backup, BackupError, Keystore};
use vmsgate_cli::{CliError, human};

use crate::command_line::context::{Context, SCHEMA_VERSION, keystore_error, registry_error};

pub async fn run(context: &Context, out: &Path) -> Result<(), CliError> {
    let failed = |error: BackupError| {
        let hint = error.hint();
        CliError::user(error).context(format!("cannot write the backup {}", out.display())).hint(hint)
    };
    // Before anything is asked.
    if fs::symlink_metadata(out).is_ok() {
        return Err(failed(BackupError::Exists));
    }
    let registry = context.registry().await?;
    let master = context.master_key()?;
    let keystore = Keystore::read(&context.data_dir()?.keystore()).map_err(keystore_error)?;
    // What could not be restored shall not look like a backup.
    let holdings = registry
        .open_everything(&master)
        .await
        .map_err(|error| registry_error(error).context("the installation cannot be backed up as it is"))?;
    let backup = Backup::make(registry, keystore, &master).await.map_err(failed)?;
    backup.write(out).map_err(failed)?;
    registry.backed_up(&backup, &context.actor()).await.map_err(|error| {
        // A copy of everything that nobody can know of is worse than none.
        let _ = fs::remove_file(out);
        registry_error(error)
    })?;

    let printer = &context.printer;
    if printer.is_json() {
        let report = serde_json::json!({
            "backup": out,
            "checksum": backup.checksum(),
            "made": backup.made(),
            "bytes": backup.bytes(),
            "clients": holdings.clients,
        });
        return Ok(printer.json(SCHEMA_VERSION, &report)?);
    }
    let (clients, size) = (holdings.clients, human::bytes(backup.bytes()));
    printer.note(format_args!("backup of `{}` in {}", holdings.settings.name, out.display()))?;
    printer.note(format_args!("it holds {clients} clients and has {size}; the audit log is not in it"))?;
    printer.note("it opens with the passphrase that the keystore has now: keep that as well, elsewhere")?;
    Ok(printer.hint(format_args!(
        "keep it on another machine; `vmsgate-keys restore --dry-run {}` proves that it works",
        out.display()
    ))?)
}
