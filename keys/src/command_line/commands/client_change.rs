//! `client suspend`, `resume`, `expire`. None of them needs the passphrase: cutting somebody off must be
//! possible at once.

use crate::Applied;
use jiff::Timestamp;
use vmsgate_cli::CliError;

use crate::command_line::{
    cli::{Expiry, SuspendArgs},
    commands::client_report::{ClientReport, expiry},
    context::{Context, SCHEMA_VERSION, change_client},
};

pub async fn suspend(context: &Context, args: SuspendArgs) -> Result<(), CliError> {
    let applied =
        change_client(context, async |change| change.suspend(&args.name, args.reason).await).await?;
    report(context, &applied, "suspended")
}

pub async fn resume(context: &Context, name: &str) -> Result<(), CliError> {
    let applied = change_client(context, async |change| change.resume(name).await).await?;
    report(context, &applied, "active")
}

pub async fn expire(context: &Context, name: &str, when: Expiry) -> Result<(), CliError> {
    let expires = match when {
        Expiry::Never => None,
        Expiry::At(time) => Some(time.after(Timestamp::now())),
    };
    let applied = change_client(context, async |change| change.set_expiry(name, expires).await).await?;
    let word = match expires {
        None => "without an end".to_owned(),
        Some(_) => format!("limited to {}", expiry(&applied.client)),
    };
    report(context, &applied, &word)
}

fn report(context: &Context, applied: &Applied, state: &str) -> Result<(), CliError> {
    let Applied { client, changed, .. } = applied;
    if context.printer.is_json() {
        let client = ClientReport::new(client, Timestamp::now());
        let report = serde_json::json!({ "changed": changed, "client": client });
        return Ok(context.printer.json(SCHEMA_VERSION, &report)?);
    }
    let word = if *changed { "is now" } else { "was already" };
    Ok(context.printer.note(format_args!("client `{}` {word} {state}", client.name))?)
}
