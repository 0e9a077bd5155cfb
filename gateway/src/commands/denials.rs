//! `vmsgate denials`

use vmsgate_audit::{
    Ports,
    query::{DenialRow, denials},
};
use vmsgate_cli::{CliError, Exit, Table};

use super::{
    Context,
    records::{self, RecordArgs},
};

pub async fn execute(context: &Context, args: &RecordArgs) -> Result<Exit, CliError> {
    records::list(context, args, async |database, filter| denials(database, filter).await, table).await
}

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
            row.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
            row.nearest.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    table
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
