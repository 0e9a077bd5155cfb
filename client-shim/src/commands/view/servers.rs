//! The servers, each with its services: whether they listen here, and whether the last connection came about.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ratatui::text::{Line, Span};
use vmsgate_cli::human;
use vmsgate_shim::Report;
use vmsgate_shim::carrier::Failure;
use vmsgate_shim::report::{ErrorReport, ListenerReport, ServerReport};

use super::model::Styles;
use crate::commands::tables;

/// Column of addresses here, with the blanks behind it.
const HERE: usize = 17;
/// Below, the addresses are left out.
const WIDE: u16 = 60;
const MIN_NAME: usize = 8;

/// The heading, with how many lines the window of the list leaves out above and below.
pub fn heading(report: &Report, width: u16, hidden: (usize, usize), styles: Styles) -> Line<'static> {
    let columns = Columns::of(report, width);
    let troubled =
        report.servers.iter().flat_map(|server| &server.listeners).filter(|l| is_troubled(l)).count()
            + report.forwards.iter().filter(|forward| forward.error.is_some()).count()
            + tables::unrouted(report).count();
    let mut line = Line::from(Span::styled(columns.row("SERVER", "HERE") + "SERVICES", styles.strong));
    if troubled > 0 {
        line.push_span(Span::styled(format!("  {troubled} with problems"), styles.bad));
    }
    for (sign, lines) in [("↑", hidden.0), ("↓", hidden.1)] {
        if lines > 0 {
            line.push_span(Span::styled(format!("  {sign} {lines}"), styles.faint));
        }
    }
    line
}

/// One line or more for each server and forward.
pub fn lines(report: &Report, width: u16, now: Timestamp, styles: Styles) -> Vec<Line<'static>> {
    let columns = Columns::of(report, width);
    let mut lines = Vec::new();
    for server in &report.servers {
        let here = match &report.proxy {
            Some(_) => "proxy".to_owned(),
            None => server.loopback.map(|address| address.to_string()).unwrap_or_default(),
        };
        let names =
            std::iter::once(columns.row(&server.name, &here)).chain(std::iter::repeat(columns.row("", "")));
        let mut services = services(server, now, styles);
        if report.proxy.is_some() {
            services.insert(0, marked("●", &tables::offered(server), styles.good));
        } else if services.is_empty() {
            services.push(Line::styled("nothing listens", styles.faint));
        }
        lines.extend(names.zip(services).map(|(names, service)| joined(names, service)));
    }
    for forward in &report.forwards {
        let to = forward.forward.split_once('=').map_or(forward.forward.as_str(), |(_, to)| to);
        let names = columns.row(&format!("→ {to}"), &forward.listen.ip().to_string());
        let port = forward.listen.port().to_string();
        let service = match (&forward.error, &forward.last_failure, &forward.warning) {
            (Some(error), ..) => closed(&port, error, styles),
            (None, Some(failure), _) => failed(&port, failure, now, styles),
            (None, None, Some(warning)) => marked("!", &format!("{port}: {warning}"), styles.warning),
            (None, None, None) => marked("●", &port, styles.good),
        };
        lines.push(joined(names, service));
    }
    if lines.is_empty() {
        lines.push(Line::styled("none yet", styles.faint));
    }
    lines
}

/// One line for each service that is well, one for each port that is not, one for each remark.
fn services(server: &ServerReport, now: Timestamp, styles: Styles) -> Vec<Line<'static>> {
    let mut well: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
    for listener in server.listeners.iter().filter(|listener| !is_troubled(listener)) {
        well.entry(&listener.service).or_default().push(listener.listen.port());
    }
    let well = well.iter().map(|(service, ports)| {
        let mut line = marked("●", service, styles.good);
        line.push_span(Span::raw(format!(" {}", ranges(ports))));
        line
    });
    let troubled = server.listeners.iter().filter_map(|listener| {
        let what = format!("{} {}", listener.service, listener.listen.port());
        match (&listener.error, &listener.last_failure) {
            (Some(error), _) => Some(closed(&what, error, styles)),
            (None, Some(failure)) => Some(failed(&what, failure, now, styles)),
            (None, None) => None,
        }
    });
    let routes = server.routes.iter().map(|route| match &route.error {
        Some(error) => closed(&route.address.to_string(), error, styles),
        None => marked("●", &format!("{} through the tunnel", route.address), styles.good),
    });
    let omitted = server.omitted.iter().map(|remark| marked("-", remark, styles.faint));
    troubled.chain(well).chain(routes).chain(omitted).collect()
}

fn is_troubled(listener: &ListenerReport) -> bool {
    listener.error.is_some() || listener.last_failure.is_some()
}

fn closed(what: &str, error: &ErrorReport, styles: Styles) -> Line<'static> {
    marked("×", &format!("{what}: {}; {}", error.message, error.hint), styles.bad)
}

fn failed(what: &str, failure: &Failure, now: Timestamp, styles: Styles) -> Line<'static> {
    let ago = human::duration(now.duration_since(failure.time).unsigned_abs());
    marked("!", &format!("{what}: {ago} ago {}", failure.reason), styles.warning)
}

fn marked(sign: &'static str, text: &str, style: ratatui::style::Style) -> Line<'static> {
    Line::from(Span::styled(format!("{sign} {}", human::printable(text)), style))
}

fn joined(names: String, service: Line<'static>) -> Line<'static> {
    let mut line = Line::from(Span::raw(names));
    line.extend(service.spans);
    line
}

/// `80, 443, 8000-8127`
fn ranges(ports: &[u16]) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => ranges.push((*port, *port)),
        }
    }
    let range = |(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

/// How wide the columns before the services are.
struct Columns {
    name: usize,
    here: usize,
}

impl Columns {
    fn of(report: &Report, width: u16) -> Self {
        let names = report.servers.iter().map(|server| server.name.as_str());
        let forwards = report.forwards.iter().map(|forward| forward.forward.as_str());
        let longest = names.chain(forwards).map(|name| Span::raw(name).width()).max().unwrap_or_default();
        let here = report.proxy.is_some()
            || report.servers.iter().any(|server| server.loopback.is_some())
            || !report.forwards.is_empty();
        Self {
            name: longest.min(usize::from(width) / 3).max(MIN_NAME),
            here: if here && width >= WIDE { HERE } else { 0 },
        }
    }

    /// The two columns, each filled up with blanks.
    fn row(&self, name: &str, here: &str) -> String {
        let here = if self.here == 0 { "" } else { here };
        format!("{}  {here:<width$}", fitted(&human::printable(name), self.name), width = self.here)
    }
}

/// A text that is cut or filled up to a width of the terminal.
fn fitted(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    for c in text.chars() {
        fitted.push(c);
        if Span::raw(fitted.as_str()).width() > width {
            while Span::raw(fitted.as_str()).width() >= width && fitted.pop().is_some() {}
            fitted.push('…');
            break;
        }
    }
    let blanks = width.saturating_sub(Span::raw(fitted.as_str()).width());
    fitted + &" ".repeat(blanks)
}
