//! The page as text: a heading, the clients or one of them, the servers, what was refused, the keys.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use vmsgate_audit::query::{DenialRow, FlowRow};
use vmsgate_cli::human;

use super::model::{Mode, Model, Rate, Row};
use crate::commands::records;

const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

pub fn page(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    let denials = denials(model);
    let servers = if model.looked_at().is_none() { servers(model) } else { Vec::new() };
    let height = |lines: &[Line<'_>], share: u16| {
        u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height / share)
    };
    let [top, list, middle, below, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Min(3),
        Constraint::Length(height(&servers, 4)),
        Constraint::Length(height(&denials, 3)),
        Constraint::Length(1),
    ])
    .areas(area);
    put(frame, top, heading(model));
    match model.looked_at() {
        Some(client) => put(frame, list, one(model, client)),
        None => put(frame, list, clients(model, list.height)),
    }
    put(frame, middle, servers);
    put(frame, below, denials);
    put(frame, foot, [footer(model)]);
}

fn heading(model: &Model) -> Vec<Line<'static>> {
    let Some(status) = model.status() else { return Vec::new() };
    let sum = status
        .sessions
        .iter()
        .map(|session| model.rate(session))
        .fold(Rate::default(), |sum, rate| Rate { up: sum.up + rate.up, down: sum.down + rate.down });
    let what = format!(
        "{}  {} of {} clients   {} flows   up {}   down {}   refused {}",
        status.gateway,
        status.sessions.len(),
        status.clients,
        status.totals.flows_open,
        bits(sum.up),
        bits(sum.down),
        model.refused(),
    );
    let wrong = status.conditions.iter().find(|condition| !condition.ok);
    let second = match (model.lost(), wrong) {
        (Some(why), _) => format!("NO ANSWER: {why}"),
        (None, Some(condition)) => format!("NOT OK: {}", condition.text),
        (None, None) if model.filter.is_empty() => format!("sorted by {}", model.order.words()),
        (None, None) => format!("sorted by {}, only `{}`", model.order.words(), model.filter),
    };
    vec![Line::styled(plain(&what), STRONG), Line::raw(plain(&second))]
}

fn clients(model: &Model, height: u16) -> Vec<Line<'static>> {
    let rows = model.rows();
    let columns = format!(
        "{:<20} {:<20} {:<16} {:>12} {:>12} {:>6}  FROM",
        "CLIENT", "OPERATOR", "ROLE", "UP", "DOWN", "FLOWS"
    );
    let selection = model.selection(&rows);
    // The selected one is always among those shown.
    let room = usize::from(height.saturating_sub(1)).max(1);
    let first = (selection + 1).saturating_sub(room);
    let shown = rows.iter().enumerate().skip(first).map(|(at, row)| {
        let line = client(row);
        if at == selection { Line::styled(line, CHOSEN) } else { Line::raw(line) }
    });
    std::iter::once(Line::styled(columns, STRONG)).chain(shown).collect()
}

fn client(row: &Row<'_>) -> String {
    let session = row.session;
    let from = session.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default();
    format!(
        "{:<20} {:<20} {:<16} {:>12} {:>12} {:>6}  {from}",
        short(&session.client, 20),
        short(&session.operator, 20),
        short(&session.role, 16),
        bits(row.rate.up),
        bits(row.rate.down),
        session.flows,
    )
}

/// One client: what it is, and its open flows.
fn one(model: &Model, name: &str) -> Vec<Line<'static>> {
    let sessions = model.status().map(|status| status.sessions.as_slice()).unwrap_or_default();
    let mut lines = Vec::new();
    match sessions.iter().find(|session| session.client == name) {
        Some(session) => {
            let rate = model.rate(session);
            let from = session.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default();
            lines.push(Line::styled(
                plain(&format!("{name}, {} as {}, from {from}", session.operator, session.role)),
                STRONG,
            ));
            lines.push(Line::raw(plain(&format!(
                "since {}, session {}, up {}, down {}",
                session.since,
                session.session,
                bits(rate.up),
                bits(rate.down)
            ))));
        }
        None => lines.push(Line::styled(plain(&format!("{name} is not connected")), STRONG)),
    }
    lines.push(Line::styled(
        format!("{:<48} {:<24} {:>10} {:>10}", "OPEN FLOW", "SERVICE", "RECEIVED", "SENT"),
        STRONG,
    ));
    lines.extend(model.told.flows.iter().map(|row| Line::raw(flow(row))));
    lines
}

fn flow(row: &FlowRow) -> String {
    let service = row.destination.service.as_ref().map(ToString::to_string).unwrap_or_default();
    format!(
        "{:<48} {:<24} {:>10} {:>10}",
        short(&records::destination(row.protocol, &row.destination), 48),
        short(&service, 24),
        human::bytes(row.traffic.from_client.bytes),
        human::bytes(row.traffic.to_client.bytes),
    )
}

