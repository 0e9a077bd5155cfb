//! The page, by what is most worth its room: a small window loses the graph, the messages and the details, in this
//! order, and keeps the state and the servers.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use vmsgate_shim::Report;

use super::model::Model;
use super::{footer, graph, header, servers};

/// Rows of each part in a window of some size.
struct Rows {
    details: u16,
    warnings: u16,
    graph: u16,
    messages: u16,
    footer: u16,
}

impl Rows {
    fn of(area: Rect, details: usize, warnings: usize, messages: usize) -> Self {
        let Rect { width, height, .. } = area;
        let if_room = |needed: u16, rows: u16| if height >= needed { rows } else { 0 };
        let at_most = |rows: u16, lines: usize| rows.min(u16::try_from(lines).unwrap_or(rows));
        Self {
            details: at_most(if_room(7, 2).max(if_room(12, u16::MAX)), details),
            warnings: at_most(if_room(8, 1).max(if_room(16, 3)), warnings),
            graph: if width >= graph::MIN_WIDTH { if_room(20, graph::HEIGHT) } else { 0 },
            // With their heading.
            messages: at_most(if_room(14, height / 4), messages + 1),
            footer: if_room(9, 1),
        }
    }
}

pub fn page(frame: &mut Frame<'_>, model: &mut Model, report: &Report, now: Timestamp) {
    let area = frame.area();
    let warnings = header::warnings(report, now, model.styles);
    let details = header::details(report, &model.rates, now, model.styles);
    let rows = Rows::of(area, details.len(), warnings.len(), model.messages.newest(usize::MAX).len());
    let [title, detailed, warned, graphs, list, messages, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rows.details),
        Constraint::Length(rows.warnings),
        Constraint::Length(rows.graph),
        Constraint::Min(0),
        Constraint::Length(rows.messages),
        Constraint::Length(rows.footer),
    ])
    .areas(area);

    header::title(frame, title, report, now, model.styles);
    put_all(frame, detailed, details);
    put_all(frame, warned, warnings);
    graph::draw(frame, graphs, &model.rates, model.styles);
    let lines = servers::lines(report, list.width, now, model.styles);
    let window = usize::from(list.height.saturating_sub(1));
    model.scrolled = model.scrolled.min(lines.len().saturating_sub(window));
    let below = lines.len().saturating_sub(model.scrolled + window);
    let heading = servers::heading(report, list.width, (model.scrolled, below), model.styles);
    put_all(frame, list, std::iter::once(heading).chain(lines.into_iter().skip(model.scrolled)));
    put_all(frame, messages, footer::messages(model, usize::from(messages.height)));
    put_all(frame, foot, [footer::keys(model.styles)]);
}

/// One line in each row, as long as there are both.
fn put_all<'l>(frame: &mut Frame<'_>, area: Rect, lines: impl IntoIterator<Item = Line<'l>>) {
    for (row, line) in area.rows().zip(lines) {
        put(frame, row, &line);
    }
}

/// A line that is cut shows that it is.
pub(super) fn put(frame: &mut Frame<'_>, row: Rect, line: &Line<'_>) {
    if row.is_empty() {
        return;
    }
    let buffer = frame.buffer_mut();
    buffer.set_line(row.x, row.y, line, row.width);
    let last = (row.right().saturating_sub(1), row.y);
    if line.width() > usize::from(row.width)
        && let Some(cell) = buffer.cell_mut(last)
    {
        cell.set_symbol("…");
    }
}
