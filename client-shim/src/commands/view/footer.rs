//! What happened lately, and the keys.

use ratatui::text::{Line, Span};

use super::messages::Kind;
use super::model::{Model, Styles};

/// The newest messages that fit below their heading.
pub fn messages(model: &Model, rows: usize) -> Vec<Line<'static>> {
    let styles = model.styles;
    let heading = Line::styled("MESSAGES", styles.strong);
    let newest = model.messages.newest(rows.saturating_sub(1));
    let lines = newest.into_iter().map(|message| {
        let time = message.time.to_zoned(model.zone.clone()).strftime("%H:%M:%S ").to_string();
        let (sign, style) = match message.kind {
            Kind::Good => ("", styles.good),
            Kind::Note => ("", Default::default()),
            Kind::Problem => ("! ", styles.warning),
        };
        Line::from(vec![
            Span::styled(time, styles.faint),
            Span::styled(format!("{sign}{}", message.text), style),
        ])
    });
    std::iter::once(heading).chain(lines).collect()
}

pub fn keys(styles: Styles) -> Line<'static> {
    Line::styled("q or Ctrl-C ends it   ↑ ↓ move the list", styles.faint)
}
