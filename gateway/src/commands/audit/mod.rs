//! `vmsgate audit`: the log itself, not what it tells.

mod checkpoint;
mod export;
mod file;
mod proof;
mod prune;
mod report;
mod verify;

use clap::Subcommand;
use vmsgate_audit::Database;
use vmsgate_cli::{CliError, Exit};

use self::{export::ExportArgs, report::ReportArgs};
use super::Context;
use crate::{cli::after_help, hinted::database_error};

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove that the audit log is as it was written
    ///
    /// Checks every record, signature and gap, and that the listings say what the records say; names the first record
    /// that does not hold. Reads the database only: needs no passphrase and no configuration, works while the gateway runs
    /// and on a copy. The log alone proves nothing against somebody who replaced the key in it as well: give the key with
    /// --key, or a copy of a checkpoint that was kept elsewhere with --anchor, which also shows a tail that was cut off.
    ///
    /// Exit status 0 if the log is proven, 1 if it is not. A log that is intact, but in which nothing is signed, is 0 with
    /// words that say so, and 1 with --key.
    #[command(after_long_help = after_help(&[
        "vmsgate audit verify",
        "vmsgate audit verify --anchor ticket-4711.txt --anchor printed-in-march.txt",
        "vmsgate audit verify /mnt/evidence/vmsgate.db --key 6kqCq4XqP+Xx6fGzR0DGnFi4m7VuHBBjW1wfpQpSPEE=",
    ]))]
    Verify(verify::VerifyArgs),

    /// Print the newest signed checkpoint of every chain, to be kept elsewhere
    ///
    /// One line each, for a ticket, a mail or a printer: whoever has it can later show with `audit verify --anchor` that
    /// the log up to then was neither cut nor written anew, not even by somebody who has the signing key.
    ///
    /// Exit status 1 if nothing is signed yet.
    #[command(after_long_help = after_help(&["vmsgate audit checkpoint", "vmsgate audit checkpoint | lp"]))]
    Checkpoint,

    /// Delete records before a time, and leave signed tombstones for them
    ///
    /// The log still verifies afterwards, and says how many records of which kind went. Records of open sessions and flows
    /// stay, and so does what no checkpoint covers yet. A log that does not verify is left alone. May run beside the
    /// gateway, which deletes by itself what is older than `[audit] retention-…` says. Is itself an administrative record.
    ///
    /// Administrative records of the last 365 days stay, whatever --before says: only `[audit] retention-admin` reaches
    /// them.
    #[command(after_long_help = after_help(&[
        "vmsgate audit prune --before 90d --dry-run",
        "vmsgate audit prune --before 2026-01-01 --kind denials --kind handshakes --passphrase-file ./passphrase",
    ]))]
    Prune(prune::PruneArgs),

    /// Write records out: for other programs, for an access request, or without names
    ///
    /// One JSON object a line, exactly as it is stored, so that a whole log can be verified elsewhere; or CSV, one row
    /// a record. With --client also administrative acts on it. The export is itself on record.
    #[command(after_long_help = after_help(&[
        "vmsgate audit export --since 2026-11-01 --until 2026-12-01 --out november.jsonl",
        "vmsgate audit export --subject 'Anna Berg' --out anna-berg.jsonl",
        "vmsgate audit export --format csv --pseudonymise --mapping mapping.json --out shared.csv",
    ]))]
    Export(ExportArgs),

    /// Write a page for people: who, when, how much, which servers, what was refused, what administrators did
    ///
    /// One self-contained HTML file: no script, nothing loaded from elsewhere, made for paper too. Exit status 1 if
    /// the log behind it is not proven; the page is written all the same and says so.
    #[command(after_long_help = after_help(&[
        "vmsgate audit report --since 2026-11-01 --until 2026-12-01 --out november.html",
        "vmsgate audit report --since 7d --operator 'Anna Berg' --out anna-berg.html",
        "vmsgate audit report --since 90d --server rec01 --out rec01.html",
    ]))]
    Report(ReportArgs),
}

pub async fn execute(context: &Context, command: &AuditCommand) -> Result<Exit, CliError> {
    match command {
        AuditCommand::Verify(args) => verify::execute(context, args).await,
        AuditCommand::Checkpoint => checkpoint::execute(context).await,
        AuditCommand::Prune(args) => prune::execute(context, args).await,
        AuditCommand::Export(args) => export::execute(context, args).await,
        AuditCommand::Report(args) => report::execute(context, args).await,
    }
}

/// The database of the installation, for reading.
async fn open(context: &Context) -> Result<Database, CliError> {
    let database = Database::open_read_only(&context.data_dir()?.database()).await.map_err(database_error)?;
    context.keep(&database);
    Ok(database)
}
