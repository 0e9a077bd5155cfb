//! Sessions as bars on a time line: one row for each client.
//!
//! Colours are in the style sheet; those in attributes are for programs that do not apply it to drawings.

use std::cmp::Reverse;

use vmsgate_audit::{
    Label, UtcTime,
    report::{Presence, Report},
};

use super::html::Html;
use crate::commands::{counted, records};

/// The rows that are drawn: the clients that were connected longest.
const ROWS: usize = 200;
const WIDTH: f64 = 1000.0;
/// Room for the names on the left.
const LEFT: f64 = 190.0;
const ROW: f64 = 20.0;
const TOP: f64 = 22.0;
/// Longer names are cut in the drawing; the tables have them whole.
const NAME_CHARS: usize = 26;
/// Sessions closer than this become one bar.
const GAP: f64 = 0.7;
const MARKS: i64 = 8;
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Where a time is between the left and the right edge.
struct Scale {
    since_ms: i64,
    length_ms: i64,
}

/// One bar, of one or more sessions that can't be told apart at this scale.
struct Bar {
    from: UtcTime,
    until: UtcTime,
    sessions: u64,
}

pub(super) fn draw(html: &mut Html, report: &Report) {
    if report.clients.is_empty() {
        html.raw("<p>None.</p>\n");
        return;
    }
    let since_ms = report.scope.since.unix_ms();
    let scale = Scale { since_ms, length_ms: (report.scope.until.unix_ms() - since_ms).max(1) };
    let mut clients: Vec<_> = report.clients.iter().collect();
    clients.sort_by_key(|(_, presence)| Reverse(presence.connected_ms));
    let left_out = clients.len().saturating_sub(ROWS);
    clients.truncate(ROWS);
    clients.sort_by_key(|(client, presence)| (&presence.operator, *client));

    let bottom = TOP + ROW * clients.len() as f64;
    html.raw(
        "<svg font-size=\"11\" role=\"img\" aria-label=\"Sessions of each client over time\" viewBox=\"0 0 ",
    );
    html.coordinate(WIDTH).raw(" ").coordinate(bottom + 4.0).raw("\">\n");
    for (row, _) in clients.iter().enumerate().step_by(2) {
        html.raw("<rect class=\"lane\" fill=\"#f5f7fa\" x=\"0\" width=\"").coordinate(WIDTH);
        html.raw("\" y=\"").coordinate(TOP + ROW * row as f64);
        html.raw("\" height=\"").coordinate(ROW).raw("\"/>\n");
    }
    axis(html, &scale, bottom);
    for (row, (client, presence)) in clients.iter().enumerate() {
        draw_client(html, &scale, TOP + ROW * row as f64, client, presence);
    }
    html.raw("</svg>\n");
    if left_out > 0 {
        html.raw("<p>").text(counted(left_out as u64, "client"));
        html.raw(" that were connected for less time are left out of the drawing.</p>\n");
    }
}

fn axis(html: &mut Html, scale: &Scale, bottom: f64) {
    for mark_ms in scale.marks() {
        let x = scale.x(mark_ms);
        html.raw("<line class=\"grid\" stroke=\"#d9dee6\" y1=\"")
            .coordinate(TOP - 4.0)
            .raw("\" y2=\"")
            .coordinate(bottom);
        html.raw("\" x1=\"").coordinate(x).raw("\" x2=\"").coordinate(x).raw("\"/>");
        html.raw("<text y=\"12\" x=\"").coordinate(x + 3.0).raw("\">").text(scale.mark(mark_ms));
        html.raw("</text>\n");
    }
}

