//! The table of servers and forwards, and below it what is wrong with any of them.

use std::io;
use std::time::Duration;

use vmsgate_cli::{Printer, Style, Table, human};
use vmsgate_shim::Report;
use vmsgate_shim::report::{ErrorReport, ServerReport};

/// Views and configuration misbehave when clocks differ by more.
const CLOCK_TOLERANCE_MS: u64 = 60_000;

pub fn print(report: &Report, printer: &Printer) -> io::Result<()> {
    if report.servers.is_empty() && report.forwards.is_empty() {
        return printer.line("no servers");
    }
    let mut table = Table::new(["SERVER", "HERE", "PORTS", "NAMES"]);
    for server in &report.servers {
        let here = server.loopback.map(|address| address.to_string()).unwrap_or_default();
        table.row([server.name.clone(), here, ports(server), server.hostnames.join(", ")]);
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

/// What listens and may still not do what was meant.
fn remarks(report: &Report) -> impl Iterator<Item = (&str, String)> {
    let servers = report.servers.iter();
    let omitted = servers.flat_map(|s| s.omitted.iter().map(|text| (s.name.as_str(), text.clone())));
    let forwards = report.forwards.iter();
    let doubted = forwards.filter_map(|f| Some((f.forward.as_str(), f.warning.clone()?)));
    let offset = report.site.as_ref().map(|site| site.clock_offset_ms).unwrap_or_default();
    let differ = (offset.unsigned_abs() > CLOCK_TOLERANCE_MS).then(|| {
        let by = human::duration(Duration::from_millis(offset.unsigned_abs()));
        let direction = if offset > 0 { "behind" } else { "ahead of" };
        ("clock", format!("this machine is {by} {direction} the gateway; Smart Client needs the right time"))
    });
    omitted.chain(doubted).chain(differ)
}

/// The ports that listen; the others are listed with their errors.
fn ports(server: &ServerReport) -> String {
    let open = server.listeners.iter().filter(|listener| listener.error.is_none());
    let ports: Vec<String> = open.map(|listener| listener.listen.port().to_string()).collect();
    if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
}
