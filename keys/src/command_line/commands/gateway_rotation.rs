//! `gateway rotate`, `status`, `retire`: a new identity beside the old one, and the end of that.

use std::{collections::HashMap, time::Duration};

use crate::{Identity, IdentityState, Registry};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use vmsgate_cli::{CliError, Exit, Table, human};

use crate::command_line::{
    commands::identity_report::IdentityReport,
    context::{Context, SCHEMA_VERSION, registry_error},
};

/// A client that still uses the retiring identity.
#[derive(Serialize)]
struct Straggler {
    client: String,
    operator: String,
    last_seen: Timestamp,
    gateway: String,
}

/// Who uses which identity.
#[derive(Serialize)]
struct Progress {
    moved: usize,
    /// Clients that may connect and were never heard: which identity their profiles name is not known.
    never_seen: usize,
    not_moved: Vec<Straggler>,
    /// Open invitations whose tokens name the retiring identity.
    invitations: usize,
}

pub async fn rotate(context: &Context, overlap: Duration) -> Result<(), CliError> {
    let registry = context.registry().await?;
    let master = context.master_key()?;
    let length = SignedDuration::try_from(overlap).unwrap_or(SignedDuration::MAX);
    let mut change = registry.change(&context.actor()).await.map_err(registry_error)?;
    let new = change.rotate_gateway(length, &master).await.map_err(registry_error)?;
    change.commit().await.map_err(registry_error)?;
    let printer = &context.printer;
    if printer.is_json() {
        let report = serde_json::json!({ "identity": IdentityReport::new(&new) });
        return Ok(printer.json(SCHEMA_VERSION, &report)?);
    }
    printer.note(format_args!("the gateway has the new public key {}", new.public_key))?;
    printer.note(format_args!("the present one answers on, for {} as planned", human::duration(overlap)))?;
    Ok(printer
        .hint("`vmsgate-keys gateway status` shows who has not moved; `gateway retire` ends the old key")?)
}

pub async fn status(context: &Context) -> Result<Exit, CliError> {
    let registry = context.registry().await?;
    let identities = registry.all_identities().await.map_err(registry_error)?;
    let (printer, now) = (&context.printer, Timestamp::now());
    let retiring = identities.iter().find(|identity| identity.state == IdentityState::Retiring);
    let progress = match retiring {
        Some(retiring) => Some(progress(registry, retiring, now).await?),
        None => None,
    };
    let over = retiring.and_then(|retiring| retiring.overlap_ends).is_some_and(|end| end <= now);
    let late = over && progress.as_ref().is_some_and(|progress| !progress.not_moved.is_empty());
    let exit = if late { Exit::No } else { Exit::Done };
    if printer.is_json() {
        let identities: Vec<_> = identities.iter().map(IdentityReport::new).collect();
        let report = serde_json::json!({ "identities": identities, "rotation": progress, "overdue": late });
        printer.json(SCHEMA_VERSION, &report)?;
        return Ok(exit);
    }
    let mut table = Table::new(["FINGERPRINT", "STATE", "CREATED", "ENDS"]);
    for identity in &identities {
        let end = identity.retired.or(identity.overlap_ends).map(human::time).unwrap_or_default();
        let planned = if identity.state == IdentityState::Retiring { " (planned)" } else { "" };
        table.row([
            identity.public_key.fingerprint().to_string(),
            identity.state.as_str().to_owned(),
            human::time(identity.created),
            format!("{end}{planned}"),
        ]);
    }
    printer.table(&table)?;
    let Some(progress) = progress else {
        printer.note("\nno rotation is under way")?;
        return Ok(exit);
    };
    let Progress { moved, never_seen, not_moved, invitations } = &progress;
    printer.line(format_args!(
        "\nclients: {moved} moved, {} not, {never_seen} never seen; open invitations to the old key: {invitations}",
        not_moved.len()
    ))?;
    if !not_moved.is_empty() {
        let mut table = Table::new(["NOT MOVED", "OPERATOR", "LAST SEEN", "GATEWAY"]);
        for straggler in not_moved {
            let Straggler { client, operator, last_seen, gateway } = straggler;
            table.row([client.clone(), operator.clone(), human::time(*last_seen), gateway.clone()]);
        }
        printer.table(&table)?;
    }
    if late {
        printer.warning("the planned overlap is over, and not everybody has moved")?;
        printer.hint("give stock clients a new profile with `vmsgate-keys client rotate NAME`")?;
    }
    Ok(exit)
}

pub async fn retire(context: &Context, seen_within: Duration, force: bool) -> Result<(), CliError> {
    let registry = context.registry().await?;
    let now = Timestamp::now();
    let identities = registry.identities().await.map_err(registry_error)?;
    let retiring = identities.iter().find(|identity| identity.state == IdentityState::Retiring);
    let invitations = match retiring {
        Some(retiring) => open_invitations(registry, retiring, now).await?,
        None => 0,
    };
    let length = SignedDuration::try_from(seen_within).unwrap_or(SignedDuration::MAX);
    let since = now.saturating_sub(length).unwrap_or(Timestamp::MIN);
    let mut change = registry.change(&context.actor()).await.map_err(registry_error)?;
    let retired = change.retire_gateway((!force).then_some(since)).await.map_err(registry_error)?;
    change.commit().await.map_err(registry_error)?;
    registry.forget_overwritten().await.map_err(registry_error)?;
    let printer = &context.printer;
    if printer.is_json() {
        let report = serde_json::json!({ "identity": IdentityReport::new(&retired) });
        printer.json(SCHEMA_VERSION, &report)?;
    }
    let fingerprint = retired.public_key.fingerprint();
    printer.note(format_args!("identity {fingerprint} is retired, and its private key overwritten"))?;
    if invitations > 0 {
        printer.warning(format_args!("{invitations} open invitations named it: make them anew"))?;
    }
    Ok(())
}

/// How many open invitations have tokens that name the retiring identity.
async fn open_invitations(
    registry: &Registry,
    retiring: &Identity,
    now: Timestamp,
) -> Result<usize, CliError> {
    let invitations = registry.invitations().await.map_err(registry_error)?;
    let old = |at: Timestamp| retiring.retiring_since.is_some_and(|since| at < since);
    Ok(invitations.iter().filter(|invitation| invitation.is_open(now) && old(invitation.created)).count())
}

async fn progress(registry: &Registry, retiring: &Identity, now: Timestamp) -> Result<Progress, CliError> {
    let seen = registry.presence().await.map_err(registry_error)?;
    let seen: HashMap<_, _> = seen.into_iter().map(|seen| (seen.presence.client, seen)).collect();
    let (mut moved, mut never_seen, mut not_moved) = (0, 0, Vec::new());
    for client in registry.clients().await.map_err(registry_error)? {
        if !client.may_come_back(now) {
            continue;
        }
        match seen.get(&client.id) {
            None => never_seen += 1,
            Some(seen) if seen.presence.identity == retiring.public_key => not_moved.push(Straggler {
                client: client.name.to_string(),
                operator: client.operator.to_string(),
                last_seen: seen.presence.last_seen,
                gateway: seen.gateway.clone(),
            }),
            Some(_) => moved += 1,
        }
    }
    not_moved.sort_by_key(|straggler| std::cmp::Reverse(straggler.last_seen));
    let invitations = open_invitations(registry, retiring, now).await?;
    Ok(Progress { moved, never_seen, not_moved, invitations })
}
