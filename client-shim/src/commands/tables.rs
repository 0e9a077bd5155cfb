//! The table of servers and forwards, and below it what is wrong with any of them.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use vmsgate_cli::{Printer, Style, Table, human};
use vmsgate_shim::Report;
use vmsgate_shim::report::{ErrorReport, ServerReport, ServiceReport};
use vmsgate_shim::tun::NamesState;

/// Views and configuration misbehave when clocks differ by more.
const CLOCK_TOLERANCE_MS: u64 = 60_000;

pub fn print(report: &Report, printer: &Printer) -> io::Result<()> {
    if report.servers.is_empty() && report.forwards.is_empty() {
        return printer.line("no servers");
    }
    let mut table = Table::new(["SERVER", "HERE", "PORTS", "NAMES"]);
    for server in &report.servers {
        let (here, ports) = match &report.proxy {
            Some(_) => ("proxy".to_owned(), offered(server)),
            None => (here(server), ports(server)),
        };
        table.row([server.name.clone(), here, ports, server.hostnames.join(", ")]);
    }
    for forward in report.forwards.iter().filter(|forward| forward.error.is_none()) {
        let (ip, port) = (forward.listen.ip().to_string(), forward.listen.port().to_string());
        let to = forward.forward.split_once('=').map_or("", |(_, to)| to);
        table.row([format!("→ {to}"), ip, port, String::new()]);
    }
    printer.table(&table)?;
    for (subject, error) in errors(report) {
        let label = printer.paint(Style::Warning, "not listening:");
        printer.line(format_args!("{label} {subject}: {}", error.message))?;
        printer.line(format_args!("  hint: {}", error.hint))?;
    }
    for (_, error) in unrouted(report) {
        let label = printer.paint(Style::Warning, "not routed:");
        printer.line(format_args!("{label} {}", error.message))?;
        printer.line(format_args!("  hint: {}", error.hint))?;
    }
    if let Some(error) = unresolved(report) {
        let label = printer.paint(Style::Warning, "names:");
        printer.line(format_args!("{label} {}", error.message))?;
        printer.line(format_args!("  hint: {}", error.hint))?;
    }
    for (subject, remark) in remarks(report) {
        printer.line(format_args!("{} {subject}: {remark}", printer.paint(Style::Warning, "note:")))?;
    }
    Ok(())
}

/// What does not listen, and why.
pub fn errors(report: &Report) -> impl Iterator<Item = (String, &ErrorReport)> {
    let servers = report.servers.iter().flat_map(|server| {
        let listeners = server.listeners.iter();
        listeners.filter_map(|l| Some((format!("{} {}", server.name, l.listen), l.error.as_ref()?)))
    });
    let forwards = report.forwards.iter();
    servers.chain(forwards.filter_map(|f| Some((f.forward.clone(), f.error.as_ref()?))))
}

/// What does not lead into the tunnel in mode `tun`, and why.
pub fn unrouted(report: &Report) -> impl Iterator<Item = (IpAddr, &ErrorReport)> {
    let routes = report.servers.iter().flat_map(|server| &server.routes);
    routes.filter_map(|route| Some((route.address, route.error.as_ref()?)))
}

/// Whether the system's resolver asks the gateway for the servers' names.
fn resolves_names(report: &Report) -> bool {
    report.interface.as_ref().is_some_and(|interface| interface.names == NamesState::Gateway)
}

/// What a person does next to reach the servers by name.
pub fn next_step(report: &Report) -> &'static str {
    match &report.proxy {
        None if resolves_names(report) => "programs here know the servers' names",
        None => "`vmsgate-shim hosts --apply` makes the servers' names known here",
        Some(proxy) if proxy.username.is_none() => "set the proxy in your programs",
        Some(_) => "`vmsgate-shim status --show-password` shows the proxy's password",
    }
}

/// Why it does not in mode `tun`.
pub fn unresolved(report: &Report) -> Option<&ErrorReport> {
    match &report.interface.as_ref()?.names {
        NamesState::Unresolved(error) => Some(error),
        NamesState::Gateway | NamesState::Pending => None,
    }
}

/// Where programs on this machine find a server: at a loopback address, or at its own ones.
fn here(server: &ServerReport) -> String {
    let routed = server.routes.iter().filter(|route| route.error.is_none());
    let routed = routed.map(|route| route.address.to_string());
    server
        .loopback
        .map(|address| address.to_string())
        .into_iter()
        .chain(routed)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What listens and may still not do what was meant.
fn remarks(report: &Report) -> impl Iterator<Item = (&str, String)> {
    let servers = report.servers.iter();
    let omitted = servers.flat_map(|s| s.omitted.iter().map(|text| (s.name.as_str(), text.clone())));
    let unreachable = report.servers.iter().filter_map(|server| {
        let failure = server.unreachable.as_ref()?;
        let since = human::time(failure.time);
        Some((server.name.as_str(), format!("unreachable since {since}: {}: {}", failure.to, failure.reason)))
    });
    let forwards = report.forwards.iter();
    let doubted = forwards.filter_map(|f| Some((f.forward.as_str(), f.warning.clone()?)));
    let differ = clock(report).map(|text| ("clock", text));
    omitted.chain(unreachable).chain(doubted).chain(differ)
}

/// A word about clocks that differ too much.
pub fn clock(report: &Report) -> Option<String> {
    let offset = report.site.as_ref()?.clock_offset_ms;
    (offset.unsigned_abs() > CLOCK_TOLERANCE_MS).then(|| {
        let by = human::duration(Duration::from_millis(offset.unsigned_abs()));
        let direction = if offset > 0 { "behind" } else { "ahead of" };
        format!("this machine is {by} {direction} the gateway; Smart Client needs the right time")
    })
}

/// The ports that listen; the others are listed with their errors.
fn ports(server: &ServerReport) -> String {
    if !server.routes.is_empty() {
        return "its own".to_owned();
    }
    let open = server.listeners.iter().filter(|listener| listener.error.is_none());
    let ports: Vec<String> = open.map(|listener| listener.listen.port().to_string()).collect();
    if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
}

/// The ports that the role may reach, for programs that reach them without a listener.
pub fn offered(server: &ServerReport) -> String {
    let ports = server.services.iter().map(|service| {
        let ServiceReport { protocol, first, last, .. } = service;
        let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
        if protocol == "tcp" { ports } else { format!("{ports}/{protocol}") }
    });
    ports.collect::<Vec<_>>().join(", ")
}
