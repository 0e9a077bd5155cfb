//! `vmsgate policy learn`

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use vmsgate_audit::query::{Filter, FlowRow, each_flow};
use vmsgate_audit::{Label, Tls, UtcTime};
use vmsgate_cli::{CliError, Exit, OrFail, WithHint, time::TimeArg};
use vmsgate_config::{Config, Environment};
use vmsgate_tunnel::policy::Verdict;

use super::cover::{Used, smallest_rules};
use super::judge;
use crate::commands::{
    Context, counted,
    on_record::{self, Act, Reading},
    records,
};
use crate::policy_build::build_policy;

const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Args)]
pub struct LearnArgs {
    /// The client (device) whose use is covered
    #[arg(long, value_name = "NAME", value_parser = records::label)]
    client: Label,

    /// The beginning of the period: a distance from now (7d, 30d), a date, or a time
    #[arg(long, value_name = "TIME")]
    since: TimeArg,

    /// The end of the period [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArg>,

    /// What to call the role [default: learned-CLIENT]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    client: Label,
    role: String,
    since: Option<UtcTime>,
    flows: u64,
    allow: Vec<String>,
    icmp: bool,
    /// Whether every TCP connection that sent anything was TLS.
    all_tls: bool,
    /// What was used and the role does not cover: no service of the file has it.
    not_covered: Vec<String>,
    toml: String,
}

/// What was seen of a client.
#[derive(Debug, Default)]
struct Seen {
    flows: u64,
    destinations: BTreeMap<Used, u64>,
    tls: u64,
    plain: u64,
}

pub async fn execute(context: &Context, args: &LearnArgs) -> Result<Exit, CliError> {
    let config = context.config()?;
    let (since, until) = records::period(Some(args.since), args.until, Timestamp::now())?;
    let filter = Filter { since, until, client: Some(args.client.clone()), ..Filter::default() };
    let database = records::open(context).await?;
    let mut seen = Seen::default();
    let unreadable = each_flow(&database, &filter, |flow| seen.add(&flow)).await;
    let unreadable = unreadable.or_unexpected("cannot read the audit log")?;
    let reading = Reading { filters: &filter, rows: seen.flows };
    on_record::note(context, &database, Act::Read, "policy learn", &reading).await?;
    database.close().await;
    if seen.flows == 0 {
        return Err(CliError::user(format!("no flow of {} is on record since then", args.client))
            .hint("`vmsgate flows` lists what is; a client's name is that of `vmsgate-keys client list`"));
    }

    let role = args.role.clone().unwrap_or_else(|| format!("learned-{}", args.client));
    let text = std::fs::read_to_string(context.installation.config_path());
    let text = text.or_user("the configuration cannot be read")?;
    let report = learn(&config, &text, role, &args.client, since, &seen)?;
    if context.printer.is_json() {
        context.printer.json(SCHEMA_VERSION, &report)?;
    } else {
        context.printer.raw(&report.toml)?;
    }
    if unreadable > 0 {
        context.printer.warning(format_args!(
            "{unreadable} records are missing or were altered: keep a copy of the database"
        ))?;
    }
    Ok(if report.not_covered.is_empty() && unreadable == 0 { Exit::Done } else { Exit::No })
}

fn learn(
    config: &Config,
    text: &str,
    role: String,
    client: &Label,
    since: Option<UtcTime>,
    seen: &Seen,
) -> Result<Report, CliError> {
    let used: Vec<Used> = seen.destinations.keys().copied().collect();
    let allow = smallest_rules(config, &used);
    let icmp = used.iter().any(|used| used.protocol == vmsgate_tunnel::policy::Protocol::Icmp);
    // Where no service has anything of it, there is no role to write: one that allows nothing is refused.
    let written = if allow.is_empty() { String::new() } else { section(&role, client, &allow, icmp) };
    let whole = format!("{text}\n{written}");
    let with = Config::from_str_with(&whole, "the file with the learned role", &Environment::of_process());
    let with = with.map_err(CliError::user).hint("choose another name with --role")?;
    let policy = build_policy(&with);
    let covered = |used: &Used| {
        let verdict = judge::decide(&policy, &role, used.address, used.protocol, used.port);
        !allow.is_empty() && matches!(verdict, Verdict::Allow(_))
    };
    let not_covered: Vec<String> = seen
        .destinations
        .iter()
        .filter(|(used, _)| !covered(used))
        .map(|(used, flows)| format!("{used}: {}", counted(*flows, "flow")))
        .collect();
    let all_tls = seen.tls > 0 && seen.plain == 0;
    let since_text = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let mut toml = format!("# From {} of {client}{since_text}.\n", counted(seen.flows, "flow"));
    for line in &not_covered {
        toml += &format!("# NOT COVERED, no service of that server has it: {line}\n");
    }
    if all_tls {
        toml += "# Every connection was TLS: `require-tls = true` would have refused none.\n";
    }
    toml += &written;
    let flows = seen.flows;
    Ok(Report { client: client.clone(), role, since, flows, allow, icmp, all_tls, not_covered, toml })
}

