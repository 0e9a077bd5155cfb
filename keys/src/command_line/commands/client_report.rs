//! `client list` and `client show`.

use std::collections::HashMap;
use std::time::Duration;

use crate::{Client, Invitation, Registry, Seen, Standing};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;
use vmsgate_cli::{CliError, Style, Table, human};
use vmsgate_config::profile::EXPIRY_WARNING;

use crate::command_line::context::{Context, SCHEMA_VERSION, addresses, registry_error};

/// A client in JSON: as stored, and whether it may connect now.
#[derive(Serialize)]
pub struct ClientReport<'a> {
    #[serde(flatten)]
    client: &'a Client,
    standing: Standing,
}

impl<'a> ClientReport<'a> {
    pub fn new(client: &'a Client, now: Timestamp) -> Self {
        Self { client, standing: client.standing(now) }
    }
}

/// A client, and what is known of it beside its record.
#[derive(Serialize)]
struct Known<'a> {
    #[serde(flatten)]
    client: ClientReport<'a>,
    /// Of the key that the device has.
    key_created: Option<Timestamp>,
    seen: Option<&'a Seen>,
    /// Whether its last session was under an agreed pre-shared key; none if it never had one.
    post_quantum: Option<bool>,
    /// The newest.
    invitation: Option<&'a Invitation>,
}

/// What is known of all clients.
struct Knowledge {
    seen: HashMap<Uuid, Seen>,
    invitations: HashMap<Uuid, Invitation>,
}

impl Knowledge {
    async fn of(registry: &Registry) -> Result<Self, CliError> {
        let seen = registry.presence().await.map_err(registry_error)?;
        let invitations = registry.invitations().await.map_err(registry_error)?;
        Ok(Self {
            seen: seen.into_iter().map(|seen| (seen.presence.client, seen)).collect(),
            // The oldest first: the newest stays.
            invitations: invitations.into_iter().map(|invitation| (invitation.client, invitation)).collect(),
        })
    }

    fn about<'a>(&'a self, client: &'a Client, now: Timestamp) -> Known<'a> {
        let seen = self.seen.get(&client.id);
        Known {
            client: ClientReport::new(client, now),
            key_created: client.current_key(now).map(|key| key.valid_from),
            seen,
            post_quantum: seen.map(|seen| seen.presence.post_quantum),
            invitation: self.invitations.get(&client.id),
        }
    }
}

impl Known<'_> {
    fn last_seen(&self) -> String {
        let Some(Seen { presence, .. }) = self.seen else { return "never".to_owned() };
        let post_quantum = if presence.post_quantum { "post-quantum" } else { "not post-quantum" };
        format!("{}, {post_quantum}", human::time(presence.last_seen))
    }

    /// Everything about it in a line that fits on most screens: times as their distance from now.
    fn row(&self, now: Timestamp) -> [String; 9] {
        let ClientReport { client, standing } = &self.client;
        let unless_none = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
        let seen = self.seen.map(|seen| format!("{} ago", age(seen.presence.last_seen, now)));
        let post_quantum = self.post_quantum.map(|yes| if yes { "yes" } else { "no" }.to_owned());
        [
            client.name.to_string(),
            client.operator.to_string(),
            client.role.clone(),
            standing.as_str().to_owned(),
            match client.expires {
                Some(end) if is_soon(end, now) => format!("in {}", age(now, end)),
                Some(end) => end.strftime("%Y-%m-%d").to_string(),
                None => "never".to_owned(),
            },
            unless_none(self.key_created.map(|created| age(created, now)), "no key"),
            unless_none(seen, "never"),
            unless_none(post_quantum, ""),
            addresses(client),
        ]
    }

    /// What there is to say about the invitation, if anybody should look at it.
    fn invited(&self, now: Timestamp) -> Option<String> {
        let invitation = self.invitation?;
        Some(match (invitation.reused, invitation.used) {
            (Some(at), _) => format!("USED TWICE, the second time at {}: the token leaked", human::time(at)),
            (None, Some(used)) => format!("used at {}", human::time(used.at)),
            (None, None) if invitation.is_open(now) => {
                format!("open until {}", human::time(invitation.expires))
            }
            (None, None) => format!("expired at {}", human::time(invitation.expires)),
        })
    }
}

