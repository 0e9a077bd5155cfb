//! `client invite`: a token that lets one device make its own key and get its profile.

use std::{io, path::Path};

use crate::{Client, Invitation, Invitee, PresharedKey, PublicKey};
use jiff::{SignedDuration, Timestamp};
use rand_core::{OsRng, RngCore};
use serde::Serialize;
use vmsgate_cli::{CliError, WithHint, human};
use vmsgate_exchange::Token;
use zeroize::Zeroizing;

use crate::command_line::{
    cli::InviteArgs,
    commands::{
        client_report::ClientReport,
        new_profile::GatewayFacts,
        secret_output::{self, commit_with, qr_code},
    },
    context::{Context, SCHEMA_VERSION, registry_error},
};

#[derive(Serialize)]
struct Report<'a> {
    client: ClientReport<'a>,
    invitation: &'a Invitation,
    /// Where the token was written, or else the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

pub async fn run(context: &Context, args: InviteArgs) -> Result<(), CliError> {
    let (registry, site) = context.site().await?;
    let now = Timestamp::now();
    let name = args.name.to_string();
    let who = match (args.role, args.operator) {
        (Some(role), Some(operator)) => {
            site.check_role(&role)?;
            let expires = site.expiry(&role, args.expires, now)?;
            Invitee::New { name: args.name, operator, role, expires }
        }
        _ => {
            let known = registry.client(&name).await.map_err(|error| match error {
                crate::RegistryError::NoSuchClient { nearest: None, .. } => {
                    registry_error(error).hint("for a new client, say --role and --operator")
                }
                other => registry_error(other),
            });
            known?;
            Invitee::Known(name.clone())
        }
    };
    secret_output::check_free(args.out.as_deref())?;
    let end = end(now, args.valid)?;
    let gateway = GatewayFacts::of(registry, &site).await?;
    let master = context.master_key()?;

    let mut seed = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *seed);
    let key = (*gateway.key.as_bytes()).into();
    let seconds = u64::try_from(end.as_second()).unwrap_or(0);
    let token = Token::new(key, gateway.endpoint.clone(), name, seconds, seed)
        .map_err(|error| CliError::user(error).hint(error.hint()))?;
    let keys = token.keys();
    let (public, preshared) =
        (PublicKey::from_bytes(keys.public().to_bytes()), PresharedKey::from_bytes(*keys.preshared));
    let mut change = registry.change(&context.actor()).await.map_err(registry_error)?;
    let invited = change.invite(who, end, public, &preshared, &master, &site.ranges).await;
    let (client, invitation) = invited.map_err(registry_error)?;
    let text = token.to_text();
    commit_with(change, "token", args.out.as_deref(), &Zeroizing::new(format!("{}\n", *text))).await?;
    show(context, &client, &invitation, &text, args.out.as_deref(), args.qr)
        .map_err(|error| CliError::unexpected(format!("the token could not be shown: {error}")))
        .hint(format!("invite `{}` again: the lost token ends with that", client.name))
}

/// A token counts in seconds, and the registry has to say the same.
fn end(now: Timestamp, valid: std::time::Duration) -> Result<Timestamp, CliError> {
    let valid = SignedDuration::try_from(valid).unwrap_or(SignedDuration::MAX);
    let end = now.saturating_add(valid).unwrap_or(Timestamp::MAX);
    match Timestamp::from_second(end.as_second()) {
        Ok(end) if end > now => Ok(end),
        _ => Err(CliError::user("an invitation must be valid for at least a second")
            .hint("give --valid a length such as 7d")),
    }
}

fn show(
    context: &Context,
    client: &Client,
    invitation: &Invitation,
    token: &str,
    out: Option<&Path>,
    qr: bool,
) -> io::Result<()> {
    let printer = &context.printer;
    if printer.is_json() {
        let client = ClientReport::new(client, Timestamp::now());
        let shown = out.is_none().then_some(token);
        return printer.json(SCHEMA_VERSION, &Report { client, invitation, token_file: out, token: shown });
    }
    if qr {
        qr_code(printer, token)?;
    } else if out.is_none() {
        printer.line(token)?;
    }
    let until = human::time(invitation.expires);
    printer.note(format_args!("client `{}` is invited until {until}", client.name))?;
    match out {
        Some(out) => {
            printer.note(format_args!("the token is in {}; it is as secret as a password", out.display()))?
        }
        None => {
            printer.note("the token is shown this once and stored nowhere; it is as secret as a password")?
        }
    }
    printer.hint("on the device: vmsgate-shim enroll TOKEN")
}
