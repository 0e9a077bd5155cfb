//! `vmsgate audit report`

mod html;
mod page;
mod sections;
mod timeline;
mod traffic;

use std::{io::Write, path::PathBuf};

use clap::Args;
use jiff::Timestamp;
use vmsgate_audit::{
    UtcTime,
    report::{Report, Scope},
};
use vmsgate_cli::{CliError, Exit, OrFail, time::TimeArg};

use self::page::Made;
use super::{file::NewFile, proof};
use crate::commands::{
    Context,
    on_record::{self, Act, Reading},
    records::{self, AboutArgs},
};

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The beginning of the period: a distance from now (24h, 30d), a date, or a time
    #[arg(long, value_name = "TIME")]
    since: TimeArg,

    /// The end of the period [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArg>,

    #[command(flatten)]
    about: AboutArgs,

    /// Write the page to this new file, readable by you alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub async fn execute(context: &Context, args: &ReportArgs) -> Result<Exit, CliError> {
    let now = Timestamp::now();
    let scope = args.scope(now)?;
    let mut file = NewFile::create(&args.out)?;
    let database = records::open(context).await?;
    let report = Report::gather(&database, scope, UtcTime::from(now)).await;
    let report = report.or_unexpected("cannot read the audit log")?;
    let proof = proof::proof_status(&database).await?;

    let rows = report.people.values().map(|person| person.sessions).sum();
    let reading = Reading { filters: &report.scope, rows };
    on_record::note(context, &database, Act::Report, "audit report", &reading).await?;
    database.close().await;

    let made = Made { at: UtcTime::from(now), by: context.actor().label() };
    file.write_all(page::page(&report, &proof, &made).as_bytes())?;
    file.keep()?;
    context.printer.note(format_args!("{} written", args.out.display()))?;
    Ok(if proof.proven && report.unreadable == 0 { Exit::Done } else { Exit::No })
}

impl ReportArgs {
    fn scope(&self, now: Timestamp) -> Result<Scope, CliError> {
        let (since, until) = records::period(Some(self.since), self.until, now)?;
        let end = until.unwrap_or(UtcTime::from(now));
        let AboutArgs { client, operator, server } = self.about.clone();
        match since {
            Some(since) if since < end => Ok(Scope { since, until: end, client, operator, server }),
            _ => Err(CliError::user("the period begins in the future").hint("give a --since that is over")),
        }
    }
}
