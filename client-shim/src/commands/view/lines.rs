//! What services and scripts read: the servers on standard output, the milestones in the log.

use std::io;

use vmsgate_cli::Printer;
use vmsgate_shim::report::SCHEMA_VERSION;
use vmsgate_shim::{Event, Report};

use crate::commands::refusal::{ask, no_answer_hint, refused};
use crate::commands::{status, tables};

#[derive(Debug)]
pub struct Lines<'p> {
    printer: &'p Printer,
    quiet: bool,
    /// The last reason told, so that a repeated one is not.
    told: Option<String>,
}

impl<'p> Lines<'p> {
    pub(super) fn new(printer: &'p Printer, quiet: bool) -> Self {
        Self { printer, quiet, told: None }
    }

    pub(super) fn event(&mut self, event: &Event, report: &Report) -> io::Result<()> {
        match event {
            Event::Connected => {
                self.told = None;
                tracing::info!("connected");
            }
            Event::NoAnswer { trouble } => {
                let reason = trouble.clone().unwrap_or_else(|| no_answer_hint(report));
                self.once(format!("no answer from the gateway, trying on: {reason}"), |text| {
                    tracing::warn!("{text}");
                });
            }
            Event::Refused(refusal) => {
                let text = format!("{}; {}", refused(refusal.reason), ask(report.contact.as_deref()));
                self.once(text, |text| tracing::error!("{text}"));
            }
            Event::SiteUnknown { reason } => self.once(reason.clone(), |text| tracing::warn!("{text}")),
            Event::KeysNotChanged { message, hint } => tracing::warn!(%hint, "{message}"),
            Event::NotRouted { message, hint } => tracing::error!(%hint, "{message}"),
            Event::SiteChanged => {
                self.told = None;
                self.ready(report)?;
                for (address, error) in tables::unrouted(report) {
                    tracing::error!(%address, hint = %error.hint, "not routed: {}", error.message);
                }
                if let Some(error) = tables::unresolved(report) {
                    tracing::warn!(hint = %error.hint, "{}", error.message);
                }
                for (listener, error) in tables::errors(report) {
                    tracing::error!(%listener, error = %error.message, hint = %error.hint, "not listening");
                }
                tracing::info!(servers = report.servers.len(), "ready");
            }
        }
        Ok(())
    }

    /// The answer of `up`: who one is, and where the servers are now.
    fn ready(&self, report: &Report) -> io::Result<()> {
        let printer = self.printer;
        if printer.is_json() {
            return printer.json(SCHEMA_VERSION, report);
        }
        if self.quiet {
            return Ok(());
        }
        if let Some(site) = &report.site {
            let (gateway, client, role) = (&site.gateway, &site.client, &site.role);
            let line = format!("ready: {gateway} lets {client} reach, as {role}:");
            printer.line(vmsgate_cli::human::printable(&line))?;
        }
        if let Some(proxy) = &report.proxy {
            printer.line(format_args!("proxy: {}", status::describe(proxy)))?;
        }
        tables::print(report, printer)
    }

    fn once(&mut self, text: String, log: impl FnOnce(&str)) {
        if self.told.as_ref() != Some(&text) {
            log(&text);
            self.told = Some(text);
        }
    }
}