fn section(role: &str, client: &Label, allow: &[String], icmp: bool) -> String {
    // JSON's strings are TOML's basic strings.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let rules: String = allow.iter().map(|rule| format!("    {},\n", quoted(rule))).collect();
    let (name, description) = (quoted(role), quoted(&format!("Learned from what {client} used")));
    format!("[role.{name}]\ndescription = {description}\nallow = [\n{rules}]\nicmp = {icmp}\n")
}

impl Seen {
    fn add(&mut self, flow: &FlowRow) {
        self.flows += 1;
        let Some(protocol) = judge::protocol(flow.protocol) else { return };
        let (address, port) = (flow.destination.address, flow.destination.port.unwrap_or(0));
        *self.destinations.entry(Used { address, protocol, port }).or_default() += 1;
        match flow.tls {
            Some(Tls::Tls) => self.tls += 1,
            Some(Tls::Plain) => self.plain += 1,
            Some(Tls::None) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use vmsgate_tunnel::policy::Protocol;

    use super::*;

    const FILE: &str = r#"
[gateway]
name = "gw-1"
listen = "0.0.0.0:51820"
endpoint = "vpn.example.org:51820"
tunnel = ["10.99.0.0/16"]
data = "/d"

[[server]]
name = "rec01"
address = "192.168.10.21"
services = ["recording-server", "relay"]

[service.relay]
tcp = ["8000-8010"]
"#;

    fn seen(destinations: &[(&str, Protocol, u16)]) -> Seen {
        let used = |(address, protocol, port): &(&str, Protocol, u16)| {
            (Used { address: address.parse().unwrap(), protocol: *protocol, port: *port }, 1)
        };
        Seen { flows: 1, destinations: destinations.iter().map(used).collect(), ..Seen::default() }
    }

    fn report(role: &str, seen: &Seen) -> Result<Report, CliError> {
        let config = Config::from_str(FILE, "gateway.toml").unwrap();
        learn(&config, FILE, role.to_owned(), &Label::new("anna"), None, seen)
    }

    #[test]
    fn the_role_covers_what_was_used_by_the_policys_own_verdict_and_opens_nothing_else() {
        let used = seen(&[("192.168.10.21", Protocol::Tcp, 7563), ("192.168.10.21", Protocol::Icmp, 0)]);
        let report = report("learned-anna", &used).unwrap();
        assert_eq!((&report.allow[..], report.icmp), (&["rec01:recording-server".to_owned()][..], true));
        assert_eq!(report.not_covered, Vec::<String>::new());
        let config = Config::from_str(&format!("{FILE}{}", report.toml), "gateway.toml").unwrap();
        let policy = build_policy(&config);
        let reach = policy.reach(policy.role("learned-anna").unwrap(), "192.168.10.21".parse().unwrap());
        let ports: Vec<_> = reach.iter().map(|reach| (reach.protocol, reach.ports.clone())).collect();
        assert_eq!(ports, [(Protocol::Tcp, 7563..=7563), (Protocol::Icmp, 0..=0)]);
    }

    #[test]
    fn what_no_service_has_is_said_and_a_name_that_is_taken_is_refused() {
        let used = seen(&[("192.168.10.21", Protocol::Tcp, 9999), ("192.168.10.99", Protocol::Udp, 1)]);
        let report = report("learned-anna", &used).unwrap();
        assert_eq!(
            report.not_covered,
            ["tcp/9999 on 192.168.10.21: 1 flow", "udp/1 on 192.168.10.99: 1 flow"]
        );
        assert!(report.toml.contains("# NOT COVERED") && !report.toml.contains("[role"), "{}", report.toml);
        let used = seen(&[("192.168.10.21", Protocol::Tcp, 8000)]);
        let taken = format!("{FILE}[role.guard]\nallow = [\"rec01:relay\"]\n");
        let config = Config::from_str(&taken, "gateway.toml").unwrap();
        let label = Label::new("anna");
        let error = learn(&config, &taken, "guard".to_owned(), &label, None, &used).unwrap_err();
        assert_eq!(error.hint_text(), Some("choose another name with --role"));
    }
}
