//! `gateway show`: who the gateway is to its clients.

use serde::Serialize;
use vmsgate_audit::VerifyingKey;
use vmsgate_cli::{CliError, Table, human};

use crate::command_line::{
    commands::identity_report::IdentityReport,
    context::{Context, SCHEMA_VERSION, registry_error},
};

#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    endpoints: Vec<String>,
    tunnel: Vec<String>,
    addresses: Vec<String>,
    identities: Vec<IdentityReport<'a>>,
    audit_key: Option<AuditKeyReport>,
}

#[derive(Serialize)]
struct AuditKeyReport {
    public_key: VerifyingKey,
    fingerprint: vmsgate_audit::Fingerprint,
}

pub async fn run(context: &Context) -> Result<(), CliError> {
    let (registry, site) = context.site().await?;
    let identities = registry.identities().await.map_err(registry_error)?;
    let audit_key = registry.audit_public_key().await.map_err(registry_error)?;
    let report = Report {
        name: &site.gateway_name,
        endpoints: site.endpoints.iter().map(ToString::to_string).collect(),
        tunnel: site.ranges.iter().map(ToString::to_string).collect(),
        addresses: site.ranges.gateway_addresses().iter().map(ToString::to_string).collect(),
        identities: identities.iter().map(IdentityReport::new).collect(),
        audit_key: audit_key
            .map(|public_key| AuditKeyReport { public_key, fingerprint: public_key.fingerprint() }),
    };
    let printer = &context.printer;
    if printer.is_json() {
        return Ok(printer.json(SCHEMA_VERSION, &report)?);
    }
    printer.line(format_args!("name       {}", report.name))?;
    printer.line(format_args!("endpoint   {}", report.endpoints.join(", ")))?;
    printer.line(format_args!("tunnel     {}", report.tunnel.join(", ")))?;
    printer.line(format_args!("addresses  {}", report.addresses.join(", ")))?;
    match &report.audit_key {
        Some(key) => printer.line(format_args!("audit key  {}  {}\n", key.public_key, key.fingerprint))?,
        None => printer.line("audit key  none yet: the gateway makes it when it starts\n")?,
    }
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
