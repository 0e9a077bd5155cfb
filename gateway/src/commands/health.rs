//! `vmsgate health`

use clap::Args;
use vmsgate_cli::{CliError, Exit, OrFail, WithHint, human};

use super::{Context, ask_running::ask_running};
use crate::admin::HealthReport;

const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Ask only whether the event loop turns: if it does not, a restart helps
    #[arg(long)]
    alive: bool,
}

pub async fn execute(context: &Context, args: &HealthArgs) -> Result<Exit, CliError> {
    let path = if args.alive { "/healthz" } else { "/readyz" };
    let (_, body) = ask_running(&context.data_dir()?, path).await?;
    let report: HealthReport = serde_json::from_slice(&body)
        .or_unexpected("the gateway's answer is not one that this program understands")
        .hint("use the `vmsgate` of the same version as the running gateway")?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &report)?;
    } else {
        for condition in report.conditions.iter().filter(|condition| !condition.ok) {
            printer.line(human::printable(&condition.text))?;
        }
        if report.ok {
            printer.note(if args.alive { "alive" } else { "ready" })?;
        }
    }
    Ok(if report.ok { Exit::Done } else { Exit::No })
}
