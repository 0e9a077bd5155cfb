//! The page as text: a heading, the clients, what was refused lately, the keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use vmsgate_cli::human;

use super::model::{Model, Row};

const HEADING: &str = "CLIENT               OPERATOR             ROLE                 UP         DOWN  FLOWS  FROM";
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

pub fn page(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    let rows = model.rows();
    let news = u16::try_from(model.news.len() + 1).unwrap_or(u16::MAX).min(area.height / 3);
    let [top, list, below, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(news),
        Constraint::Length(1),
    ])
    .areas(area);
    put_all(frame, top, heading(model));
    let columns = Line::styled(HEADING, STRONG);
    put_all(frame, list, std::iter::once(columns).chain(rows.iter().map(client)));
    put_all(frame, below, refused(model));
    put_all(frame, foot, [Line::raw("q ends it   s sorts   / filters   ↑ ↓ move the list")]);
}

fn heading(model: &Model) -> Vec<Line<'static>> {
    let Some(status) = model.status() else { return vec![Line::raw("the gateway has not answered yet")] };
    let (up, down) = model.rows().iter().fold((0, 0), |(up, down), row| (up + row.up, down + row.down));
    let what = format!(
        "{}  {} of {} clients, {} open flows, up {}, down {}",
        status.gateway,
        status.sessions.len(),
        status.clients,
        status.totals.flows_open,
        bits(up),
        bits(down),
    );
    let trouble = status.conditions.iter().find(|condition| !condition.ok).map(|condition| condition.text.clone());
    let mut chosen = format!("sorted by {}", model.order.words());
    if !model.filter.is_empty() {
        chosen += &format!(", only `{}`", human::printable(&model.filter));
    }
    let second = trouble.map_or(chosen, |text| format!("NOT OK: {text}"));
    vec![Line::styled(what, STRONG), Line::raw(second)]
}

fn client(row: &Row<'_>) -> Line<'static> {
    let session = row.session;
    let from = session.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default();
    Line::raw(format!(
        "{:<20} {:<20} {:<16} {:>12} {:>12} {:>6}  {from}",
        cut(&session.client, 20),
        cut(&session.operator, 20),
        cut(&session.role, 16),
        bits(row.up),
        bits(row.down),
        session.flows,
    ))
}

fn refused(model: &Model) -> Vec<Line<'static>> {
    let heading = Line::styled("REFUSED LATELY", STRONG);
    let lines = model.news.iter().map(|news| {
        let time = news.at.strftime("%H:%M:%S");
        Line::raw(format!("{time}  {} ({})", human::printable(&news.what), news.count))
    });
    std::iter::once(heading).chain(lines).collect()
}

/// Names come from people: nothing in them reaches the terminal as a command.
fn cut(text: &str, width: usize) -> String {
    let text = human::printable(text);
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn bits(rate: u64) -> String {
    let rate = rate as f64;
    match rate {
        _ if rate >= 1e9 => format!("{:.1} Gbit/s", rate / 1e9),
        _ if rate >= 1e6 => format!("{:.1} Mbit/s", rate / 1e6),
        _ if rate >= 1e3 => format!("{:.1} kbit/s", rate / 1e3),
        _ => format!("{rate:.0} bit/s"),
    }
}

fn put_all<'l>(frame: &mut Frame<'_>, area: Rect, lines: impl IntoIterator<Item = Line<'l>>) {
    for (row, line) in area.rows().zip(lines) {
        frame.buffer_mut().set_line(row.x, row.y, &line, row.width);
    }
}
