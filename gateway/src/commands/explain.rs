//! `vmsgate explain`

use clap::Args;
use serde::Serialize;
use vmsgate_cli::{CliError, Exit, Style};
use vmsgate_config::{Config, nearest};
use vmsgate_tunnel::policy::{Policy, Verdict};

use self::{caller::Caller, origin::Origin, target::Target};
use super::Context;
use crate::policy_build::build_policy;

mod caller;
mod origin;
mod target;

const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    who: Who,

    /// What to reach: SERVER:SERVICE, SERVER:PORT[/udp] or ADDR:PORT[/udp]; `icmp` as the port asks for echo
    #[arg(long, value_name = "TARGET")]
    to: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Who {
    /// The client whose role is asked about
    #[arg(long, value_name = "NAME")]
    client: Option<String>,

    /// The role to ask about
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    role: String,
    client: Option<String>,
    to: String,
    policy_version: String,
    /// Whether all of it is allowed.
    allowed: bool,
    /// Whether what is allowed is so only while the session is under a pre-shared key agreed with ML-KEM-768.
    require_post_quantum: bool,
    /// Why the client can open no tunnel at all, whatever its role.
    client_refused: Option<String>,
    answers: Vec<Answer>,
}

/// One verdict, with all adjacent ports that share it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    target: Target,
    allowed: bool,
    server: Option<String>,
    service: Option<String>,
    /// The rule that decided.
    rule: String,
    /// Where it is written; none where no rule decided.
    written: Option<Origin>,
    /// The words of the configuration that let only TLS pass.
    require_tls: Option<String>,
    /// Why it is refused, as denial records name it.
    reason: Option<&'static str>,
    /// The rule closest to allowing it.
    nearest: Option<String>,
}

pub async fn execute(context: &Context, args: &ExplainArgs) -> Result<Exit, CliError> {
    let config = context.config()?;
    let caller = match &args.who {
        Who { client: Some(client), .. } => caller::look_up(context, client).await?,
        Who { client: None, role } => Caller { role: role.clone().unwrap_or_default(), refused: None },
    };
    let policy = build_policy(&config);
    let file = context.installation.config_path().display().to_string();
    let answers = explain(&config, &file, &policy, &caller.role, &args.to)?;
    let allowed = caller.refused.is_none() && answers.iter().all(|answer| answer.allowed);
    let require_post_quantum = config.roles.get(&caller.role).is_some_and(|role| role.require_post_quantum);
    let report = Report {
        require_post_quantum,
        role: caller.role,
        client: args.who.client.clone(),
        to: args.to.clone(),
        policy_version: config.version.clone(),
        allowed,
        client_refused: caller.refused,
        answers,
    };
    if context.printer.is_json() {
        context.printer.json(SCHEMA_VERSION, &report)?;
    } else {
        print(context, &report)?;
    }
    Ok(if allowed { Exit::Done } else { Exit::No })
}

fn explain(
    config: &Config,
    file: &str,
    policy: &Policy,
    role: &str,
    to: &str,
) -> Result<Vec<Answer>, CliError> {
    let Some(role_id) = policy.role(role) else {
        let names: Vec<&str> = config.role_names().collect();
        let hint = match nearest(role, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the roles are {}", names.join(", ")),
        };
        return Err(CliError::user(format!("there is no role `{role}`")).hint(hint));
    };
    let mut answers: Vec<Answer> = Vec::new();
    for target in Target::parse(config, to)? {
        for port in target.ports.first..=target.ports.last {
            let verdict = policy.decide(role_id, target.address, target.protocol, port);
            let written = Origin::of(&verdict, config, role, file);
            let answer = Answer::new(target.with_port(port), verdict, written);
            match answers.last_mut().filter(|last| last.same_except_ports(&answer)) {
                Some(last) => last.target.ports.last = port,
                None => answers.push(answer),
            }
        }
    }
    Ok(answers)
}

impl Answer {
    fn new(target: Target, verdict: Verdict, written: Option<Origin>) -> Self {
        match verdict {
            Verdict::Allow(allowed) => Self {
                target,
                allowed: true,
                server: Some(allowed.server.to_string()),
                service: Some(allowed.service.to_string()),
                rule: allowed.rule.to_string(),
                written,
                require_tls: allowed.require_tls.map(|rule| rule.to_string()),
                reason: None,
                nearest: None,
            },
            Verdict::Deny(refusal) => Self {
                target,
                allowed: false,
                server: refusal.server.map(|server| server.to_string()),
                service: None,
                rule: refusal.rule.to_string(),
                written,
                require_tls: None,
                reason: Some(refusal.reason.as_str()),
                nearest: refusal.nearest.map(|rule| rule.to_string()),
            },
        }
    }

    /// Whether `next` says the same about the port that follows.
    fn same_except_ports(&self, next: &Self) -> bool {
        let follows = self.target.ports.last.checked_add(1) == Some(next.target.ports.first);
        let target = Target { ports: self.target.ports, ..next.target.clone() };
        follows
            && self.target == target
            && (self.allowed, self.reason) == (next.allowed, next.reason)
            && (&self.service, &self.rule, &self.nearest) == (&next.service, &next.rule, &next.nearest)
            && (&self.require_tls, &self.written) == (&next.require_tls, &next.written)
    }
}

fn print(context: &Context, report: &Report) -> Result<(), CliError> {
    let printer = &context.printer;
    if let (Some(client), Some(refused)) = (&report.client, &report.client_refused) {
        printer
            .line(format_args!("{}  client {client} {refused}", printer.paint(Style::Error, "refused")))?;
    }
    for answer in &report.answers {
        let place = match &answer.server {
            Some(server) => format!("{} on {server} ({})", answer.target.ports_text(), answer.target.address),
            None => format!("{} on {}", answer.target.ports_text(), answer.target.address),
        };
        let written = answer.written.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default();
        if answer.allowed {
            let service = answer.service.as_deref().unwrap_or_default();
            printer.line(format_args!("{}  {place}: {service}", printer.paint(Style::Good, "allowed")))?;
            printer.line(format_args!("  by rule     {}{written}", answer.rule))?;
            if let Some(rule) = &answer.require_tls {
                printer.line(format_args!("  TLS only    {rule}"))?;
            }
            if report.require_post_quantum {
                let rule = format_args!("role {}: require-post-quantum", report.role);
                printer.line(format_args!("  in a post-quantum session only    {rule}"))?;
            }
        } else {
            let reason = answer.reason.unwrap_or_default();
            printer.line(format_args!("{}  {place}: {reason}", printer.paint(Style::Error, "refused")))?;
            printer.line(format_args!("  because     {}{written}", answer.rule))?;
        }
        if let Some(rule) = &answer.nearest {
            printer.line(format_args!("  nearest is  {rule}"))?;
        }
    }
    Ok(())
}
