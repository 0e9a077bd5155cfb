//! `vmsgate audit export`

mod mapping;
mod out;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use vmsgate_audit::{
    Database, Label,
    export::{Export, ExportError, Exported, Selection},
    pseudonym::{Pseudonyms, Replacer},
};
use vmsgate_cli::{CliError, Exit, OrFail, time::TimeArg};

use self::out::{Out, Writer};
use super::{super::counted, file::NewFile};
use crate::commands::{
    Context,
    on_record::{self, Act, Reading},
    records::{self, AboutArgs},
};

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Only records of this time or later: a distance from now (24h, 7d), a date, or a time
    #[arg(long, value_name = "TIME")]
    since: Option<TimeArg>,

    /// Only records before this time
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArg>,

    #[command(flatten)]
    about: AboutArgs,

    /// Everything about this operator, for an access request
    ///
    /// Sessions, flows and refusals; administrative acts on their clients or naming them; and who asked the log
    /// about them.
    #[arg(long, value_name = "NAME", value_parser = records::label)]
    subject: Option<Label>,

    /// JSON lines, or CSV with one row a record
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,

    /// Write to this new file, readable by you alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Put stable pseudonyms in place of people, devices, keys, and their addresses
    ///
    /// The result can no longer be verified against the chain, and stays personal data: habits may tell who it is.
    #[arg(long, requires = "mapping")]
    pseudonymise: bool,

    /// Keep the key and the table of pseudonyms in this file, readable by you alone
    ///
    /// A mapping that exists is gone on with, so that exports under it can be joined. Whoever has the file can resolve
    /// the pseudonyms: do not pass it on.
    #[arg(long, value_name = "FILE", requires = "pseudonymise")]
    mapping: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Jsonl,
    Csv,
}

/// What was exported, as it goes on record.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    selection: &'a Selection,
    format: Format,
    pseudonymised: bool,
}

pub async fn execute(context: &Context, args: &ExportArgs) -> Result<Exit, CliError> {
    let selection = args.selection(Timestamp::now())?;
    let file = args.out.as_deref().map(NewFile::create).transpose()?;
    let database = records::open(context).await?;
    let pseudonyms = match &args.mapping {
        Some(path) => {
            let mut pseudonyms = mapping::load(path)?;
            learn_all(&database, &mut pseudonyms).await?;
            mapping::store(path, &pseudonyms)?;
            Some(pseudonyms)
        }
        None => None,
    };

    let mut out = Out::new(context, file);
    let written = write(&database, &selection, args.format, pseudonyms.as_ref(), &mut out).await;
    // What reached standard output counts, even when its reader went away in the middle.
    let asked = Asked { selection: &selection, format: args.format, pseudonymised: args.pseudonymise };
    let (rows, result) = written;
    if result.is_ok() || out.is_public() {
        let reading = Reading { filters: asked, rows };
        on_record::note(context, &database, Act::Export, "audit export", &reading).await?;
    }
    database.close().await;
    let Exported { records, unreadable } = result?;
    out.finish()?;

    context.printer.note(format_args!("{} exported", counted(records, "record")))?;
    if unreadable > 0 {
        context.printer.warning(format_args!(
            "{unreadable} records were altered and are left out: keep a copy of the database"
        ))?;
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

/// From the whole log and not from the selection: free text may name somebody whose own records were not selected.
async fn learn_all(database: &Database, pseudonyms: &mut Pseudonyms) -> Result<(), CliError> {
    let everything = Selection::default();
    let export = Export::begin(database, &everything).await.or_unexpected("cannot read the audit log")?;
    let learned = export.each(|_, text| {
        pseudonyms.learn(&serde_json::from_str(text)?);
        Ok(())
    });
    learned.await.map(drop).map_err(failed)
}

/// Answers how many records were written, also when it fails.
async fn write(
    database: &Database,
    selection: &Selection,
    format: Format,
    pseudonyms: Option<&Pseudonyms>,
    out: &mut Out<'_>,
) -> (u64, Result<Exported, CliError>) {
    let replacer = pseudonyms.map(Pseudonyms::replacer);
    let mut rows = 0;
    let export = match Export::begin(database, selection).await.or_unexpected("cannot read the audit log") {
        Ok(export) => export,
        Err(error) => return (rows, Err(error)),
    };
    let mut writer = match Writer::new(format, out) {
        Ok(writer) => writer,
        Err(error) => return (rows, Err(error.into())),
    };
    let each = export.each(|_, text| {
        match &replacer {
            Some(replacer) => writer.record(&replaced(replacer, text)?)?,
            None => writer.record(text)?,
        }
        rows += 1;
        Ok(())
    });
    let result = match each.await {
        Ok(exported) => writer.flush().map(|()| exported).map_err(CliError::from),
        Err(error) => Err(failed(error)),
    };
    (rows, result)
}

fn replaced(replacer: &Replacer<'_>, text: &str) -> std::io::Result<String> {
    let record: Value = serde_json::from_str(text)?;
    replacer.replace(&record).map_err(std::io::Error::other)
}

fn failed(error: ExportError) -> CliError {
    match error {
        ExportError::Store(error) => CliError::unexpected(error).context("cannot read the audit log"),
        ExportError::Write(error) => error.into(),
    }
}

impl ExportArgs {
    fn selection(&self, now: Timestamp) -> Result<Selection, CliError> {
        let (since, until) = records::period(self.since, self.until, now)?;
        let AboutArgs { client, operator, server } = self.about.clone();
        Ok(Selection { since, until, client, operator, server, subject: self.subject.clone() })
    }
}
