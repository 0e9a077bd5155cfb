//! What the demonstration says.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vmsgate_cli::{CliError, Printer, human};
use vmsgate_config::Config;
use vmsgate_shim::Report;
use vmsgate_tunnel::policy::{Protocol, Verdict};

use super::{ROLE, Vms, vms};
use crate::cli::{Cli, Command};
use crate::commands::{self, Context};
use crate::policy_build::build_policy;

pub struct Steps<'p> {
    printer: &'p Printer,
}

impl<'p> Steps<'p> {
    pub fn new(printer: &'p Printer) -> Steps<'p> {
        Steps { printer }
    }

    pub fn vms(&self, _vms: &Vms) -> Result<(), CliError> {
        let (mgmt, rec) = (vms::MANAGEMENT, vms::RECORDER);
        self.ok("a small simulated VMS is up")?;
        self.detail(format!("mgmt   {mgmt}  management page on tcp/{}", vms::WEB_PORT))?;
        self.detail(format!(
            "mgmt   {mgmt}  SQL Server on tcp/{}, open to whoever reaches it",
            vms::SQL_PORT
        ))?;
        self.detail(format!("rec01  {rec}  video on tcp/{}", vms::VIDEO_PORT))
    }

    pub fn gateway(&self, listening: &[SocketAddr]) -> Result<(), CliError> {
        let listening = listening.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.ok(format!("the gateway listens on udp {listening}, as an ordinary process"))
    }

    pub fn connected(&self, after: Duration, report: &Report) -> Result<(), CliError> {
        let client = report.site.as_ref().map_or("", |site| &site.client);
        self.ok(format!("{client} is connected through the shim, {} after the start", ms(after)))?;
        let listeners = report.servers.iter().flat_map(|server| {
            server.listeners.iter().map(|l| format!("{:6} {}  {}", server.name, l.listen, l.service))
        });
        listeners.into_iter().try_for_each(|listener| self.detail(listener))
    }

    pub fn page(&self, title: &str, after: Duration) -> Result<(), CliError> {
        self.ok(format!("the management page \"{title}\" was fetched in {}", ms(after)))
    }

    /// Asks the function that refused it.
    pub fn refused(&self, after: Duration, config: &Config) -> Result<(), CliError> {
        let policy = build_policy(config);
        let role = policy.role(ROLE).ok_or_else(|| CliError::unexpected("the role is gone"))?;
        match policy.decide(role, vms::MANAGEMENT.into(), Protocol::Tcp, vms::SQL_PORT) {
            Verdict::Deny(refusal) => self.ok(format!(
                "SQL Server was refused in {}: {} ({})",
                ms(after),
                refusal.reason,
                refusal.rule
            )),
            Verdict::Allow(_) => Err(CliError::unexpected("the policy allows what was refused")),
        }
    }

    pub fn stream_bar(&self, length: Duration) -> ProgressBar {
        let target = if self.printer.is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(length.as_millis() as u64), target);
        // A template that does not parse would be noticed at once; the bar then looks as it does by default.
        let style = ProgressStyle::with_template("  playing rec01 {bar:40} {percent:>3} %");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    pub fn played(&self, bytes: u64, time: Duration) -> Result<(), CliError> {
        let rate = human::bit_rate(bytes as f64 * 8.0 / time.as_secs_f64());
        self.ok(format!("the stream played for {} s at {rate}, every byte as it was sent", time.as_secs()))
    }

    pub fn revoked(&self, after: Duration) -> Result<(), CliError> {
        self.ok(format!("revoked in mid-stream: the last byte came {} after the command", ms(after)))
    }

    fn ok(&self, text: impl std::fmt::Display) -> Result<(), CliError> {
        Ok(self.printer.line(format!("ok  {text}"))?)
    }

    fn detail(&self, text: impl std::fmt::Display) -> Result<(), CliError> {
        Ok(self.printer.line(format!("      {text}"))?)
    }
}

/// The evidence, by the commands that an auditor would use. Each must have something to show.
pub async fn show_records(context: &Context) -> Result<(), CliError> {
    for name in ["sessions", "flows", "denials"] {
        context.printer.line(format!("\nvmsgate {name}"))?;
        match Cli::parse_from(["vmsgate", name]).command {
            Command::Sessions(args) => commands::sessions::execute(context, &args).await?,
            Command::Flows(args) => commands::flows::execute(context, &args).await?,
            Command::Denials(args) => commands::denials::execute(context, &args).await?,
            _ => continue,
        };
    }
    Ok(())
}

pub fn show_next(printer: &Printer) -> Result<(), CliError> {
    printer.line(
        "\nEvery step held. For a real deployment:
  vmsgate-keys -c gateway.toml init --endpoint vpn.example.org:51820
  (list your servers in gateway.toml)
  vmsgate -c gateway.toml check
  vmsgate-keys -c gateway.toml client add alice --role smart-client --operator \"Alice Example\" --out alice.conf
  vmsgate -c gateway.toml --passphrase-file passphrase run
  vmsgate-shim up alice.conf                      (on the operator's PC)",
    )?;
    Ok(())
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
