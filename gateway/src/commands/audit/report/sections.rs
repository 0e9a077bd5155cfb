//! The tables of the page.

use std::{cmp::Reverse, time::Duration};

use vmsgate_audit::{
    Label, Snapshot,
    report::{Bytes, Report},
};
use vmsgate_cli::human;

use super::html::Html;
use crate::commands::records;

/// A page is for reading: of longer lists it shows so many rows, and says how many there are.
const ROWS: usize = 500;

pub(super) fn people(html: &mut Html, report: &Report) {
    html.raw("<h2>People</h2>\n");
    let mut people: Vec<_> = report.people.iter().collect();
    people.sort_by_key(|(_, person)| Reverse(person.connected_ms));
    if none(html, people.is_empty(), "Nobody was connected.") {
        return;
    }
    html.table(&["Operator", "Clients", "Roles", "#Sessions", "#Connected", "#To client", "#From client"]);
    for (operator, person) in people.iter().take(ROWS) {
        html.raw("<tr>").cell(operator).cell(list(&person.clients)).cell(list(&person.roles));
        html.number(person.sessions).number(human::duration(Duration::from_millis(person.connected_ms)));
        bytes(html, person.bytes).raw("</tr>\n");
    }
    html.end_table();
    left_out(html, people.len());
}

pub(super) fn servers(html: &mut Html, report: &Report) {
    html.raw("<h2>Servers reached</h2>\n");
    let mut reached: Vec<_> = report.reached.iter().collect();
    reached.sort_by_key(|(_, reached)| {
        Reverse(reached.bytes.to_client.saturating_add(reached.bytes.from_client))
    });
    if none(html, reached.is_empty(), "None.") {
        return;
    }
    html.table(&["Server", "Service", "#People", "#Flows", "#To client", "#From client"]);
    for ((server, service), reached) in reached.iter().take(ROWS) {
        html.raw("<tr>").cell(server).cell(service.as_ref().map_or("", Label::as_str));
        html.number(reached.operators.len()).number(reached.flows);
        bytes(html, reached.bytes).raw("</tr>\n");
    }
    html.end_table();
    left_out(html, reached.len());
}

pub(super) fn clear_text(html: &mut Html, report: &Report) {
    html.raw("<h2>Reached in clear text</h2>\n");
    html.raw("<p class=\"faint\">TCP connections whose first bytes were not TLS. The tunnel encrypts them between client and gateway; on the recording network they can be read.</p>\n");
    let services = report.reached.iter().filter(|(_, reached)| reached.clear_text > 0);
    let mut services: Vec<_> = services.collect();
    services.sort_by_key(|(_, reached)| Reverse(reached.clear_text));
    if none(html, services.is_empty(), "None was seen.") {
        return;
    }
    html.table(&["Server", "Service", "People", "#In clear text", "#With TLS"]);
    for ((server, service), reached) in services.iter().take(ROWS) {
        html.raw("<tr>").cell(server).cell(service.as_ref().map_or("", Label::as_str));
        html.cell(list(&reached.operators))
            .number(reached.clear_text)
            .number(reached.encrypted)
            .raw("</tr>\n");
    }
    html.end_table();
    left_out(html, services.len());
}

pub(super) fn denials(html: &mut Html, report: &Report) {
    html.raw("<h2>Refused</h2>\n");
    let mut denials: Vec<_> = report.denials.iter().collect();
    denials.sort_by_key(|(_, denials)| Reverse(denials.attempts));
    if none(html, denials.is_empty(), "Nothing was refused.") {
        return;
    }
    html.table(&["Operator", "Client", "Destination", "Reason", "Rule", "#Attempts", "Last"]);
    for (denied, denials) in denials.iter().take(ROWS) {
        html.raw("<tr>").cell(&denied.operator).cell(&denied.client).cell(&denied.destination);
        html.cell(&denied.reason).cell(denials.rule.as_ref().map_or("", Label::as_str));
        html.number(denials.attempts);
        html.raw("<td class=\"t\">").text(records::time(denials.last)).raw("</td></tr>\n");
    }
    html.end_table();
    left_out(html, denials.len());
    if report.other_denials > 0 {
        html.raw("<p>").text(report.other_denials).raw(" more attempts went to still other places.</p>\n");
    }
}

pub(super) fn acts(html: &mut Html, report: &Report) {
    html.raw("<h2>Administrative acts</h2>\n");
    if report.scope.server.is_some() {
        html.raw("<p>They are about clients, keys and the log, not about one server: see a report without a server.</p>\n");
        return;
    }
    if none(html, report.acts.is_empty(), "None.") {
        return;
    }
    html.table(&["Time", "Who", "Act", "Object", "Before", "After"]);
    for act in &report.acts {
        html.raw("<tr><td class=\"t\">").text(records::time(act.time)).raw("</td>");
        html.cell(&act.actor).raw("<td class=\"t\">").name(&act.act).raw("</td>").cell(&act.object);
        state(html, act.before.as_ref(), act.after.as_ref());
        state(html, act.after.as_ref(), act.before.as_ref());
        html.raw("</tr>\n");
    }
    html.end_table();
    if report.older_acts > 0 {
        html.raw("<p>").text(report.older_acts).raw(" earlier acts are left out; an export has them.</p>\n");
    }
}

pub(super) fn reads(html: &mut Html, report: &Report) {
    html.raw("<h2>Who read this log</h2>\n");
    if none(html, report.reads.is_empty(), "Nobody.") {
        return;
    }
    html.table(&["Who", "With", "#Times"]);
    let mut reads: Vec<_> = report.reads.iter().collect();
    reads.sort_by_key(|(_, times)| Reverse(**times));
    for ((who, command), times) in reads.iter().take(ROWS) {
        html.raw("<tr>").cell(who).cell(command).number(times).raw("</tr>\n");
    }
    html.end_table();
    left_out(html, reads.len());
}

/// A state; of an object with a state before and after, only the members that differ.
fn state(html: &mut Html, state: Option<&Snapshot>, other: Option<&Snapshot>) {
    html.raw("<td><code>");
    match (state.map(Snapshot::value), other.map(Snapshot::value)) {
        (Some(serde_json::Value::Object(members)), Some(serde_json::Value::Object(others))) => {
            let differing = members.iter().filter(|(name, value)| others.get(*name) != Some(value));
            for (index, (name, value)) in differing.enumerate() {
                html.raw(if index > 0 { "<br>" } else { "" }).name(format_args!("{name}: {value}"));
            }
        }
        (Some(serde_json::Value::Object(members)), _) => {
            for (index, (name, value)) in members.iter().enumerate() {
                html.raw(if index > 0 { "<br>" } else { "" }).name(format_args!("{name}: {value}"));
            }
        }
        (Some(value), _) => {
            html.name(value);
        }
        (None, _) => {}
    }
    html.raw("</code></td>");
}

fn bytes(html: &mut Html, bytes: Bytes) -> &mut Html {
    html.number(human::bytes(bytes.to_client)).number(human::bytes(bytes.from_client))
}

fn list<'a>(names: impl IntoIterator<Item = &'a Label>) -> String {
    names.into_iter().map(Label::as_str).collect::<Vec<_>>().join(", ")
}

fn none(html: &mut Html, none: bool, sentence: &'static str) -> bool {
    if none {
        html.raw("<p>").raw(sentence).raw("</p>\n");
    }
    none
}

fn left_out(html: &mut Html, rows: usize) {
    if rows > ROWS {
        html.raw("<p>").text(rows - ROWS).raw(" more rows are left out.</p>\n");
    }
}
