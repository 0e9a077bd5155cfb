//! `vmsgate status`

use std::time::Duration;

use hyper::{StatusCode, body::Bytes};
use jiff::Timestamp;
use vmsgate_cli::{CliError, Exit, OrFail, Style, Table, WithHint, human};

use super::{Context, ask_running::ask_running, counted};
use crate::admin::status::{
    Expiring, IdentityStatus, SCHEMA_VERSION, SessionStatus, Status, StatusReport, Totals,
};
use crate::ship::ShipStatus;

pub async fn execute(context: &Context) -> Result<Exit, CliError> {
    let report = understood(ask_running(&context.data_dir()?, "/v1/status").await?)?;
    let ready = report.status.conditions.iter().all(|condition| condition.ok);
    if context.printer.is_json() {
        context.printer.json(report.schema_version, &report.status)?;
    } else {
        print(context, &report.status)?;
    }
    Ok(if ready { Exit::Done } else { Exit::No })
}

/// The gateway's status, in a form that this program understands.
fn understood((status, body): (StatusCode, Bytes)) -> Result<StatusReport, CliError> {
    if status != StatusCode::OK {
        return Err(CliError::unexpected(refusal(&body)).context("the gateway gave no status"));
    }
    let report: StatusReport = serde_json::from_slice(&body)
        .or_unexpected("the gateway's answer is not one that this program understands")
        .hint("use the `vmsgate` of the same version as the running gateway")?;
    if report.schema_version > SCHEMA_VERSION {
        let message =
            format!("the gateway answers in form {}, newer than this program", report.schema_version);
        return Err(CliError::user(message).hint("use the `vmsgate` of the running gateway"));
    }
    Ok(report)
}

/// The message of an error answer, or the answer itself.
fn refusal(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = value.pointer("/error/message").and_then(serde_json::Value::as_str);
    human::printable(message.unwrap_or(&String::from_utf8_lossy(body)))
}

fn print(context: &Context, status: &Status) -> Result<(), CliError> {
    let printer = &context.printer;
    let up = human::duration(Duration::from_secs(status.uptime_seconds));
    let Status { gateway, version, egress, workers, policy_version, .. } = status;
    printer.line(format_args!("gateway {gateway}, vmsgate {version}, up {up}"))?;
    printer.line(format_args!(
        "policy {policy_version}, egress {egress}, {workers} workers, listening on udp {}",
        list(&status.listen)
    ))?;
    for condition in &status.conditions {
        let (style, label) = if condition.ok { (Style::Good, "ok") } else { (Style::Error, "NOT OK") };
        printer.line(format_args!("{}: {}", printer.paint(style, label), condition.text))?;
    }
    print_totals(context, status)?;
    print_keys(context, status)?;
    if !status.shipping.is_empty() {
        printer.line("")?;
        printer.table(&shipping(&status.shipping))?;
    }
    if !status.sessions.is_empty() {
        printer.line("")?;
        printer.table(&sessions(&status.sessions))?;
    }
    Ok(())
}

fn print_keys(context: &Context, status: &Status) -> Result<(), CliError> {
    let printer = &context.printer;
    for IdentityStatus { fingerprint, state, sessions } in &status.identities {
        printer.line(format_args!("identity {fingerprint}: {state}, {}", counted(*sessions, "session")))?;
    }
    for Expiring { client, expires } in &status.expiring {
        let label = printer.paint(Style::Warning, "expires soon");
        printer.line(format_args!("{label}: client {client} on {}", time(expires)))?;
    }
    Ok(())
}

fn print_totals(context: &Context, status: &Status) -> Result<(), CliError> {
    let printer = &context.printer;
    let Totals { flows_open, flows_opened, handshakes_accepted, traffic, .. } = &status.totals;
    printer.line(format_args!(
        "{}, {}, {}, {flows_opened} since start, {}",
        counted(status.clients, "client"),
        counted(status.sessions.len(), "session"),
        counted(*flows_open, "open flow"),
        counted(*handshakes_accepted, "handshake"),
    ))?;
    printer.line(format_args!(
        "received {} in {} packets, sent {} in {} packets",
        human::bytes(traffic.rx_bytes),
        traffic.rx_packets,
        human::bytes(traffic.tx_bytes),
        traffic.tx_packets
    ))?;
    let totals = &status.totals;
    let counters = [
        ("flows refused", &totals.flows_refused),
        ("handshakes rejected", &totals.handshakes_rejected),
        ("packets dropped", &totals.drops),
    ];
    for (label, reasons) in counters.into_iter().filter(|(_, reasons)| !reasons.is_empty()) {
        let reasons: Vec<String> =
            reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        printer.line(format_args!("{label}: {}", reasons.join(", ")))?;
    }
    Ok(())
}

fn sessions(sessions: &[SessionStatus]) -> Table {
    let headings = [
        "CLIENT",
        "OPERATOR",
        "ROLE",
        "FROM",
        "TUNNEL",
        "SINCE",
        "LAST SEEN",
        "IDENTITY",
        "POST-QUANTUM",
        "FLOWS",
        "RECEIVED",
        "SENT",
    ];
    let mut table = Table::new(headings);
    for session in sessions {
        table.row([
            session.client.clone(),
            session.operator.clone(),
            session.role.clone(),
            session.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default(),
            list(&session.tunnel_addresses),
            time(&session.since),
            session.last_seen.as_deref().map(time).unwrap_or_default(),
            session.identity.clone(),
            if session.post_quantum { "yes" } else { "no" }.to_owned(),
            session.flows.to_string(),
            human::bytes(session.traffic.rx_bytes),
            human::bytes(session.traffic.tx_bytes),
        ]);
    }
    table
}

fn shipping(receivers: &[ShipStatus]) -> Table {
    let mut table = Table::new(["RECEIVER", "TO", "STATE", "BEHIND", "NOT KEPT", "LAST ERROR"]);
    for receiver in receivers {
        table.row([
            receiver.name.clone(),
            receiver.to.clone(),
            receiver.state.as_str().to_owned(),
            receiver.behind.to_string(),
            receiver.rejected.to_string(),
            receiver.last_error.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A time for people, or the text as it came.
fn time(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), human::time)
}
