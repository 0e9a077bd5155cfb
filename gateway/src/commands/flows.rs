//! `vmsgate flows`

use vmsgate_audit::Tls;
use vmsgate_audit::query::{FlowRow, flows};
use vmsgate_cli::{CliError, Exit, Table, human};

use super::{
    Context,
    records::{self, RecordArgs},
};

pub async fn execute(context: &Context, args: &RecordArgs) -> Result<Exit, CliError> {
    records::list(context, args, async |database, filter| flows(database, filter).await, table).await
}

fn table(rows: &[FlowRow]) -> Table {
    let headings = [
        "OPENED", "ENDED", "CLIENT", "OPERATOR", "FROM", "TO", "SERVICE", "TLS", "RECEIVED", "SENT", "REASON",
    ];
    let mut table = Table::new(headings);
    for row in rows {
        table.row([
            records::time(row.opened),
            records::end(row.ended),
            row.client.to_string(),
            row.operator.to_string(),
            row.source.to_string(),
            records::destination(row.protocol, &row.destination),
            row.destination.service.as_ref().map(ToString::to_string).unwrap_or_default(),
            row.tls.map(Tls::as_str).unwrap_or_default().to_owned(),
            human::bytes(row.traffic.from_client.bytes),
            human::bytes(row.traffic.to_client.bytes),
            row.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    table
}
