//! `client revoke`: ends a client, and proves that the running gateways cut it off. Needs no passphrase: cutting
//! somebody off must be possible at once.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::{Applied, Cut, Registry};
use jiff::Timestamp;
use serde::Serialize;
use vmsgate_cli::{CliError, Exit, human};

use crate::command_line::{
    cli::RevokeArgs,
    commands::client_report::ClientReport,
    context::{Context, SCHEMA_VERSION, change_client, registry_error},
};

/// A gateway applies a change within 2 s; the rest is for a busy disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the database is asked; a confirmation costs a human no time to speak of.
const POLL: Duration = Duration::from_millis(25);

/// What one running gateway did.
#[derive(Serialize)]
struct Proof {
    gateway: String,
    confirmed: bool,
    /// From the command to the last packet that was forwarded; none if there was none after it.
    last_packet_ms: Option<i64>,
    /// From the command to the moment when nothing more could pass.
    cut_ms: Option<i64>,
    flows_cut: u64,
    sessions_cut: u64,
}

pub async fn run(context: &Context, args: RevokeArgs) -> Result<Exit, CliError> {
    let registry = context.registry().await?;
    let client = registry.client(&args.name).await.map_err(registry_error)?;
    if !args.yes && io::stdin().is_terminal() {
        confirm(&format!("Revoke `{}` of {} for good?", client.name, client.operator))?;
    }
    let (began, limit) = (Timestamp::now(), args.wait.unwrap_or(PATIENCE));
    let applied = change_client(context, async |change| change.revoke(&args.name, args.reason).await).await?;
    let proofs = wait(registry, &applied, began, limit).await?;
    report(context, &applied, &proofs)?;
    let silent: Vec<&str> =
        proofs.iter().filter(|proof| !proof.confirmed).map(|proof| proof.gateway.as_str()).collect();
    if silent.is_empty() {
        return Ok(Exit::Done);
    }
    context.printer.warning(format_args!(
        "client `{}` is revoked in the registry, but {} did not confirm within {}",
        applied.client.name,
        silent.join(", "),
        human::duration(limit)
    ))?;
    context.printer.hint("look at the gateway's log; run the command again with --wait to ask again")?;
    Ok(Exit::No)
}

/// Until every gateway that runs has confirmed, or `limit` is over.
async fn wait(
    registry: &Registry,
    applied: &Applied,
    began: Timestamp,
    limit: Duration,
) -> Result<Vec<Proof>, CliError> {
    let deadline = Instant::now() + limit;
    loop {
        let running = registry.gateways(Timestamp::now()).await.map_err(registry_error)?;
        let cuts = registry.cuts(applied.client.id, applied.revision).await.map_err(registry_error)?;
        let silent = running.iter().filter(|gateway| gateway.running);
        let silent = silent.filter(|gateway| !cuts.iter().any(|cut| cut.gateway == gateway.name));
        let silent: Vec<Proof> = silent.map(|gateway| unconfirmed(&gateway.name)).collect();
        if silent.is_empty() || Instant::now() >= deadline {
            return Ok(cuts.iter().map(|cut| proof(cut, began)).chain(silent).collect());
        }
        tokio::time::sleep(POLL).await;
    }
}

fn proof(cut: &Cut, began: Timestamp) -> Proof {
    let since = |time: Timestamp| time.as_millisecond() - began.as_millisecond();
    Proof {
        gateway: cut.gateway.clone(),
        confirmed: true,
        last_packet_ms: cut.last_forwarded.map(since).filter(|ms| *ms >= 0),
        cut_ms: Some(since(cut.applied)),
        flows_cut: cut.flows,
        sessions_cut: cut.sessions,
    }
}

fn unconfirmed(gateway: &str) -> Proof {
    let (last_packet_ms, cut_ms) = (None, None);
    Proof {
        gateway: gateway.to_owned(),
        confirmed: false,
        last_packet_ms,
        cut_ms,
        flows_cut: 0,
        sessions_cut: 0,
    }
}

fn report(context: &Context, applied: &Applied, proofs: &[Proof]) -> Result<(), CliError> {
    let (printer, Applied { client, changed, .. }) = (&context.printer, applied);
    if printer.is_json() {
        let client = ClientReport::new(client, Timestamp::now());
        let report = serde_json::json!({ "changed": changed, "client": client, "gateways": proofs });
        return Ok(printer.json(SCHEMA_VERSION, &report)?);
    }
    let word = if *changed { "is now" } else { "was already" };
    printer.note(format_args!("client `{}` {word} revoked", client.name))?;
    if proofs.is_empty() {
        return Ok(printer.note("no gateway is running; the next one to start does not know the client")?);
    }
    for proof in proofs.iter().filter(|proof| proof.confirmed) {
        let last = match proof.last_packet_ms {
            Some(ms) => format!("last packet forwarded {ms} ms after the command"),
            None => "no packet forwarded after the command".to_owned(),
        };
        printer.line(format_args!(
            "{}: {last}; cut off after {} ms, with {} flows",
            human::printable(&proof.gateway),
            proof.cut_ms.unwrap_or_default(),
            proof.flows_cut
        ))?;
    }
    Ok(())
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
