//! What `sessions`, `flows` and `denials` have in common: which records to list, and how.
//!
//! They read the database itself, not the running gateway, so they work while it runs and when it does not.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use vmsgate_audit::{
    Create, Database, Destination, Label, Protocol, StoreError, UtcTime,
    query::{Filter, Listing},
};
use vmsgate_cli::{CliError, Exit, OrFail, Table, human, time::TimeArg};

use super::Context;

#[derive(Debug, Args)]
pub struct RecordArgs {
    /// List what was so at or after this time: a distance from now (24h, 7d), a date, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    since: Option<TimeArg>,

    /// List what was so before this time
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArg>,

    /// Only this client (device)
    #[arg(long, value_name = "NAME")]
    client: Option<String>,

    /// Only this operator (person)
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,

    /// Only this server, by its name or, for what is no configured server, its address
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,

    /// At most this many, the newest first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Answers one question: asks the database, prints the table or the JSON document.
pub(super) async fn list<Row: Serialize>(
    context: &Context,
    args: &RecordArgs,
    ask: impl AsyncFnOnce(&Database, &Filter) -> Result<Listing<Row>, StoreError>,
    table: impl FnOnce(&[Row]) -> Table,
) -> Result<Exit, CliError> {
    let filter = args.filter(Timestamp::now())?;
    let path = context.data_dir()?.database();
    let database = Database::open(&path, Create::No).await.map_err(|error| {
        let hint = error.hint();
        CliError::user(error).hint(hint)
    })?;
    let listing = ask(&database, &filter).await.or_unexpected("cannot read the audit log")?;
    database.close().await;
    print(context, &listing, table)
}

fn print<Row: Serialize>(
    context: &Context,
    listing: &Listing<Row>,
    table: impl FnOnce(&[Row]) -> Table,
) -> Result<Exit, CliError> {
    let printer = &context.printer;
    if printer.is_json() {
        // A listing names its own schema version.
        printer.line(serde_json::to_string_pretty(listing).or_unexpected("cannot write JSON")?)?;
    } else if listing.rows.is_empty() {
        printer.note("none")?;
    } else {
        printer.table(&table(&listing.rows))?;
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
        let time = |arg: Option<TimeArg>| arg.map(|arg| UtcTime::from(arg.before(now)));
        let name = |name: &Option<String>| name.as_deref().map(Label::new);
        let (since, until) = (time(self.since), time(self.until));
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(CliError::user(format!("--since {since} is not before --until {until}"))
                .hint("both may be distances from now, as in `--since 48h --until 24h`"));
        }
        Ok(Filter {
            since,
            until,
            client: name(&self.client),
            operator: name(&self.operator),
            server: name(&self.server),
            limit: self.limit,
        })
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
