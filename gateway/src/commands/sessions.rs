//! `vmsgate sessions`

use vmsgate_audit::query::{SessionRow, sessions};
use vmsgate_cli::{CliError, Exit, Table, human};

use super::{
    Context,
    records::{self, RecordArgs, Shape},
};

pub async fn execute(context: &Context, args: &RecordArgs) -> Result<Exit, CliError> {
    records::list(context, args, "sessions", &SHAPE, sessions).await
}

const SHAPE: Shape<SessionRow> = Shape {
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
        "tunnel",
        "opened",
        "ended",
        "reason",
        "last_seen",
        "from_client_bytes",
        "from_client_packets",
        "to_client_bytes",
        "to_client_packets",
        "policy",
        "continues",
    ],
    cells,
};

fn table(rows: &[SessionRow]) -> Table {
    let headings = ["OPENED", "ENDED", "CLIENT", "OPERATOR", "ROLE", "FROM", "RECEIVED", "SENT", "REASON"];
    let mut table = Table::new(headings);
    for row in rows {
        table.row([
            records::time(row.opened),
            records::end(row.ended),
            row.client.to_string(),
            row.operator.to_string(),
            row.role.to_string(),
            row.source.to_string(),
            human::bytes(row.traffic.from_client.bytes),
            human::bytes(row.traffic.to_client.bytes),
            records::text(row.reason.as_ref()),
        ]);
    }
    table
}

fn cells(row: &SessionRow) -> Vec<String> {
    let tunnel: Vec<String> = row.tunnel.iter().map(ToString::to_string).collect();
    let mut cells = vec![
        row.session.to_string(),
        row.gateway.to_string(),
        row.client.to_string(),
        row.operator.to_string(),
        row.role.to_string(),
        row.key.to_string(),
        row.source.to_string(),
        tunnel.join(" "),
        row.opened.to_string(),
        records::text(row.ended),
        records::text(row.reason.as_ref()),
        row.last_seen.to_string(),
    ];
    cells.extend(records::traffic(row.traffic));
    cells.push(records::text(row.policy.as_ref()));
    cells.push(records::text(row.continues));
    cells
}
