//! `vmsgate denials`

use vmsgate_audit::{
    Ports,
    query::{DenialRow, denials},
};
use vmsgate_cli::{CliError, Exit, Table};

use super::{
    Context,
    records::{self, RecordArgs, Shape},
};

pub async fn execute(context: &Context, args: &RecordArgs) -> Result<Exit, CliError> {
    records::list(context, args, "denials", &SHAPE, denials).await
}

const SHAPE: Shape<DenialRow> = Shape {
    none: "none",
    table,
    headings: &[
        "session",
        "gateway",
        "client",
        "operator",
        "role",
        "key",
        "source",
        "protocol",
        "tunnel_source",
        "server",
        "service",
        "address",
        "port",
        "ports",
        "count",
        "first",
        "last",
        "reason",
        "rule",
        "nearest",
        "policy",
    ],
    cells,
};

fn table(rows: &[DenialRow]) -> Table {
    let mut table =
        Table::new(["LAST", "TIMES", "CLIENT", "OPERATOR", "FROM", "TO", "REASON", "RULE", "NEAREST RULE"]);
    for row in rows {
        table.row([
            records::time(row.last),
            row.count.to_string(),
            row.client.to_string(),
            row.operator.to_string(),
            row.source.to_string(),
            destination(row),
            row.reason.to_string(),
            records::text(row.rule.as_ref()),
            records::text(row.nearest.as_ref()),
        ]);
    }
    table
}

fn cells(row: &DenialRow) -> Vec<String> {
    vec![
        row.session.to_string(),
        row.gateway.to_string(),
        row.client.to_string(),
        row.operator.to_string(),
        row.role.to_string(),
        row.key.to_string(),
        row.source.to_string(),
        row.protocol.to_string(),
        row.tunnel_source.to_string(),
        records::text(row.destination.server.as_ref()),
        records::text(row.destination.service.as_ref()),
        row.destination.address.to_string(),
        records::text(row.destination.port),
        row.ports.to_string(),
        row.count.to_string(),
        row.first.to_string(),
        row.last.to_string(),
        row.reason.to_string(),
        records::text(row.rule.as_ref()),
        records::text(row.nearest.as_ref()),
        records::text(row.policy.as_ref()),
    ]
}

/// A table shows this many ranges of a scan; `--json` has all.
const RANGES_SHOWN: usize = 4;

fn destination(row: &DenialRow) -> String {
    let place = records::destination(row.protocol, &row.destination);
    let ranges = row.ports.ranges();
    if row.destination.port.is_some() || ranges.is_empty() {
        return place;
    }
    let shown = Ports::new(ranges.iter().take(RANGES_SHOWN).cloned());
    let more = if ranges.len() > RANGES_SHOWN { ",…" } else { "" };
    format!("{place} ports {shown}{more}")
}
