//! What `up` shows while it runs: a view of the whole on a terminal, lines elsewhere.
//!
//! - `terminal`: the alternate screen, and the way back from it;
//! - `model`: what is known, `rates` and `messages` among it;
//! - `draw`: the page, made of `header`, `graph`, `servers` and `footer`;
//! - `lines`: what services and scripts read.

mod draw;
mod footer;
mod graph;
mod header;
mod lines;
mod messages;
mod model;
mod rates;
mod servers;
mod terminal;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use vmsgate_cli::args::OutputArgs;
use vmsgate_cli::logging::{self, Verbosity};
use vmsgate_cli::{Printer, human};
use vmsgate_shim::{Event, Report};

use crate::commands::refusal::{ask, no_answer_hint, refused};
use crate::commands::tables;
use lines::Lines;
use messages::Messages;
use model::Model;
use terminal::{Input, Terminal};

/// How often the view is renewed.
pub const REFRESH: Duration = Duration::from_secs(1);

/// Where what happens is shown.
pub enum Screen<'p> {
    View { printer: &'p Printer, model: Box<Model>, terminal: Option<Terminal> },
    Lines(Lines<'p>),
}

impl<'p> Screen<'p> {
    /// Decides, and starts logging accordingly. Nothing is drawn yet.
    pub fn choose(printer: &'p Printer, output: &OutputArgs) -> Self {
        // Whoever asks for a form of the log wants to see the log.
        let lines = output.json || output.quiet || output.verbose > 0 || output.log_format.is_some();
        let terminals = io::stdout().is_terminal() && io::stderr().is_terminal();
        if lines || !terminals || !terminal::is_ours() {
            logging::init(output, Verbosity::Milestones);
            return Self::Lines(Lines::new(printer, output.quiet));
        }
        let messages = Messages::default();
        let log = messages.clone();
        logging::init_into(output, Verbosity::Warnings, move || log.writer());
        let model = Model::new(messages, printer.shows_colour());
        Self::View { printer, model: Box::new(model), terminal: None }
    }

    /// Takes the terminal over, where there is one. What comes before, a bad profile for one, is told in lines.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn open(&mut self) -> io::Result<()> {
        match self {
            Self::View { terminal, .. } => *terminal = Some(Terminal::open()?),
            Self::Lines(_) => {}
        }
        Ok(())
    }

    pub fn is_live(&self) -> bool {
        matches!(self, Self::View { .. })
    }

    /// Shows something that has just happened.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn event(&mut self, event: &Event, report: &Report) -> io::Result<()> {
        match self {
            Self::View { model, .. } => model.event(event, report),
            Self::Lines(lines) => return lines.event(event, report),
        }
        self.draw(report)
    }

    /// Renews the view, once in a [`REFRESH`].
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn refresh(&mut self, report: &Report) -> io::Result<()> {
        if let Self::View { model, .. } = self {
            model.rates.note(report.bytes_received, report.bytes_sent, Instant::now());
        }
        self.draw(report)
    }

    /// What the person at the terminal does next.
    pub async fn input(&mut self) -> Input {
        match self {
            Self::View { terminal: Some(terminal), .. } => terminal.input().await,
            Self::View { .. } | Self::Lines(_) => std::future::pending().await,
        }
    }

    /// Follows the person's wish. Answers whether it is to end.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn follow(&mut self, input: Input, report: &Report) -> io::Result<bool> {
        match (&mut *self, input) {
            (_, Input::End) => return Ok(true),
            (Self::View { model, .. }, Input::Scroll(lines)) => model.scroll(lines),
            (Self::View { terminal: Some(terminal), .. }, Input::Redraw) => terminal.clear()?,
            _ => {}
        }
        self.draw(report)?;
        Ok(false)
    }

    /// Gives the terminal back. A line remains that says what it was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(self, report: &Report) -> io::Result<()> {
        let Self::View { printer, terminal: Some(terminal), .. } = self else { return Ok(()) };
        drop(terminal);
        printer.line(summary(report, Timestamp::now()))
    }

    fn draw(&mut self, report: &Report) -> io::Result<()> {
        match self {
            Self::View { model, terminal: Some(terminal), .. } => {
                let now = Timestamp::now();
                terminal.draw(|frame| draw::page(frame, model, report, now))
            }
            Self::View { .. } | Self::Lines(_) => Ok(()),
        }
    }
}

fn summary(report: &Report, now: Timestamp) -> String {
    let length = human::duration(now.duration_since(report.started).unsigned_abs());
    let (received, sent) = (human::bytes(report.bytes_received), human::bytes(report.bytes_sent));
    human::printable(&format!("{} was up for {length}: {received} received, {sent} sent", report.profile))
}

/// What happened, for people.
fn told(event: &Event, report: &Report) -> Vec<(messages::Kind, String)> {
    use messages::Kind::{Good, Problem};
    match event {
        Event::Connected => {
            let at = report.endpoint.map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
            vec![(Good, format!("connected to the gateway{at}"))]
        }
        Event::NoAnswer { trouble } => {
            let reason = trouble.clone().unwrap_or_else(|| no_answer_hint(report));
            vec![(Problem, format!("no answer from the gateway, trying on: {reason}"))]
        }
        Event::Refused(refusal) => {
            let text = format!("{}; {}", refused(refusal.reason), ask(report.contact.as_deref()));
            vec![(Problem, text)]
        }
        Event::SiteUnknown { reason } => vec![(Problem, reason.clone())],
        Event::KeysNotChanged { message, hint } | Event::NotRouted { message, hint } => {
            vec![(Problem, format!("{message}; {hint}"))]
        }
        Event::SiteChanged => {
            let count = report.servers.len();
            let ready = (Good, format!("{count} servers can be reached; {}", tables::next_step(report)));
            let closed = tables::errors(report);
            let closed = closed
                .map(|(listener, error)| (Problem, format!("{listener}: {}; {}", error.message, error.hint)));
            std::iter::once(ready).chain(closed).collect()
        }
    }
}

#[cfg(test)]
mod tests;
