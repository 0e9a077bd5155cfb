//! What `sessions`, `flows`, `denials` and `who` have in common: which records to list, and how.
//!
//! They read the database itself, not the running gateway, so they work while it runs and when it does not.

use std::convert::Infallible;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;
use vmsgate_audit::{
    Create, Database, DbError, Destination, Label, Protocol, StoreError, Traffic, UtcTime,
    query::{Filter, Listing},
};
use vmsgate_cli::{CliError, Csv, Exit, OrFail, Table, human, time::TimeArg};

use super::{
    Context,
    on_record::{self, Act, Reading},
};
use crate::hinted::database_error;

#[derive(Debug, Args)]
pub struct RecordArgs {
    /// List what was so at or after this time: a distance from now (24h, 7d), a date, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    since: Option<TimeArg>,

    /// List what was so before this time
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArg>,

    #[command(flatten)]
    about: AboutArgs,

    /// Only this session, by its id as `--json`, `--csv` and `who` show it
    #[arg(long, value_name = "ID")]
    session: Option<Uuid>,

    /// Only what ended or was refused for this reason, e.g. idle or never-exposed
    #[arg(long, value_name = "WORD", value_parser = label)]
    reason: Option<Label>,

    /// At most this many, the newest first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    #[command(flatten)]
    format: FormatArgs,
}

/// Whom and what records are about.
#[derive(Debug, Clone, Args)]
pub(super) struct AboutArgs {
    /// Only this client (device)
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub(super) client: Option<Label>,

    /// Only this operator (person)
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub(super) operator: Option<Label>,

    /// Only this server, by its name or, for what is no configured server, its address
    #[arg(long, value_name = "SERVER", value_parser = label)]
    pub(super) server: Option<Label>,
}

/// In which form a listing is printed; the third, JSON, is asked for with the `--json` of all commands.
#[derive(Debug, Args)]
pub struct FormatArgs {
    /// Print comma-separated values with a header row: UTC times, bytes as numbers
    ///
    /// A cell that a spreadsheet would take for a formula begins with an apostrophe.
    #[arg(long)]
    csv: bool,
}

impl FormatArgs {
    pub(super) fn check(&self, context: &Context) -> Result<(), CliError> {
        match self.csv && context.printer.is_json() {
            true => Err(CliError::user("--csv and --json exclude each other").hint("ask for one of them")),
            false => Ok(()),
        }
    }
}

/// What a kind of rows looks like to people and in CSV.
pub(super) struct Shape<Row> {
    /// What to say when there is no row.
    pub(super) none: &'static str,
    pub(super) table: fn(&[Row]) -> Table,
    /// The columns of the CSV; scripts rely on their names.
    pub(super) headings: &'static [&'static str],
    pub(super) cells: fn(&Row) -> Vec<String>,
}

/// Answers one question: asks the database, puts the reading on record, prints the answer.
pub(super) async fn list<Row: Serialize>(
    context: &Context,
    args: &RecordArgs,
    command: &str,
    shape: &Shape<Row>,
    ask: impl AsyncFnOnce(&Database, &Filter) -> Result<Listing<Row>, StoreError>,
) -> Result<Exit, CliError> {
    args.format.check(context)?;
    let filter = args.filter(Timestamp::now())?;
    let database = open(context).await?;
    let listing = ask(&database, &filter).await.or_unexpected("cannot read the audit log")?;
    let reading = Reading { filters: &filter, rows: listing.rows.len() as u64 };
    on_record::note(context, &database, Act::Read, command, &reading).await?;
    database.close().await;
    print(context, &args.format, &listing, shape)
}

/// Opens the database so that the reading can be put on record, or else, as an auditor's copy, for reading alone.
pub(super) async fn open(context: &Context) -> Result<Database, CliError> {
    let path = context.data_dir()?.database();
    let opened = match Database::open(&path, Create::No).await {
        Err(DbError::ReadOnly { .. } | DbError::CannotOpen { .. }) => Database::open_read_only(&path).await,
        opened => opened,
    };
    let database = opened.map_err(database_error)?;
    context.keep(&database);
    Ok(database)
}

pub(super) fn print<Row: Serialize>(
    context: &Context,
    format: &FormatArgs,
    listing: &Listing<Row>,
    shape: &Shape<Row>,
) -> Result<Exit, CliError> {
    let printer = &context.printer;
    if printer.is_json() {
        // A listing names its own schema version.
        printer.line(serde_json::to_string_pretty(listing).or_unexpected("cannot write JSON")?)?;
    } else if format.csv {
        let mut csv = Csv::new(Vec::new(), shape.headings)?;
        for row in &listing.rows {
            csv.row(&(shape.cells)(row))?;
        }
        printer.raw(csv.into_inner())?;
    } else if listing.rows.is_empty() {
        printer.note(shape.none)?;
    } else {
        printer.table(&(shape.table)(&listing.rows))?;
    }
    if listing.truncated {
        printer.note("there are more; raise --limit to see them")?;
    }
    if listing.unreadable > 0 {
        let unreadable = listing.unreadable;
        printer.warning(format_args!(
            "{unreadable} records are missing or were altered: keep a copy of the database"
        ))?;
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

impl RecordArgs {
    fn filter(&self, now: Timestamp) -> Result<Filter, CliError> {
        let (since, until) = period(self.since, self.until, now)?;
        let AboutArgs { client, operator, server } = self.about.clone();
        Ok(Filter {
            since,
            until,
            client,
            operator,
            server,
            session: self.session,
            reason: self.reason.clone(),
            limit: self.limit,
        })
    }
}

/// A name to look for. Every text is one.
pub(super) fn label(text: &str) -> Result<Label, Infallible> {
    Ok(Label::new(text))
}

/// The bounds of a period: the first is before the second.
pub(super) fn period(
    since: Option<TimeArg>,
    until: Option<TimeArg>,
    now: Timestamp,
) -> Result<(Option<UtcTime>, Option<UtcTime>), CliError> {
    let time = |arg: Option<TimeArg>| arg.map(|arg| UtcTime::from(arg.before(now)));
    let (since, until) = (time(since), time(until));
    match (since, until) {
        (Some(since), Some(until)) if since >= until => {
            Err(CliError::user(format!("--since {since} is not before --until {until}"))
                .hint("both may be distances from now, as in `--since 48h --until 24h`"))
        }
        bounds => Ok(bounds),
    }
}

/// A time for people.
pub(super) fn time(time: UtcTime) -> String {
    Timestamp::from_millisecond(time.unix_ms()).map_or_else(|_| time.to_string(), human::time)
}

/// The end for people: a time, or `open`.
pub(super) fn end(time_or_open: Option<UtcTime>) -> String {
    time_or_open.map_or_else(|| "open".to_owned(), time)
}

/// `tcp/7563 on rec01 (192.168.10.21)`
pub(super) fn destination(protocol: Protocol, destination: &Destination) -> String {
    let port = destination.port.map(|port| format!("/{port}")).unwrap_or_default();
    match &destination.server {
        Some(server) => format!("{protocol}{port} on {server} ({})", destination.address),
        None => format!("{protocol}{port} on {}", destination.address),
    }
}

/// A cell for what may be missing.
pub(super) fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The four cells of the counters.
pub(super) fn traffic(traffic: Traffic) -> [String; 4] {
    let Traffic { from_client, to_client } = traffic;
    [from_client.bytes, from_client.packets, to_client.bytes, to_client.packets].map(|n| n.to_string())
}
