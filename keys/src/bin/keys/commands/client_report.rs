//! `client list` and `client show`.

use jiff::Timestamp;
use serde::Serialize;
use vmsgate_cli::{CliError, Style, Table, human};
use vmsgate_keys::{Client, Standing};

use crate::context::{Context, SCHEMA_VERSION, addresses, registry_error};

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

pub async fn list(context: &Context) -> Result<(), CliError> {
    let clients = context.registry().await?.clients().await.map_err(registry_error)?;
    let (printer, now) = (&context.printer, Timestamp::now());
    if printer.is_json() {
        let clients: Vec<_> = clients.iter().map(|client| ClientReport::new(client, now)).collect();
        return Ok(printer.json(SCHEMA_VERSION, &serde_json::json!({ "clients": clients }))?);
    }
    let mut table = Table::new(["NAME", "OPERATOR", "ROLE", "STATE", "EXPIRES", "ADDRESSES"]);
    for client in &clients {
        table.row([
            client.name.to_string(),
            client.operator.to_string(),
            client.role.clone(),
            client.standing(now).as_str().to_owned(),
            expiry(client),
            addresses(client),
        ]);
    }
    if table.is_empty() {
        printer.note("no clients yet")?;
        return Ok(printer.hint("add one with `vmsgate-keys client add`")?);
    }
    Ok(printer.table(&table)?)
}

pub async fn show(context: &Context, name: &str) -> Result<(), CliError> {
    let client = context.registry().await?.client(name).await.map_err(registry_error)?;
    let (printer, now) = (&context.printer, Timestamp::now());
    if printer.is_json() {
        let report = serde_json::json!({ "client": ClientReport::new(&client, now) });
        return Ok(printer.json(SCHEMA_VERSION, &report)?);
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
    printer.line(format_args!("expires    {}", expiry(&client)))?;
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
