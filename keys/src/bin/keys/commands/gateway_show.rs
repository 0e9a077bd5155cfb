//! `gateway show`: who the gateway is to its clients.

use serde::Serialize;
use vmsgate_cli::{CliError, Table, human};
use vmsgate_keys::{Fingerprint, Identity};

use crate::context::{Context, SCHEMA_VERSION, registry_error};

#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    endpoints: Vec<String>,
    tunnel: Vec<String>,
    addresses: Vec<String>,
    identities: Vec<IdentityReport<'a>>,
}

#[derive(Serialize)]
struct IdentityReport<'a> {
    #[serde(flatten)]
    identity: &'a Identity,
    fingerprint: Fingerprint,
}

pub async fn run(context: &Context) -> Result<(), CliError> {
    let (registry, site) = context.site().await?;
    let identities = registry.identities().await.map_err(registry_error)?;
    let report = Report {
        name: &site.gateway_name,
        endpoints: site.endpoints.iter().map(ToString::to_string).collect(),
        tunnel: site.ranges.iter().map(ToString::to_string).collect(),
        addresses: site.ranges.gateway_addresses().iter().map(ToString::to_string).collect(),
        identities: identities
            .iter()
            .map(|identity| IdentityReport { identity, fingerprint: identity.public_key.fingerprint() })
            .collect(),
    };
    let printer = &context.printer;
    if printer.is_json() {
        return Ok(printer.json(SCHEMA_VERSION, &report)?);
    }
    printer.line(format_args!("name       {}", report.name))?;
    printer.line(format_args!("endpoint   {}", report.endpoints.join(", ")))?;
    printer.line(format_args!("tunnel     {}", report.tunnel.join(", ")))?;
    printer.line(format_args!("addresses  {}\n", report.addresses.join(", ")))?;
    let mut table = Table::new(["PUBLIC KEY", "FINGERPRINT", "STATE", "CREATED"]);
    for IdentityReport { identity, fingerprint } in &report.identities {
        table.row([
            identity.public_key.to_string(),
            fingerprint.to_string(),
            identity.state.as_str().to_owned(),
            human::time(identity.created),
        ]);
    }
    Ok(printer.table(&table)?)
}
