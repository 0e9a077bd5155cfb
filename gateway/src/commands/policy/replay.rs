//! `vmsgate policy replay`

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use vmsgate_audit::query::{DenialRow, Filter, FlowRow, each_denial, each_flow};
use vmsgate_audit::{Destination, Label, Ports, Protocol, UtcTime};
use vmsgate_cli::{CliError, Exit, OrFail, Style, Table, time::TimeArg};
use vmsgate_tunnel::policy::Policy;

use super::judge;
use crate::commands::{
    Context, counted,
    on_record::{self, Act, Reading},
    records::{self, AboutArgs},
};
use crate::policy_build::build_policy;

const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The beginning of the period: a distance from now (24h, 30d), a date, or a time
    #[arg(long, value_name = "TIME")]
    since: TimeArg,

    /// The end of the period [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArg>,

    #[command(flatten)]
    about: AboutArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    policy_version: String,
    /// Records that were judged.
    flows: u64,
    denials: u64,
    /// Recorded flows that the file would have refused.
    refused: Vec<Refused>,
    /// Recorded denials that the file would have allowed.
    allowed: Vec<Allowed>,
    /// Records that are missing or were altered.
    unreadable: u64,
}

/// The same destination of the same client under the same role, told once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct What {
    client: Label,
    operator: Label,
    role: Label,
    server: Option<String>,
    address: IpAddr,
    protocol: String,
    /// `7563` or `8000-8010`; empty for ICMP.
    ports: String,
}

#[derive(Debug, Serialize)]
struct Times {
    count: u64,
    first: UtcTime,
    last: UtcTime,
}

#[derive(Debug, Serialize)]
struct Refused {
    #[serde(flatten)]
    what: What,
    #[serde(flatten)]
    times: Times,
    /// Why, as denial records would have named it.
    reason: &'static str,
    rule: String,
    nearest: Option<String>,
}

#[derive(Debug, Serialize)]
struct Allowed {
    #[serde(flatten)]
    what: What,
    #[serde(flatten)]
    times: Times,
    /// Why it was refused then.
    reason: String,
    service: String,
    /// The rule that allows it.
    rule: String,
}

pub async fn execute(context: &Context, args: &ReplayArgs) -> Result<Exit, CliError> {
    let config = context.config()?;
    let policy = build_policy(&config);
    let (since, until) = records::period(Some(args.since), args.until, Timestamp::now())?;
    let AboutArgs { client, operator, server } = args.about.clone();
    let filter = Filter { since, until, client, operator, server, ..Filter::default() };
    let database = records::open(context).await?;

    let mut replay =
        Replay { policy: &policy, flows: 0, denials: 0, refused: BTreeMap::new(), allowed: BTreeMap::new() };
    let failed = "cannot read the audit log";
    let mut unreadable =
        each_flow(&database, &filter, |flow| replay.flow(&flow)).await.or_unexpected(failed)?;
    unreadable +=
        each_denial(&database, &filter, |denial| replay.denial(&denial)).await.or_unexpected(failed)?;
    let Replay { flows, denials, refused, allowed, .. } = replay;
    let reading = Reading { filters: &filter, rows: flows + denials };
    on_record::note(context, &database, Act::Read, "policy replay", &reading).await?;
    database.close().await;

    let report = Report {
        file: context.installation.config_path().display().to_string(),
        policy_version: config.version.clone(),
        flows,
        denials,
        refused: refused.into_values().collect(),
        allowed: allowed.into_values().collect(),
        unreadable,
    };
    if context.printer.is_json() {
        context.printer.json(SCHEMA_VERSION, &report)?;
    } else {
        print(context, &report)?;
    }
    if unreadable > 0 {
        context.printer.warning(format_args!(
            "{unreadable} records are missing or were altered: keep a copy of the database"
        ))?;
    }
    let same = report.refused.is_empty() && report.allowed.is_empty() && unreadable == 0;
    Ok(if same { Exit::Done } else { Exit::No })
}

/// What was found so far: one entry for each destination, however often it was reached or tried.
struct Replay<'a> {
    policy: &'a Policy,
    flows: u64,
    denials: u64,
    refused: BTreeMap<What, Refused>,
    allowed: BTreeMap<(What, String), Allowed>,
}