fn draw_client(html: &mut Html, scale: &Scale, y: f64, client: &Label, presence: &Presence) {
    html.raw("<text class=\"who\" x=\"4\" y=\"").coordinate(y + 14.0).raw("\"><title>");
    html.text(client).raw(" (").text(&presence.operator).raw(")</title>");
    html.text(short(client.as_str())).raw("</text>\n");
    for bar in scale.bars(&presence.spans) {
        let from = scale.x(bar.from.unix_ms());
        let width = (scale.x(bar.until.unix_ms()) - from).max(1.5);
        html.raw("<rect class=\"down\" fill=\"#2a6db4\" rx=\"1.5\" x=\"")
            .coordinate(from)
            .raw("\" width=\"")
            .coordinate(width);
        html.raw("\" y=\"").coordinate(y + 4.0).raw("\" height=\"").coordinate(ROW - 8.0);
        html.raw("\"><title>").text(client).raw(", ").text(&presence.operator).raw(": ");
        html.text(records::time(bar.from)).raw(" to ").text(records::time(bar.until));
        if bar.sessions > 1 {
            html.raw(", ").text(counted(bar.sessions, "session"));
        }
        html.raw("</title></rect>\n");
    }
}

impl Scale {
    fn x(&self, ms: i64) -> f64 {
        let part = (ms - self.since_ms) as f64 / self.length_ms as f64;
        LEFT + (WIDTH - LEFT) * part.clamp(0.0, 1.0)
    }

    /// Full hours or days, so many apart that their labels do not touch.
    fn marks(&self) -> impl Iterator<Item = i64> {
        let step = self.step_ms();
        let first = self.since_ms.div_euclid(step) * step + step;
        let end = self.since_ms + self.length_ms;
        // The label of a mark near the right edge would not fit.
        (0..).map(move |n: i64| first + n * step).take_while(move |ms| *ms < end - step / 3)
    }

    fn step_ms(&self) -> i64 {
        let hours = [1, 2, 3, 6, 12].map(|hours| hours * HOUR_MS);
        let days = [1, 2, 7, 14, 30, 91, 365].map(|days| days * DAY_MS);
        let fits = |step: &i64| self.length_ms / step <= MARKS;
        hours.into_iter().chain(days).find(fits).unwrap_or((self.length_ms / MARKS).max(1))
    }

    fn mark(&self, ms: i64) -> String {
        let text = records::time(UtcTime::from_unix_ms(ms));
        let part = if self.step_ms() < DAY_MS { 5..16 } else { 0..10 };
        text.get(part).unwrap_or_default().to_owned()
    }

    fn bars(&self, spans: &[(UtcTime, UtcTime)]) -> Vec<Bar> {
        let mut spans = spans.to_vec();
        spans.sort_unstable();
        let mut bars: Vec<Bar> = Vec::new();
        for (from, until) in spans {
            match bars.last_mut() {
                Some(bar) if self.x(from.unix_ms()) - self.x(bar.until.unix_ms()) < GAP => {
                    bar.until = bar.until.max(until);
                    bar.sessions += 1;
                }
                _ => bars.push(Bar { from, until, sessions: 1 }),
            }
        }
        bars
    }
}

fn short(name: &str) -> String {
    match name.chars().count() > NAME_CHARS {
        true => name.chars().take(NAME_CHARS - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_never_has_more_bars_than_pixels() {
        let scale = Scale { since_ms: 0, length_ms: 1_000_000_000 };
        let spans: Vec<_> = (0..100_000)
            .map(|n| (UtcTime::from_unix_ms(n * 10_000), UtcTime::from_unix_ms(n * 10_000 + 5_000)))
            .collect();
        let bars = scale.bars(&spans);
        assert!(bars.len() as f64 <= WIDTH / GAP, "{}", bars.len());
        assert_eq!(bars.iter().map(|bar| bar.sessions).sum::<u64>(), 100_000);
    }

    #[test]
    fn marks_are_few_and_within_the_period_at_every_scale() {
        for length_ms in [1, HOUR_MS, DAY_MS, 7 * DAY_MS, 31 * DAY_MS, 400 * DAY_MS, 40 * 365 * DAY_MS] {
            let scale = Scale { since_ms: 1_772_357_400_000, length_ms };
            let marks: Vec<_> = scale.marks().collect();
            assert!(marks.len() as i64 <= MARKS + 1, "{length_ms}: {marks:?}");
            assert!(marks.iter().all(|ms| (0..length_ms).contains(&(ms - scale.since_ms))));
        }
    }
}
