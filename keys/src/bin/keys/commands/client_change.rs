//! `client suspend`, `resume`, `revoke`, `expire`. None of them needs the passphrase: cutting somebody off must be
//! possible at once.

use std::io::{self, BufRead, IsTerminal, Write};

use jiff::Timestamp;
use vmsgate_cli::CliError;
use vmsgate_keys::Applied;

use crate::{
    cli::{Expiry, RevokeArgs, SuspendArgs},
    commands::client_report::{ClientReport, expiry},
    context::{Context, SCHEMA_VERSION, change_client, registry_error},
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

pub async fn revoke(context: &Context, args: RevokeArgs) -> Result<(), CliError> {
    let registry = context.registry().await?;
    let client = registry.client(&args.name).await.map_err(registry_error)?;
    if !args.yes && io::stdin().is_terminal() {
        confirm(&format!("Revoke `{}` of {} for good?", client.name, client.operator))?;
    }
    let applied = change_client(context, async |change| change.revoke(&args.name, args.reason).await).await?;
    report(context, &applied, "revoked")
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
    let Applied { client, changed } = applied;
    if context.printer.is_json() {
        let client = ClientReport::new(client, Timestamp::now());
        let report = serde_json::json!({ "changed": changed, "client": client });
        return Ok(context.printer.json(SCHEMA_VERSION, &report)?);
    }
    let word = if *changed { "is now" } else { "was already" };
    Ok(context.printer.note(format_args!("client `{}` {word} {state}", client.name))?)
}

/// Asks on the terminal; anything but yes ends the command.
fn confirm(question: &str) -> Result<(), CliError> {
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::user("not confirmed; nothing was changed")),
    }
}
