//! The last minute of traffic.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{RenderDirection, Sparkline};
use vmsgate_cli::human;

use super::draw::put;
use super::model::Styles;
use super::rates::Rates;

pub const HEIGHT: u16 = 4;
/// Below, a graph tells less than its number.
pub const MIN_WIDTH: u16 = 50;

pub fn draw(frame: &mut Frame<'_>, area: Rect, rates: &Rates, styles: Styles) {
    if area.is_empty() {
        return;
    }
    let [down, _, up] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    half(frame, down, "received", rates.down().collect(), styles);
    half(frame, up, "sent", rates.up().collect(), styles);
}

fn half(frame: &mut Frame<'_>, area: Rect, what: &str, rates: Vec<u64>, styles: Styles) {
    let [title, graph] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let shown = rates.iter().take(usize::from(graph.width));
    let (seconds, peak) = (shown.len(), shown.copied().max().unwrap_or_default());
    let text = format!("{what}, {seconds} s, at most {}", human::bit_rate(peak as f64));
    put(frame, title, &Line::styled(text, styles.faint));
    let graph_of = Sparkline::default().data(rates).max(peak.max(1)).direction(RenderDirection::RightToLeft);
    frame.render_widget(graph_of.style(styles.good), graph);
}