pub async fn list(context: &Context) -> Result<(), CliError> {
    let registry = context.registry().await?;
    let clients = registry.clients().await.map_err(registry_error)?;
    let knowledge = Knowledge::of(registry).await?;
    let (printer, now) = (&context.printer, Timestamp::now());
    if printer.is_json() {
        let clients: Vec<_> = clients.iter().map(|client| knowledge.about(client, now)).collect();
        return Ok(printer.json(SCHEMA_VERSION, &serde_json::json!({ "clients": clients }))?);
    }
    let mut table = Table::new([
        "NAME",
        "OPERATOR",
        "ROLE",
        "STATE",
        "EXPIRES",
        "KEY AGE",
        "LAST SEEN",
        "PQ",
        "ADDRESSES",
    ]);
    for client in &clients {
        table.row(knowledge.about(client, now).row(now));
    }
    if table.is_empty() {
        printer.note("no clients yet")?;
        return Ok(printer.hint("add one with `vmsgate-keys client add`")?);
    }
    printer.table(&table)?;
    for client in &clients {
        let known = knowledge.about(client, now);
        if known.invitation.is_some_and(|invitation| invitation.reused.is_some()) {
            let text = known.invited(now).unwrap_or_default();
            printer.warning(format_args!("the invitation of `{}` was {text}", client.name))?;
        }
    }
    Ok(())
}

pub async fn show(context: &Context, name: &str) -> Result<(), CliError> {
    let registry = context.registry().await?;
    let client = registry.client(name).await.map_err(registry_error)?;
    let knowledge = Knowledge::of(registry).await?;
    let (printer, now) = (&context.printer, Timestamp::now());
    let known = knowledge.about(&client, now);
    if printer.is_json() {
        return Ok(printer.json(SCHEMA_VERSION, &serde_json::json!({ "client": known }))?);
    }
    let standing = client.standing(now);
    let style = if standing == Standing::Active { Style::Good } else { Style::Error };
    printer.line(format_args!("name       {}", client.name))?;
    printer.line(format_args!("operator   {}", client.operator))?;
    printer.line(format_args!("role       {}", human::printable(&client.role)))?;
    printer.line(format_args!("state      {}", printer.paint(style, standing.as_str())))?;
    if let Some(reason) = &client.reason {
        printer.line(format_args!("reason     {reason}"))?;
    }
    printer.line(format_args!("expires    {}", warned_expiry(&client, now)))?;
    printer.line(format_args!("seen       {}", known.last_seen()))?;
    if let Some(invited) = known.invited(now) {
        printer.line(format_args!("invitation {invited}"))?;
    }
    printer.line(format_args!("addresses  {}", addresses(&client)))?;
    printer.line(format_args!("created    {}", human::time(client.created)))?;
    printer.line(format_args!("id         {}\n", client.id))?;
    let mut table = Table::new(["PUBLIC KEY", "FINGERPRINT", "VALID FROM", "VALID UNTIL"]);
    for key in &client.keys {
        table.row([
            key.public_key.to_string(),
            key.public_key.fingerprint().to_string(),
            human::time(key.valid_from),
            key.valid_until.map_or_else(|| "open".to_owned(), human::time),
        ]);
    }
    Ok(printer.table(&table)?)
}

pub fn expiry(client: &Client) -> String {
    client.expires.map_or_else(|| "never".to_owned(), human::time)
}

/// When access ends, and how soon if that is soon.
fn warned_expiry(client: &Client, now: Timestamp) -> String {
    let soon = client.expires.filter(|end| is_soon(*end, now));
    let left = soon.map(|end| format!(" (in {})", age(now, end))).unwrap_or_default();
    format!("{}{left}", expiry(client))
}

fn is_soon(end: Timestamp, now: Timestamp) -> bool {
    end > now && end.duration_since(now).unsigned_abs() <= EXPIRY_WARNING
}

/// How long it is from one time to the next, in the largest unit that fits.
fn age(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(1).unsigned_abs();
    let length = human::duration(Duration::from_secs(seconds));
    length.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_one_number_and_a_clock_that_was_wrong_makes_none_that_is_negative() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let ages = [-5, 0, 59, 3_599, 86_399, 90_000, 4_000_000]
            .map(|seconds| age(now - jiff::SignedDuration::from_secs(seconds), now));
        assert_eq!(ages, ["1s", "1s", "59s", "59m", "23h", "1d", "46d"]);
    }
}
