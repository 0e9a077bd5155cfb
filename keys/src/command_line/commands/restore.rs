//! `restore`: an installation from a backup, or the proof that it would work.

use std::path::Path;

use crate::{Backup, BackupError, Holdings, OpenBackup};
use jiff::Timestamp;
use serde::Serialize;
use vmsgate_cli::{CliError, Table, human};

use crate::command_line::{
    cli::RestoreArgs,
    commands::identity_report::IdentityReport,
    context::{Context, SCHEMA_VERSION},
    secrets,
};

#[derive(Serialize)]
struct Report<'a> {
    backup: &'a Path,
    checksum: &'a str,
    made: Timestamp,
    made_by: &'a str,
    data: &'a Path,
    /// False for a dry run.
    restored: bool,
    /// What stands in the way in the data directory; only a dry run gets that far.
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<String>,
    gateway: &'a str,
    endpoints: Vec<String>,
    identities: Vec<IdentityReport<'a>>,
    clients: usize,
    active_clients: usize,
    open_invitations: usize,
    audit_key: Option<String>,
    /// Where the audit log stood that is not in the backup.
    checkpoints: &'a [String],
}

pub async fn run(context: &Context, args: &RestoreArgs) -> Result<(), CliError> {
    let failed = |error: BackupError| {
        let hint = error.hint();
        CliError::user(error).context(format!("cannot restore the backup {}", args.file.display())).hint(hint)
    };
    let data = context.data_dir()?;
    let backup = Backup::read(&args.file).map_err(failed)?;
    let occupant = backup.occupant(&data).await;
    if let Some(occupant) = occupant
        && !args.dry_run
    {
        // Before anything is asked.
        return Err(failed(BackupError::Occupied { path: data.path().to_owned(), occupant }));
    }
    let passphrase = secrets::passphrase(context.installation.passphrase_file.as_deref())?;
    let open = backup.open(&passphrase).map_err(failed)?;
    let holdings = match args.dry_run {
        true => open.rehearse(&context.actor()).await,
        false => open.restore(&data, &context.actor()).await,
    };
    let holdings = holdings.map_err(failed)?;
    let obstacle = occupant.map(|occupant| format!("{} {occupant}", data.path().display()));
    report(context, args, data.path(), obstacle, &open, &holdings)
}

fn report(
    context: &Context,
    args: &RestoreArgs,
    data: &Path,
    obstacle: Option<String>,
    open: &OpenBackup,
    holdings: &Holdings,
) -> Result<(), CliError> {
    let (printer, backup) = (&context.printer, open.backup());
    let endpoints: Vec<_> = holdings.settings.endpoints.iter().map(ToString::to_string).collect();
    if printer.is_json() {
        let report = Report {
            backup: &args.file,
            checksum: backup.checksum(),
            made: backup.made(),
            made_by: backup.made_by(),
            data,
            restored: !args.dry_run,
            obstacle: obstacle.clone(),
            gateway: &holdings.settings.name,
            endpoints,
            identities: holdings.identities.iter().map(IdentityReport::new).collect(),
            clients: holdings.clients,
            active_clients: holdings.active_clients,
            open_invitations: holdings.open_invitations,
            audit_key: holdings.audit_key.map(|key| key.to_string()),
            checkpoints: open.checkpoints(),
        };
        printer.json(SCHEMA_VERSION, &report)?;
    } else {
        let made_by = human::printable(backup.made_by());
        printer.line(format_args!("gateway      {}", human::printable(&holdings.settings.name)))?;
        printer.line(format_args!("endpoint     {}", endpoints.join(", ")))?;
        printer.line(format_args!("made         {} by version {made_by}", human::time(backup.made())))?;
        let (clients, active) = (holdings.clients, holdings.active_clients);
        printer.line(format_args!("clients      {clients}, of which {active} may connect"))?;
        printer.line(format_args!("invitations  {} open", holdings.open_invitations))?;
        if let Some(key) = holdings.audit_key {
            printer.line(format_args!("audit key    {key}"))?;
        }
        let mut table = Table::new(["PUBLIC KEY", "FINGERPRINT", "STATE"]);
        for identity in &holdings.identities {
            let key = identity.public_key;
            let state = identity.state.as_str().to_owned();
            table.row([key.to_string(), key.fingerprint().to_string(), state]);
        }
        printer.line("")?;
        printer.table(&table)?;
    }
    let made = human::time(backup.made());
    if args.dry_run {
        printer.note("\nevery secret in it opens: it can be restored; nothing was changed")?;
        if let Some(obstacle) = obstacle {
            printer.warning(format_args!("not into {obstacle}: name an empty directory with --data"))?;
        }
        return Ok(());
    }
    printer.note(format_args!("\nrestored into {}", data.display()))?;
    printer.warning(format_args!(
        "it is as it was at {made}: clients that were revoked or suspended after that are ACTIVE AGAIN, and those that \
         enrolled or changed their keys after that cannot connect"
    ))?;
    printer.warning("the audit log begins anew; keep the old vmsgate.db, if there is one, as evidence")?;
    Ok(printer.hint(
        "check `vmsgate-keys client list` against what was revoked since, before the gateway starts; it needs to be able \
         to read the restored files",
    )?)
}
