//! What `up` shows while it runs: a live line on a terminal, log lines elsewhere.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use vmsgate_cli::args::OutputArgs;
use vmsgate_cli::{Printer, human};
use vmsgate_shim::report::SCHEMA_VERSION;
use vmsgate_shim::tunnel::LinkState;
use vmsgate_shim::{Event, Report};

use crate::commands::refusal::{ask, no_answer_hint, refused};
use crate::commands::{keys, tables};

/// How often the live line is renewed.
pub const REFRESH: Duration = Duration::from_secs(1);

pub struct Display<'p> {
    printer: &'p Printer,
    /// None where stderr is no terminal.
    line: Option<ProgressBar>,
    /// Bytes received and sent, and when.
    last: Option<(u64, u64, Instant)>,
    /// The last reason told, so that a repeated one is not.
    told: Option<String>,
}

impl<'p> Display<'p> {
    pub fn new(printer: &'p Printer, output: &OutputArgs) -> Self {
        let live = io::stderr().is_terminal() && !output.quiet;
        let line = live.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{spinner} {wide_msg}")
                    .unwrap_or(ProgressStyle::default_spinner()),
            );
            bar
        });
        Self { printer, line, last: None, told: None }
    }

    pub fn is_live(&self) -> bool {
        self.line.is_some()
    }

    /// Shows something that has just happened.
    pub fn event(&mut self, event: &Event, report: &Report) -> io::Result<()> {
        match event {
            Event::Connected => {
                self.told = None;
                let endpoint = report.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default();
                self.say(|| tracing::info!("connected"), format!("connected to the gateway at {endpoint}"))
            }
            Event::NoAnswer { trouble } => {
                let reason = trouble.clone().unwrap_or_else(|| no_answer_hint(report));
                self.say_once(format!("no answer from the gateway, trying on: {reason}"))
            }
            Event::Refused(refusal) => {
                let contact = report.contact.as_deref();
                self.say_once(format!("{}; {}", refused(refusal.reason), ask(contact)))
            }
            Event::SiteUnknown { reason } => self.say_once(reason.clone()),
            Event::KeysNotChanged { message, hint } => {
                self.say(|| tracing::warn!(%hint, "{message}"), format!("{message}; hint: {hint}"))
            }
            Event::NotRouted { message, hint } => {
                self.say(|| tracing::error!(%hint, "{message}"), format!("{message}; hint: {hint}"))
            }
            Event::SiteChanged => {
                self.told = None;
                self.suspended(|printer| ready(report, printer))?;
                let names = if tables::resolves_names(report) {
                    "the servers' names are known to programs here"
                } else {
                    "`vmsgate-shim hosts --apply` makes programs find them by name"
                };
                self.say(|| (), format!("{names}; Ctrl-C ends"))?;
                for (address, error) in tables::unrouted(report) {
                    self.say(
                        || tracing::warn!(%address, hint = %error.hint, "not routed: {}", error.message),
                        String::new(),
                    )?;
                }
                if let Some(error) = tables::unresolved(report) {
                    self.say(|| tracing::warn!(hint = %error.hint, "{}", error.message), String::new())?;
                }
                for (listener, error) in tables::errors(report) {
                    self.say(
                        || tracing::warn!(%listener, error = %error.message, hint = %error.hint, "not listening"),
                        String::new(),
                    )?;
                }
                self.say(|| tracing::info!(servers = report.servers.len(), "ready"), String::new())
            }
        }
    }

    /// Renews the live line.
    pub fn refresh(&mut self, report: &Report) {
        let Some(line) = &self.line else { return };
        let now = Instant::now();
        let current = (report.bytes_received, report.bytes_sent, now);
        let rates = self.last.replace(current).map(|(received, sent, then)| {
            let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
            let rate = |after: u64, before: u64| after.saturating_sub(before) as f64 * 8.0 / seconds;
            (rate(report.bytes_received, received), rate(report.bytes_sent, sent))
        });
        line.set_message(human::printable(&describe(report, rates, Timestamp::now())));
        line.tick();
    }

    pub fn finish(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }

    fn say_once(&mut self, text: String) -> io::Result<()> {
        if self.told.as_ref() == Some(&text) {
            return Ok(());
        }
        self.told = Some(text.clone());
        self.say(|| tracing::warn!("{text}"), text.clone())
    }

    /// Logs, or on a terminal prints a line above the live one.
    fn say(&self, log: impl FnOnce(), text: String) -> io::Result<()> {
        if self.line.is_none() {
            log();
            return Ok(());
        }
        if text.is_empty() {
            return Ok(());
        }
        self.suspended(|printer| printer.note(human::printable(&text)))
    }

    /// Prints while the live line is out of the way.
    fn suspended(&self, print: impl FnOnce(&Printer) -> io::Result<()>) -> io::Result<()> {
        match &self.line {
            Some(line) => line.suspend(|| print(self.printer)),
            None => print(self.printer),
        }
    }
}

/// The answer of `up`: who one is, and where the servers are now.
fn ready(report: &Report, printer: &Printer) -> io::Result<()> {
    if printer.is_json() {
        return printer.json(SCHEMA_VERSION, report);
    }
    if let Some(site) = &report.site {
        let (gateway, client, role) = (&site.gateway, &site.client, &site.role);
        printer.line(human::printable(&format!("ready: {gateway} lets {client} reach, as {role}:")))?;
    }
    tables::print(report, printer)
}

fn describe(report: &Report, rates: Option<(f64, f64)>, now: Timestamp) -> String {
    let mut parts = match report.state {
        LinkState::Connecting => vec!["connecting".to_owned()],
        LinkState::NoAnswer => {
            let length = now.duration_since(report.since).unsigned_abs();
            vec![format!("no answer for {}", human::duration(length))]
        }
        LinkState::Refused => {
            let reason = report.refusal.as_ref().map(|refusal| refused(refusal.reason));
            reason.into_iter().chain([ask(report.contact.as_deref())]).collect()
        }
        LinkState::Connected => {
            let name = report.site.as_ref().map(|site| format!(" to {}", site.gateway)).unwrap_or_default();
            vec![format!("connected{name}"), format!("{} servers", report.servers.len())]
        }
    };
    if let Some((received, sent)) = rates.filter(|_| report.is_connected()) {
        parts.push(format!("↓ {} ↑ {}", human::bit_rate(received), human::bit_rate(sent)));
    }
    if let Some(time) = report.round_trip_ms.filter(|_| report.is_connected()) {
        parts.push(if time == 0 { "under 1 ms".to_owned() } else { format!("{time} ms") });
    }
    parts.extend(report.trouble.clone());
    if report.is_connected() && report.keys.post_quantum {
        parts.push("post-quantum".to_owned());
    }
    parts.extend(keys::warnings(report, now));
    parts.join(" · ")
}