impl Replay<'_> {
    fn flow(&mut self, flow: &FlowRow) {
        self.flows += 1;
        let Some(refusal) = judge::refusal(self.policy, flow) else { return };
        let ports = flow.destination.port.filter(|_| flow.protocol != Protocol::Icmp);
        let what = What {
            client: flow.client.clone(),
            operator: flow.operator.clone(),
            role: flow.role.clone(),
            server: server(&flow.destination),
            address: flow.destination.address,
            protocol: flow.protocol.to_string(),
            ports: ports.map(|port| port.to_string()).unwrap_or_default(),
        };
        let times = Times { count: 1, first: flow.opened, last: flow.opened };
        match self.refused.get_mut(&what) {
            Some(known) => known.times.add(&times),
            None => {
                let (reason, rule) = (refusal.reason.as_str(), refusal.rule.to_string());
                let nearest = refusal.nearest.map(|rule| rule.to_string());
                self.refused.insert(what.clone(), Refused { what, times, reason, rule, nearest });
            }
        }
    }

    fn denial(&mut self, denial: &DenialRow) {
        self.denials += 1;
        for found in judge::allowed(self.policy, denial) {
            let ports = if denial.protocol == Protocol::Icmp {
                String::new()
            } else {
                Ports::new([found.ports.clone()]).to_string()
            };
            let what = What {
                client: denial.client.clone(),
                operator: denial.operator.clone(),
                role: denial.role.clone(),
                server: Some(found.allowed.server.to_string()),
                address: denial.destination.address,
                protocol: denial.protocol.to_string(),
                ports,
            };
            // Of a scan each port was tried once at least.
            let count = match denial.destination.port {
                Some(_) => denial.count,
                None if denial.protocol == Protocol::Icmp => denial.count,
                None => u64::try_from(found.ports.len()).unwrap_or(u64::MAX),
            };
            let times = Times { count, first: denial.first, last: denial.last };
            let reason = denial.reason.to_string();
            match self.allowed.get_mut(&(what.clone(), reason.clone())) {
                Some(known) => known.times.add(&times),
                None => {
                    let (service, rule) = (found.allowed.service.to_string(), found.allowed.rule.to_string());
                    let key = (what.clone(), reason.clone());
                    self.allowed.insert(key, Allowed { what, times, reason, service, rule });
                }
            }
        }
    }
}

impl Times {
    fn add(&mut self, more: &Times) {
        self.count += more.count;
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
    }
}

fn server(destination: &Destination) -> Option<String> {
    destination.server.as_ref().map(ToString::to_string)
}

fn print(context: &Context, report: &Report) -> Result<(), CliError> {
    let printer = &context.printer;
    if !report.refused.is_empty() {
        printer.line(printer.paint(Style::Error, "recorded flows that the file would have refused"))?;
        let mut table = Table::new([
            "LAST",
            "FLOWS",
            "CLIENT",
            "OPERATOR",
            "ROLE",
            "TO",
            "REASON",
            "RULE",
            "NEAREST RULE",
        ]);
        for Refused { what, times, reason, rule, nearest } in &report.refused {
            let [last, count, client, operator, role, to] = cells(what, times);
            let nearest = nearest.clone().unwrap_or_default();
            table.row([last, count, client, operator, role, to, (*reason).to_owned(), rule.clone(), nearest]);
        }
        printer.table(&table)?;
    }
    if !report.allowed.is_empty() {
        printer.line(printer.paint(Style::Good, "recorded denials that the file would have allowed"))?;
        let mut table =
            Table::new(["LAST", "TIMES", "CLIENT", "OPERATOR", "ROLE", "TO", "WAS", "SERVICE", "RULE"]);
        for Allowed { what, times, reason, service, rule } in &report.allowed {
            let [last, count, client, operator, role, to] = cells(what, times);
            table.row([
                last,
                count,
                client,
                operator,
                role,
                to,
                reason.clone(),
                service.clone(),
                rule.clone(),
            ]);
        }
        printer.table(&table)?;
    }
    let refused: u64 = report.refused.iter().map(|row| row.times.count).sum();
    let allowed: u64 = report.allowed.iter().map(|row| row.times.count).sum();
    Ok(printer.line(format_args!(
        "{}: of {} it would have refused {refused}; of the attempts in {} it would have allowed {allowed}",
        report.file,
        counted(report.flows, "flow"),
        counted(report.denials, "denial record"),
    ))?)
}

fn cells(what: &What, times: &Times) -> [String; 6] {
    let What { client, operator, role, server, address, protocol, ports } = what;
    let place = if ports.is_empty() { protocol.clone() } else { format!("{protocol}/{ports}") };
    let to = match server {
        Some(server) => format!("{place} on {server} ({address})"),
        None => format!("{place} on {address}"),
    };
    let names = [client, operator, role].map(ToString::to_string);
    let [client, operator, role] = names;
    [records::time(times.last), times.count.to_string(), client, operator, role, to]
}
