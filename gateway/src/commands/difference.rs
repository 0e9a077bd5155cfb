//! How a difference between two configurations is told to people.

use std::{collections::BTreeMap, fmt::Display};

use vmsgate_cli::{CliError, Printer, Style};

use super::counted;
use crate::difference::{Difference, Effect, RoleDifference};

/// So many clients of a role are named; `--json` has all.
const NAMED: usize = 10;

/// Whether it is to come, or has come.
#[derive(Clone, Copy)]
pub(super) enum When {
    Ahead,
    Past,
}

pub(super) fn print(printer: &Printer, difference: &Difference, when: When) -> Result<(), CliError> {
    for role in &difference.roles {
        print_role(printer, role)?;
    }
    let mut cuts: BTreeMap<(&str, String, &str, &str), u64> = BTreeMap::new();
    for flow in &difference.flows_cut {
        *cuts
            .entry((
                flow.client.as_str(),
                place(&flow.server, &flow.protocol, flow.port),
                flow.reason.as_str(),
                flow.rule.as_str(),
            ))
            .or_default() += 1;
    }
    for ((client, place, reason, rule), count) in cuts {
        let cut = cut(count, when);
        let client = printer.paint(Style::Error, client);
        printer.line(format_args!("{client} loses {place}, {cut} ({reason}: {rule})"))?;
    }
    for key in &difference.waits_for_restart {
        printer.line(format_args!("{key}: the new value takes effect at the next start"))?;
    }
    if difference.concerns_nobody() {
        return Ok(printer.line("nothing changes for anybody")?);
    }
    let clients: usize = difference.roles.iter().map(|role| role.clients.len()).sum();
    Ok(printer.line(format_args!(
        "{} of {}, {}",
        counted(difference.roles.len(), "changed role"),
        counted(clients, "client"),
        cut(difference.flows_cut.len() as u64, when)
    ))?)
}

fn print_role(printer: &Printer, role: &RoleDifference) -> Result<(), CliError> {
    let RoleDifference { role, clients, require_post_quantum, changes } = role;
    let named: Vec<&str> = clients.iter().take(NAMED).map(String::as_str).collect();
    let who = match clients.len() {
        0 => "no client".to_owned(),
        all if all > NAMED => format!("{} and {} more", named.join(", "), all - NAMED),
        _ => named.join(", "),
    };
    printer.line(format_args!("role {role}: {who}"))?;
    for change in changes {
        let (style, sign, note) = match change.effect {
            Effect::Loses => (Style::Error, "-", "by"),
            Effect::Gains => (Style::Good, "+", "by"),
            Effect::TlsOnly => (Style::Warning, "~", "over TLS only, by"),
            Effect::NotTlsOnly => (Style::Warning, "~", "no longer over TLS only, by"),
        };
        let place = printer
            .paint(style, format_args!("{sign} {}", place(&change.server, &change.protocol, &change.ports)));
        let addresses: Vec<String> = change.addresses.iter().map(ToString::to_string).collect();
        let (service, addresses, rule) = (&change.service, addresses.join(", "), &change.rule);
        printer.line(format_args!("  {place} {service} ({addresses}), {note} {rule}"))?;
    }
    match require_post_quantum {
        Some(true) => printer.line("  ~ servers in post-quantum sessions only")?,
        Some(false) => printer.line("  ~ servers no longer in post-quantum sessions only")?,
        None => {}
    }
    Ok(())
}

fn cut(flows: u64, when: When) -> String {
    let was = match (when, flows) {
        (When::Ahead, _) => "would be",
        (When::Past, 1) => "was",
        (When::Past, _) => "were",
    };
    format!("{} {was} cut", counted(flows, "live flow"))
}

/// As `explain --to` takes it: `rec02:7563`, `rec02:554/udp`, `rec02:icmp`.
fn place(server: &str, protocol: &str, ports: impl Display) -> String {
    match protocol {
        "tcp" => format!("{server}:{ports}"),
        "icmp" => format!("{server}:icmp"),
        _ => format!("{server}:{ports}/{protocol}"),
    }
}
