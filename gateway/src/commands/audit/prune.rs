//! `vmsgate audit prune`

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::Timestamp;
use serde::Serialize;
use vmsgate_audit::{
    Database, Label, UtcTime,
    prune::{Deleter, PruneError, Pruned, acts_between, preview, prune},
    retention::{ACTS_KEPT, Class, Cutoffs},
};
use vmsgate_cli::{CliError, Exit, OrFail, Table, human, time::TimeArg};
use vmsgate_keys::{Keystore, Registry};

use super::{
    super::{Context, counted, records},
    open,
};
use crate::hinted::{keystore_error, registry_error};

const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Delete what is older: a distance from now (90d), a date, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    before: TimeArg,

    /// Only records of this kind; may be given several times
    #[arg(long = "kind", value_name = "KIND", value_parser = class())]
    kinds: Vec<Class>,

    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Answer {
    dry_run: bool,
    before: UtcTime,
    #[serde(flatten)]
    pruned: Pruned,
    records: u64,
    /// Administrative records that are old enough by `before`, but too young to go by a command.
    acts_kept: u64,
}

pub async fn execute(context: &Context, args: &PruneArgs) -> Result<Exit, CliError> {
    let now = Timestamp::now();
    let before = UtcTime::from(args.before.before(now));
    if before > UtcTime::from(now) {
        return Err(CliError::user(format!("--before {before} lies in the future")));
    }
    let classes = if args.kinds.is_empty() { &Class::ALL[..] } else { &args.kinds };
    let cutoffs = Cutoffs::before(before, classes).keeping_acts(now.into());
    let (pruned, acts_kept) = if args.dry_run {
        let database = open(context).await?;
        let acts_kept = acts_kept(&database, &cutoffs, before).await?;
        let pruned = preview(&database, &cutoffs).await.map_err(refused)?;
        database.close().await;
        (pruned, acts_kept)
    } else {
        delete(context, args, (&cutoffs, before), now.into()).await?
    };
    let answer = Answer { dry_run: args.dry_run, before, records: pruned.records(), pruned, acts_kept };
    print(context, answer)
}

async fn delete(
    context: &Context,
    args: &PruneArgs,
    (cutoffs, before): (&Cutoffs, UtcTime),
    now: UtcTime,
) -> Result<(Pruned, u64), CliError> {
    let passphrase = context.passphrase("tombstones are signed, so the keystore's passphrase is needed")?;
    let data = context.data_dir()?;
    let keystore = Keystore::read(&data.keystore()).map_err(keystore_error)?;
    let master = keystore.open(&passphrase).map_err(keystore_error)?;
    let registry = Registry::open(&data.database()).await.map_err(registry_error)?;
    let actor = context.actor();
    let key = registry.audit_signing_key(&master, &actor).await.map_err(registry_error)?;
    let database = registry.database();
    let acts_kept = acts_kept(database, cutoffs, before).await?;
    let kinds = args.kinds.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", ");
    let object = Label::new(if kinds.is_empty() { "audit log" } else { &kinds });
    let deleter = Deleter { actor: actor.label(), object };
    let pruned = prune(database, &key, cutoffs, &deleter, now).await.map_err(refused)?;
    // The last one to close leaves one complete file.
    registry.close().await;
    Ok((pruned, acts_kept))
}

/// How many administrative records would go by `before`, but are too young.
async fn acts_kept(database: &Database, cutoffs: &Cutoffs, before: UtcTime) -> Result<u64, CliError> {
    let Some(cutoff) = cutoffs.of(Class::Admin) else { return Ok(0) };
    acts_between(database, cutoff, before).await.or_unexpected("cannot read the audit log")
}

fn refused(error: PruneError) -> CliError {
    match error {
        PruneError::Unproven(_) => CliError::user(error).hint(
            "`vmsgate audit verify` names what does not hold; what is left of a broken log is evidence",
        ),
        PruneError::Concurrent => CliError::user(error).hint("try again later"),
        PruneError::Store(_) => CliError::unexpected(error),
    }
}

fn print(context: &Context, answer: Answer) -> Result<Exit, CliError> {
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &answer)?;
        return Ok(Exit::Done);
    }
    if answer.acts_kept > 0 {
        printer.note(format_args!(
            "{} kept: younger than {}, they go by `[audit] retention-admin` alone",
            counted(answer.acts_kept, "administrative record"),
            human::duration(ACTS_KEPT)
        ))?;
    }
    if answer.records == 0 {
        printer.note(if answer.acts_kept > 0 {
            "nothing else is that old"
        } else {
            "nothing is that old"
        })?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["KIND", "RECORDS"]);
    for (kind, count) in &answer.pruned.counts {
        table.row([kind.to_string(), count.to_string()]);
    }
    printer.table(&table)?;
    let verb = if answer.dry_run { "would be deleted" } else { "deleted" };
    let range = match (answer.pruned.from, answer.pruned.to) {
        (Some(from), Some(to)) => format!(", {} to {}", records::time(from), records::time(to)),
        _ => String::new(),
    };
    printer.note(format_args!(
        "{} of {} {verb}{range}",
        answer.records,
        counted(answer.pruned.before, "record")
    ))?;
    Ok(Exit::Done)
}

/// The words for classes, as in the keys of the configuration.
fn class() -> impl TypedValueParser<Value = Class> {
    PossibleValuesParser::new(Class::ALL.map(Class::as_str)).try_map(|word| {
        Class::ALL.into_iter().find(|class| class.as_str() == word).ok_or("no kind of records")
    })
}
