//! `vmsgate-shim status`

use std::path::Path;

use jiff::Timestamp;
use vmsgate_cli::{CliError, Exit, OrFail, Printer, Style, human};
use vmsgate_shim::Report;
use vmsgate_shim::report::{ProxyReport, SCHEMA_VERSION};
use vmsgate_shim::tunnel::LinkState;

use crate::cli::StatusArgs;
use crate::commands::{keys, tables};
use crate::instance::{self, InstanceError};

pub fn execute(args: &StatusArgs, printer: &Printer) -> Result<Exit, CliError> {
    let profile = args.instance.profile.as_deref();
    let report = ask(profile)?;
    let password = if args.show_password { password(profile, &report)? } else { None };
    if printer.is_json() {
        match password {
            None => printer.json(SCHEMA_VERSION, &report)?,
            Some(password) => {
                let mut document = serde_json::to_value(&report).or_unexpected("cannot write the report")?;
                document["proxy"]["password"] = password.into();
                printer.json(SCHEMA_VERSION, &document)?;
            }
        }
    } else {
        print(&report, password, printer)?;
    }
    Ok(if report.is_connected() { Exit::Done } else { Exit::No })
}

/// The proxy's password; none where it wants none.
fn password(profile: Option<&Path>, report: &Report) -> Result<Option<String>, CliError> {
    if report.proxy.is_none() {
        let error = CliError::user("the running shim is no proxy, so there is no password");
        return Err(error.hint("start it with --mode socks"));
    }
    instance::password(profile).map_err(refused)
}

/// Asks the running shim; shared with the other commands that do.
pub fn ask(profile: Option<&Path>) -> Result<Report, CliError> {
    instance::ask(profile).map_err(refused)
}

/// The running shim could not be asked.
pub fn refused(error: InstanceError) -> CliError {
    let hint = match &error {
        InstanceError::NoneRuns | InstanceError::NotRunning(_) => "start one: vmsgate-shim up PROFILE",
        InstanceError::Several(_) => "name one of them",
        _ => "end the running shim and start it again",
    };
    CliError::user(error).hint(hint)
}

/// The proxy in one line.
pub fn describe(proxy: &ProxyReport) -> String {
    let user = match &proxy.username {
        Some(username) => format!("user {username}"),
        None => "no password".to_owned(),
    };
    format!("SOCKS5 and HTTP at {}, {user}", proxy.listen)
}

fn print(report: &Report, password: Option<String>, printer: &Printer) -> Result<(), CliError> {
    let field =
        |name: &str, value: String| printer.line(format_args!("{name:<13}{}", human::printable(&value)));
    let state = match report.state {
        LinkState::Connecting => "connecting",
        LinkState::Connected => "connected",
        LinkState::NoAnswer => "no answer",
        LinkState::Refused => "refused",
    };
    field("state", format!("{state} since {}", human::time(report.since)))?;
    if let Some(refusal) = &report.refusal {
        field("reason", super::refusal::refused(refusal.reason))?;
    }
    if report.state == LinkState::NoAnswer && report.trouble.is_none() {
        field("hint", super::refusal::no_answer_hint(report))?;
    }
    if let Some(contact) = &report.contact {
        field("contact", contact.clone())?;
    }
    if let Some(trouble) = &report.trouble {
        field("trouble", trouble.clone())?;
    }
    field("profile", report.profile.clone())?;
    if let Some(endpoint) = report.endpoint {
        field("endpoint", endpoint.to_string())?;
    }
    if let Some(interface) = &report.interface {
        let routes = interface.routes.len();
        field("interface", format!("{}, {routes} addresses lead into the tunnel", interface.name))?;
    }
    if let Some(site) = &report.site {
        field("gateway", site.gateway.clone())?;
        field("client", format!("{} of {}, role {}", site.client, site.operator, site.role))?;
        if let Some(expires) = site.expires {
            field("expires", human::time(expires))?;
        }
    }
    if let Some(proxy) = &report.proxy {
        field("proxy", describe(proxy))?;
    }
    if let Some(password) = password {
        field("password", password)?;
    }
    let now = Timestamp::now();
    for (name, value) in keys::lines(report, now) {
        field(name, value)?;
    }
    if let Some(age) = report.handshake_age_ms {
        field("handshake", format!("{} ago", human::duration(std::time::Duration::from_millis(age))))?;
    }
    if let Some(time) = report.round_trip_ms {
        field("round trip", if time == 0 { "under 1 ms".to_owned() } else { format!("{time} ms") })?;
    }
    let (received, sent) = (human::bytes(report.bytes_received), human::bytes(report.bytes_sent));
    field("traffic", format!("{received} received, {sent} sent"))?;
    field("connections", report.open_connections.to_string())?;
    if let Some(failure) = &report.last_failure {
        field("last failure", format!("{} {}: {}", human::time(failure.time), failure.to, failure.reason))?;
    }
    for warning in keys::warnings(report, now) {
        let label = printer.paint(Style::Warning, "warning:");
        printer.line(format_args!("{label} {}", human::printable(&warning)))?;
    }
    if let Some(error) = &report.keys.error {
        let label = printer.paint(Style::Warning, "keys:");
        printer.line(format_args!("{label} {}", human::printable(&error.message)))?;
        printer.line(format_args!("  hint: {}", human::printable(&error.hint)))?;
    }
    if let Some(error) = report.interface.as_ref().and_then(|interface| interface.error.as_ref()) {
        let label = printer.paint(Style::Warning, "interface:");
        printer.line(format_args!("{label} {}", human::printable(&error.message)))?;
        printer.line(format_args!("  hint: {}", human::printable(&error.hint)))?;
    }
    printer.line("")?;
    tables::print(report, printer)?;
    Ok(())
}
