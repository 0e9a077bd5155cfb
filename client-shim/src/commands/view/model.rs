//! What the view knows besides the report.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::style::{Color, Modifier, Style};
use vmsgate_shim::{Event, Report};

use super::messages::Messages;
use super::rates::Rates;
use super::told;

#[derive(Debug)]
pub struct Model {
    pub rates: Rates,
    pub messages: Messages,
    /// Lines of the list of servers that are above its window.
    pub scrolled: usize,
    pub styles: Styles,
    /// For the times of messages: those of the clock on the wall.
    pub zone: TimeZone,
}

/// What a piece of text means. Without colour the signs and words beside it say the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Styles {
    pub good: Style,
    pub warning: Style,
    pub bad: Style,
    pub faint: Style,
    pub strong: Style,
}

impl Model {
    pub fn new(messages: Messages, colour: bool) -> Self {
        let styles = if colour { Styles::coloured() } else { Styles::default() };
        Self { rates: Rates::default(), messages, scrolled: 0, styles, zone: TimeZone::system() }
    }

    pub fn event(&mut self, event: &Event, report: &Report) {
        for (kind, text) in told(event, report) {
            self.messages.say(Timestamp::now(), kind, &text);
        }
    }

    /// Moves the list of servers; drawing sees to it that it stops at its ends.
    pub fn scroll(&mut self, lines: isize) {
        self.scrolled = self.scrolled.saturating_add_signed(lines);
    }
}

impl Styles {
    fn coloured() -> Self {
        let colour = |colour| Style::new().fg(colour);
        Self {
            good: colour(Color::Green),
            warning: colour(Color::Yellow),
            bad: colour(Color::Red).add_modifier(Modifier::BOLD),
            faint: Style::new().add_modifier(Modifier::DIM),
            strong: Style::new().add_modifier(Modifier::BOLD),
        }
    }
}
