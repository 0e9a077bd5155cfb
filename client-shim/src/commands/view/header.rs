//! What is most important: whether it works, with whom, how well, and until when.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use vmsgate_cli::human;
use vmsgate_shim::Report;
use vmsgate_shim::report::ErrorReport;
use vmsgate_shim::tunnel::LinkState;

use super::draw::put;
use super::model::Styles;
use super::rates::Rates;
use crate::commands::refusal::{ask, refused};
use crate::commands::{keys, status, tables};

/// The profile on the left, the state on the right; the state wins where there is room for one.
pub fn title(frame: &mut Frame<'_>, row: Rect, report: &Report, now: Timestamp, styles: Styles) {
    let (style, state) = state(report, now, styles);
    let state = Span::styled(state, style);
    let width = u16::try_from(state.width()).unwrap_or(row.width).min(row.width);
    let name = human::printable(&report.profile);
    let left =
        Line::from(vec![Span::styled(name, styles.strong), Span::styled("  vmsgate-shim", styles.faint)]);
    put(frame, Rect { width: row.width.saturating_sub(width).saturating_sub(2), ..row }, &left);
    put(frame, Rect { x: row.right().saturating_sub(width), width, ..row }, &state.into());
}

fn state(report: &Report, now: Timestamp, styles: Styles) -> (Style, String) {
    let length = human::duration(now.duration_since(report.since).unsigned_abs());
    match report.state {
        LinkState::Connecting => (styles.warning, "○ connecting".to_owned()),
        LinkState::Connected => (styles.good, format!("● connected for {length}")),
        LinkState::NoAnswer => (styles.bad, format!("× no answer for {length}")),
        LinkState::Refused => (styles.bad, format!("× refused for {length}")),
    }
}

/// The more important ones first.
pub fn details(report: &Report, rates: &Rates, now: Timestamp, styles: Styles) -> Vec<Line<'static>> {
    let detail = |name: &str, text: String| {
        Line::from(vec![Span::styled(format!("{name:<9}"), styles.faint), Span::raw(human::printable(&text))])
    };
    let proxy = report.proxy.as_ref().map(|proxy| detail("proxy", status::describe(proxy)));
    let first = [detail("gateway", gateway(report)), detail("traffic", traffic(report, rates))];
    let last = [detail("person", person(report)), detail("access", access(report, now))];
    first.into_iter().chain(proxy).chain(last).collect()
}

fn gateway(report: &Report) -> String {
    let name = report.site.as_ref().map(|site| site.gateway.clone());
    let endpoint = report.endpoint.map(|endpoint| endpoint.to_string());
    let mut text = match (name, endpoint) {
        (Some(name), Some(endpoint)) => format!("{name} at {endpoint}"),
        (name, endpoint) => name.or(endpoint).unwrap_or_else(|| "looking for its address".to_owned()),
    };
    if let Some(time) = report.round_trip_ms.filter(|_| report.is_connected()) {
        text += &if time == 0 { ", under 1 ms away".to_owned() } else { format!(", {time} ms away") };
    }
    text
}

fn traffic(report: &Report, rates: &Rates) -> String {
    let rate = |rate: Option<u64>| human::bit_rate(rate.unwrap_or_default() as f64);
    let connections = match report.open_connections {
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    };
    let (down, up) = (rate(rates.down().next()), rate(rates.up().next()));
    let (received, sent) = (human::bytes(report.bytes_received), human::bytes(report.bytes_sent));
    format!("↓ {down}  ↑ {up}  {connections}, {received} down, {sent} up")
}

fn person(report: &Report) -> String {
    report.site.as_ref().map_or_else(String::new, |site| {
        format!("{}, role {}, device {}", site.operator, site.role, site.client)
    })
}

fn access(report: &Report, now: Timestamp) -> String {
    let Some(site) = &report.site else { return String::new() };
    let left = |end: Timestamp| match end.duration_since(now) {
        left if left.is_positive() => Some(human::duration(left.unsigned_abs())),
        _ => None,
    };
    let mut parts = vec![match site.expires.map(left) {
        None => "without end".to_owned(),
        Some(Some(left)) => format!("for another {left}"),
        Some(None) => "expired".to_owned(),
    }];
    parts.extend(report.keys.ends.and_then(left).map(|left| format!("key replaced by itself within {left}")));
    if report.keys.post_quantum {
        parts.push("post-quantum".to_owned());
    }
    parts.join(", ")
}

/// What stands in the way or soon will.
pub fn warnings(report: &Report, now: Timestamp, styles: Styles) -> Vec<Line<'static>> {
    let line = |style, text: &str| {
        Line::from(vec![Span::styled("! ", style), Span::styled(human::printable(text), style)])
    };
    let error = |error: &ErrorReport| format!("{}; {}", error.message, error.hint);
    let interface = report.interface.as_ref().and_then(|interface| interface.error.as_ref());
    let errors = report.keys.error.iter().chain(interface).chain(tables::unresolved(report)).map(error);
    let refusal = report.refusal.as_ref().filter(|_| report.state == LinkState::Refused);
    let refusal =
        refusal.map(|refusal| format!("{}; {}", refused(refusal.reason), ask(report.contact.as_deref())));
    let serious = refusal.into_iter().chain(report.trouble.iter().cloned()).chain(errors);
    let warned = keys::warnings(report, now).into_iter().chain(tables::clock(report));
    serious
        .map(|text| line(styles.bad, &text))
        .chain(warned.map(|text| line(styles.warning, &text)))
        .collect()
}
