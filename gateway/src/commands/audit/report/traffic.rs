//! Traffic as bars: one pair for each day, or for several days in a long period.

use vmsgate_audit::{
    UtcTime,
    report::{Bytes, TrafficOverTime},
};
use vmsgate_cli::human;

use super::html::Html;
use crate::commands::{counted, records};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 10.0;
const HEIGHT: f64 = 180.0;
const LABELS: f64 = 24.0;
/// Labels below the bars, at most.
const MARKS: usize = 10;

pub(super) fn draw(html: &mut Html, traffic: &TrafficOverTime) {
    let steps: Vec<(UtcTime, Bytes)> = traffic.steps().collect();
    let most = steps.iter().map(|(_, bytes)| bytes.from_client.max(bytes.to_client)).max().unwrap_or(0);
    if most == 0 {
        html.raw("<p>None.</p>\n");
        return;
    }
    let top = round_up(most);
    legend(html, traffic);
    html.raw("<svg font-size=\"11\" role=\"img\" aria-label=\"Bytes over time\" viewBox=\"0 0 ")
        .coordinate(WIDTH);
    html.raw(" ").coordinate(TOP + HEIGHT + LABELS).raw("\">\n");
    for quarter in 0..=4_u64 {
        let y = TOP + HEIGHT * (1.0 - quarter as f64 / 4.0);
        html.raw("<line class=\"grid\" stroke=\"#d9dee6\" x1=\"")
            .coordinate(LEFT)
            .raw("\" x2=\"")
            .coordinate(WIDTH);
        html.raw("\" y1=\"").coordinate(y).raw("\" y2=\"").coordinate(y).raw("\"/>");
        html.raw("<text text-anchor=\"end\" x=\"").coordinate(LEFT - 6.0);
        html.raw("\" y=\"").coordinate(y + 4.0).raw("\">");
        html.text(human::bytes(top / 4 * quarter)).raw("</text>\n");
    }
    let slot = (WIDTH - LEFT) / steps.len() as f64;
    let bar = (slot * 0.38).min(36.0);
    let every = steps.len().div_ceil(MARKS);
    for (index, (day, bytes)) in steps.iter().enumerate() {
        let middle = LEFT + slot * (index as f64 + 0.5);
        let day = records::time(*day).chars().take(10).collect::<String>();
        draw_bar(html, "class=\"down\" fill=\"#2a6db4\"", (middle - bar, bar), bytes.to_client, top, &day);
        draw_bar(html, "class=\"up\" fill=\"#b4632a\"", (middle, bar), bytes.from_client, top, &day);
        if index % every == 0 {
            html.raw("<text text-anchor=\"middle\" y=\"").coordinate(TOP + HEIGHT + 16.0);
            html.raw("\" x=\"").coordinate(middle).raw("\">").text(&day).raw("</text>\n");
        }
    }
    html.raw("</svg>\n");
}

fn legend(html: &mut Html, traffic: &TrafficOverTime) {
    html.raw("<p class=\"faint\"><i class=\"key down\"></i>to clients &nbsp; <i class=\"key up\"></i>from clients &nbsp; per ");
    match traffic.days_per_step() {
        1 => html.raw("day"),
        days => html.text(counted(u64::try_from(days).unwrap_or_default(), "day")),
    };
    html.raw(" (UTC). A flow's bytes are taken as spread evenly over its duration.</p>\n");
}

fn draw_bar(html: &mut Html, look: &'static str, (x, width): (f64, f64), bytes: u64, top: u64, day: &str) {
    let height = HEIGHT * (bytes as f64 / top as f64);
    html.raw("<rect ").raw(look).raw(" x=\"").coordinate(x).raw("\" width=\"").coordinate(width);
    html.raw("\" y=\"").coordinate(TOP + HEIGHT - height).raw("\" height=\"").coordinate(height);
    html.raw("\"><title>").text(day).raw(": ").text(human::bytes(bytes)).raw("</title></rect>\n");
}

/// The next of 4, 8, 20, 40, 80 … above: its quarters are round numbers.
fn round_up(most: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for factor in [4, 8, 20] {
            match power.checked_mul(factor) {
                Some(bound) if bound >= most => return bound,
                Some(_) => {}
                None => return u64::MAX,
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_round_and_never_below_the_highest_bar() {
        assert_eq!([1, 4, 5, 9, 21, 399, 401].map(round_up), [4, 4, 8, 20, 40, 400, 800]);
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }
}