fn servers(model: &Model) -> Vec<Line<'static>> {
    let mut rates: Vec<_> = model.servers().iter().collect();
    rates.sort_by_key(|(name, rate)| (std::cmp::Reverse(rate.up + rate.down), *name));
    let heading = Line::styled(format!("{:<20} {:>12} {:>12}", "SERVER", "UP", "DOWN"), STRONG);
    let lines = rates.into_iter().map(|(name, rate)| {
        Line::raw(format!("{:<20} {:>12} {:>12}", short(name, 20), bits(rate.up), bits(rate.down)))
    });
    std::iter::once(heading).chain(lines).collect()
}

fn denials(model: &Model) -> Vec<Line<'static>> {
    let heading = Line::styled("REFUSED", STRONG);
    std::iter::once(heading).chain(model.told.denials.iter().map(|row| Line::raw(denial(row)))).collect()
}

fn denial(row: &DenialRow) -> String {
    let time = Timestamp::from_millisecond(row.last.unix_ms()).unwrap_or_default();
    let ports = match row.destination.port {
        Some(_) => String::new(),
        None => format!(" ports {}", row.ports),
    };
    plain(&format!(
        "{}  {} ({}): {}{ports}, {} times: {}",
        time.strftime("%H:%M:%S"),
        row.client,
        row.operator,
        records::destination(row.protocol, &row.destination),
        row.count,
        row.reason.as_str(),
    ))
}

fn footer(model: &Model) -> Line<'static> {
    Line::raw(match (&model.mode, &model.message) {
        (Mode::Reason { client, reason, .. }, _) => plain(&format!(
            "suspend {client} because: {reason}_   (Enter does it, Esc does not; the reason is recorded)"
        )),
        (Mode::Filter, _) => {
            plain(&format!("only with: {}_   (Enter keeps it, Esc shows everybody)", model.filter))
        }
        (_, Some(message)) => plain(message),
        (Mode::Client(_), None) => "Esc back   c cuts it off   Ctrl-C ends".to_owned(),
        (Mode::Clients, None) => {
            "q ends   s sorts   / filters   ↑↓ select   Enter looks closer   c cuts off".to_owned()
        }
    })
}

/// Names come from people: nothing in them reaches the terminal as a command.
fn plain(text: &str) -> String {
    human::printable(text)
}

fn short(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn bits(rate: u64) -> String {
    human::bit_rate(rate as f64)
}

fn put<'l>(frame: &mut Frame<'_>, area: Rect, lines: impl IntoIterator<Item = Line<'l>>) {
    for (row, line) in area.rows().zip(lines) {
        frame.buffer_mut().set_line(row.x, row.y, &line, row.width);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::super::model::tests::{model, two};
    use super::*;

    fn text(model: &Model) -> String {
        let mut terminal = Terminal::new(TestBackend::new(110, 20)).unwrap();
        terminal.draw(|frame| page(frame, model)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_page_has_the_clients_and_says_what_keys_do() {
        let text = text(&model());
        for expected in ["gw-1  2 of 12 clients", "anna-laptop", "Bo Dahl", "203.0.113.7:40000", "c cuts off"]
        {
            assert!(text.contains(expected), "{expected} is missing:\n{text}");
        }
    }

    #[test]
    fn a_client_that_went_away_while_it_is_looked_at_is_said_to_be_gone() {
        let mut model = model();
        model.press(KeyCode::Enter);
        assert!(text(&model).contains("Anna Berg as smart-client"), "{}", text(&model));
        let mut status = two();
        status.sessions.clear();
        model.note(status, std::time::Instant::now() + Duration::from_secs(1));
        assert!(text(&model).contains("anna-laptop is not connected"), "{}", text(&model));
    }

    #[test]
    fn nothing_that_people_wrote_reaches_the_terminal_as_a_command() {
        let mut model = model();
        let mut status = two();
        status.sessions[0].operator = "\x1b[2JEve\u{202e}".to_owned();
        model.note(status, std::time::Instant::now());
        let text = text(&model);
        assert!(text.contains("Eve") && !text.contains('\x1b') && !text.contains('\u{202e}'), "{text}");
    }

    #[test]
    fn a_long_list_shows_the_selected_client() {
        let mut model = model();
        let mut status = two();
        for number in 0..60 {
            let mut session = status.sessions[1].clone();
            session.session = format!("session-{number}");
            session.client = format!("client-{number:02}");
            status.sessions.push(session);
        }
        model.note(status, std::time::Instant::now());
        for _ in 0..40 {
            model.press(KeyCode::Down);
        }
        let rows = model.rows();
        let selected = rows[model.selection(&rows)].session.client.clone();
        assert!(text(&model).contains(&selected), "{selected} is not shown:\n{}", text(&model));
    }
}
