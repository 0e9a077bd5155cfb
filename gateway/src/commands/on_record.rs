//! Who reads the log is on record too: one administrative record for each question that was answered.

use jiff::Timestamp;
use serde::Serialize;
use vmsgate_audit::{Database, Label, Snapshot, StoreError, UtcTime, append_act, event::Admin};
use vmsgate_cli::CliError;
use vmsgate_keys::Actor;

use super::Context;

/// What was done with the log.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Read,
    Export,
    Report,
    /// Printed, to be kept elsewhere.
    Checkpoint,
}

/// Which question was asked and how much the answer holds.
#[derive(Debug, Serialize)]
pub struct Reading<Filters> {
    pub filters: Filters,
    pub rows: u64,
}

/// Puts a reading on record, waiting for other writers.
///
/// An auditor's copy may be read-only, and a full disk is no reason to keep the log from those who must see it: when
/// the record cannot be written, a warning says so and the answer follows all the same.
pub(super) async fn note<Filters: Serialize>(
    context: &Context,
    database: &Database,
    act: Act,
    command: &str,
    reading: &Reading<Filters>,
) -> Result<(), CliError> {
    let Err(error) = write(database, &context.actor(), act, command, reading).await else { return Ok(()) };
    let error = CliError::unexpected(error);
    let causes: Vec<String> = error.chain().collect();
    context.printer.warning(format_args!("this reading is not on record: {}", causes.join(": ")))?;
    Ok(())
}

async fn write<Filters: Serialize>(
    database: &Database,
    actor: &Actor,
    act: Act,
    command: &str,
    reading: &Reading<Filters>,
) -> Result<(), StoreError> {
    let act = Admin {
        act: Label::new(match act {
            Act::Read => "audit.read",
            Act::Export => "audit.export",
            Act::Report => "audit.report",
            Act::Checkpoint => "audit.checkpoint",
        }),
        actor: actor.label(),
        object: Label::new(command),
        before: None,
        // A few labels and numbers: never too large, and no fraction among them.
        after: Snapshot::of(reading).ok(),
    };
    append_act(database, act, UtcTime::from(Timestamp::now())).await
}
