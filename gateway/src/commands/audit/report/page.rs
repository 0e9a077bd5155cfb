//! The page as a whole: one file, without scripts, and without a single reference to anything outside of it.

use std::time::Duration;

use vmsgate_audit::{
    Label, UtcTime,
    report::{Bytes, Report, Scope},
};
use vmsgate_cli::human;

use super::{super::proof::ProofStatus, html::Html, sections, timeline, traffic};
use crate::commands::records;

/// When and by whom a page was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) at: UtcTime,
    pub(super) by: Label,
}

pub(super) fn page(report: &Report, proof: &ProofStatus, made: &Made) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    // A name that got past the escaping could still neither run nor load anything.
    html.raw(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    html.text(title(&report.scope)).raw("</title>\n<style>\n");
    html.raw(include_str!("style.css")).raw("</style></head><body>\n");
    head(&mut html, &report.scope, made);
    summary(&mut html, report);
    proof_box(&mut html, proof, report.unreadable);
    sections::people(&mut html, report);
    html.raw("<h2>Sessions</h2>\n");
    timeline::draw(&mut html, report);
    html.raw("<h2>Traffic</h2>\n");
    traffic::draw(&mut html, &report.traffic);
    sections::servers(&mut html, report);
    sections::clear_text(&mut html, report);
    sections::denials(&mut html, report);
    sections::acts(&mut html, report);
    sections::reads(&mut html, report);
    html.raw("</body></html>\n");
    html.into_string()
}

fn title(scope: &Scope) -> String {
    let day = |time: UtcTime| records::time(time).chars().take(10).collect::<String>();
    format!("Remote access report {} to {}", day(scope.since), day(scope.until))
}

fn head(html: &mut Html, scope: &Scope, made: &Made) {
    html.raw("<h1>Remote access to the video management system</h1>\n<p>");
    html.text(records::time(scope.since)).raw(" to ").text(records::time(scope.until));
    for (what, name) in
        [(", operator ", &scope.operator), (", client ", &scope.client), (", server ", &scope.server)]
    {
        if let Some(name) = name {
            html.raw(what).raw("<b>").name(name).raw("</b>");
        }
    }
    let everything = scope.operator.is_none() && scope.client.is_none() && scope.server.is_none();
    html.raw(if everything { ", everybody and every server" } else { "" });
    html.raw("</p>\n<p class=\"made\">Made ").text(records::time(made.at)).raw(" by ").name(&made.by);
    html.raw(" with Vmsgate ").text(env!("CARGO_PKG_VERSION")).raw(". All times are UTC.</p>\n");
}

fn summary(html: &mut Html, report: &Report) {
    let people = report.people.values();
    let (mut sessions, mut connected_ms, mut bytes) = (0, 0, Bytes::default());
    for person in people {
        sessions += person.sessions;
        connected_ms += person.connected_ms;
        bytes += person.bytes;
    }
    let flows: u64 = report.reached.values().map(|reached| reached.flows).sum();
    let denied: u64 = report.denials.values().map(|denials| denials.attempts).sum();
    html.raw("<div class=\"tiles\">\n");
    tile(html, report.people.len(), "people");
    tile(html, report.clients.len(), "clients");
    tile(html, sessions, "sessions");
    tile(html, human::duration(Duration::from_millis(connected_ms)), "connected");
    tile(html, flows, "flows");
    tile(html, human::bytes(bytes.to_client), "to clients");
    tile(html, human::bytes(bytes.from_client), "from clients");
    tile(html, denied + report.other_denials, "refused attempts");
    html.raw("</div>\n");
}

fn tile(html: &mut Html, figure: impl std::fmt::Display, what: &'static str) {
    html.raw("<div class=\"tile\"><b>").text(figure).raw("</b><span>").raw(what).raw("</span></div>\n");
}

fn proof_box(html: &mut Html, proof: &ProofStatus, unreadable: u64) {
    match proof.proven && unreadable == 0 {
        true => html.raw("<div class=\"proof\"><b>The log behind this report is proven.</b><ul>"),
        false => html.raw("<div class=\"proof bad\"><b>The log behind this report is not proven.</b><ul>"),
    };
    for line in &proof.lines {
        html.raw("<li>").text(line).raw("</li>");
    }
    if unreadable > 0 {
        html.raw("<li>").text(unreadable);
        html.raw(" records of the period are missing or were altered and are left out here.</li>");
    }
    html.raw("</ul></div>\n");
}
