//! `vmsgate audit verify`

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vmsgate_audit::{
    Anchor, Database, UtcTime, VerifyingKey,
    verify::{AnchorReport, AnchorState, ChainReport, IndexState, KeySource, Known, Report, verify},
};
use vmsgate_cli::{CliError, Exit, OrFail, WithHint, human};

use super::{
    super::{Context, counted, records},
    open,
};
use crate::hinted::database_error;

const SCHEMA_VERSION: u32 = 1;
/// A running gateway signs every minute; more than this without a signature is remarkable.
const UNSIGNED_AT_MOST: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A database file, such as a copy, instead of that of the data directory
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// A file with checkpoint lines that were kept elsewhere; may be given several times
    #[arg(long = "anchor", value_name = "FILE")]
    anchors: Vec<PathBuf>,

    /// The public key that the log must be signed with, as `vmsgate-keys gateway show` printed it
    #[arg(long, value_name = "PUBLICKEY")]
    key: Option<VerifyingKey>,
}

pub async fn execute(context: &Context, args: &VerifyArgs) -> Result<Exit, CliError> {
    let mut known = Known { key: args.key, anchors: Vec::new() };
    for path in &args.anchors {
        let text = fs::read_to_string(path).or_user(format!("cannot read {}", path.display()))?;
        let anchors = Anchor::read_all(&text).or_user(format!("cannot use {}", path.display()));
        let hint = "put the lines of `vmsgate audit checkpoint` into it, each whole and on a line of its own";
        known.anchors.extend(anchors.hint(hint)?);
    }
    let database = match &args.file {
        Some(file) => Database::open_read_only(file).await.map_err(database_error)?,
        None => open(context).await?,
    };
    let started = Instant::now();
    let mut report = verified(&database, &known).await?;
    database.close().await;
    if args.key.is_some() && report.proven && !report.is_signed() && !report.chains.is_empty() {
        report.faults.push("nothing in it is signed, with the given key or another".to_owned());
        report.proven = false;
    }
    if context.printer.is_json() {
        context.printer.json(SCHEMA_VERSION, &report)?;
    } else {
        print(context, &report, started.elapsed())?;
    }
    Ok(if report.proven { Exit::Done } else { Exit::No })
}

/// Verifies with a progress bar.
pub(super) async fn verified(database: &Database, known: &Known) -> Result<Report, CliError> {
    let bar = bar();
    let report = verify(database, known, |progress| {
        bar.set_length(progress.total.max(progress.done));
        bar.set_position(progress.done);
    });
    let report = report.await;
    bar.finish_and_clear();
    report.or_unexpected("cannot read the audit log")
}

/// On standard error, and only if that is a terminal.
fn bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} records, {per_sec}, {eta} left");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(context: &Context, report: &Report, took: Duration) -> Result<(), CliError> {
    let printer = &context.printer;
    for line in findings(report) {
        printer.line(line)?;
    }
    let total: u64 = report.chains.iter().map(|chain| chain.records).sum();
    printer.note(format_args!("{} checked in {}", counted(total, "record"), human::duration(took)))?;
    conclude(context, report)
}

/// Every chain, anchor and fault, in lines for people.
pub(super) fn findings(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for chain in &report.chains {
        lines.push(summary(chain));
        if let Some(fault) = &chain.fault {
            let time = fault.time.map(|time| format!(" (after {})", records::time(time))).unwrap_or_default();
            lines.push(format!("  NOT PROVEN at record {}{time}: {}", fault.seq, fault.what));
            lines.push(format!("  {}", still_proven(chain)));
        } else if let Some(remark) = unsigned(chain) {
            lines.push(format!("  {remark}"));
        }
    }
    lines.extend(report.anchors.iter().map(anchor_line));
    lines.extend(report.faults.iter().map(|fault| format!("NOT PROVEN: {fault}")));
    match &report.index {
        IndexState::Agrees => {}
        IndexState::Disagrees { table, what } => lines.push(format!(
            "NOT PROVEN: the listings do not say what the records say: {what} (table `{table}`). The records hold: do not \
             rely on `sessions` and `flows` of this database"
        )),
        IndexState::NotChecked => {
            lines.push("the listings were not compared, because records do not hold".to_owned());
        }
    }
    lines
}

fn summary(chain: &ChainReport) -> String {
    let range = match (chain.first, chain.last) {
        (Some(first), Some(last)) => format!(", {} to {}", records::time(first), records::time(last)),
        _ => String::new(),
    };
    let pruned = match chain.pruned {
        0 => String::new(),
        pruned => format!(", {pruned} pruned"),
    };
    let checkpoints = counted(chain.checkpoints, "checkpoint");
    format!("{}: {}{range}, {checkpoints}{pruned}", chain.chain, counted(chain.records, "record"))
}

fn still_proven(chain: &ChainReport) -> String {
    match (chain.first, chain.proven_until) {
        (Some(first), Some(until)) => format!(
            "still proven: {} to {} (record {})",
            records::time(first),
            records::time(until.time),
            until.seq
        ),
        _ => "no signed checkpoint before it: nothing of this chain is proven".to_owned(),
    }
}

fn unsigned(chain: &ChainReport) -> Option<String> {
    let since = chain.unsigned_since?;
    let records = counted(chain.unsigned, "record");
    if chain.proven_until.is_none() {
        return Some(format!(
            "{records} without any signature: complete in itself, but anybody could have written it"
        ));
    }
    let spans = chain.last.is_some_and(|last| Duration::from_millis(last.ms_since(since)) > UNSIGNED_AT_MOST);
    let remark =
        if spans { "; a running gateway signs every minute: was its checkpoint removed?" } else { "" };
    Some(format!("{records} since {} not signed yet{remark}", records::time(since)))
}

fn anchor_line(anchor: &AnchorReport) -> String {
    let AnchorReport { chain, seq, time, state } = anchor;
    let found = match state {
        AnchorState::Confirmed => "the log has it",
        AnchorState::Pruned => "was pruned and cannot be compared",
        AnchorState::NotReached => "NOT PROVEN: the chain breaks before it",
        AnchorState::Missing => "NOT PROVEN: the log does not have it: its tail was cut off",
        AnchorState::Different => "NOT PROVEN: the log has another record there: it was written anew",
        AnchorState::OtherKey => "NOT PROVEN: it names another key than the others, or than --key",
    };
    format!("anchor {chain} {seq} of {}: {found}", at(*time))
}

fn at(time: UtcTime) -> String {
    records::time(time)
}

fn conclude(context: &Context, report: &Report) -> Result<(), CliError> {
    let printer = &context.printer;
    if !report.proven {
        printer.line("NOT PROVEN")?;
        printer.hint(
            "keep a copy of the database and of everything beside it before anything else is done to it",
        )?;
        return Ok(());
    }
    if report.chains.is_empty() {
        printer.line("proven, but there is not one record in it")?;
        return Ok(());
    }
    if !report.is_signed() {
        printer.line("intact, but nothing in it is signed: anybody could have written it")?;
        printer.hint("a running gateway signs it every minute; before its first start, nobody does")?;
        return Ok(());
    }
    match (report.key, report.key_source) {
        (None, _) => {}
        (Some(key), KeySource::Database) => {
            printer.line(format_args!("proven, with the key {key} that the log itself names"))?;
            printer.hint(
                "this proves nothing against somebody who replaced the log and that key: give the key that \
                 `vmsgate-keys gateway show` printed with --key, or a kept checkpoint with --anchor",
            )?;
        }
        (Some(key), _) => printer.line(format_args!("proven, with the key {key}"))?,
    }
    Ok(())
}
