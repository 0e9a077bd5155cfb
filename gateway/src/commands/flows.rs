//! `vmsgate flows`

use vmsgate_audit::{
    Tls,
    query::{FlowRow, flows},
};
use vmsgate_cli::{CliError, Exit, Table, human};

use super::{
    Context,
    records::{self, RecordArgs, Shape},
};

pub async fn execute(context: &Context, args: &RecordArgs) -> Result<Exit, CliError> {
    records::list(context, args, "flows", &SHAPE, flows).await
}

const SHAPE: Shape<FlowRow> = Shape {
    none: "none",
    table,
    headings: &[
        "session",
        "flow",
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
        "lan_source",
        "opened",
        "ended",
        "reason",
        "tls",
        "last_seen",
        "from_client_bytes",
        "from_client_packets",
        "to_client_bytes",
        "to_client_packets",
        "policy",
    ],
    cells,
};

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
            records::text(row.destination.service.as_ref()),
            records::text(row.tls.map(Tls::as_str)),
            human::bytes(row.traffic.from_client.bytes),
            human::bytes(row.traffic.to_client.bytes),
            records::text(row.reason.as_ref()),
        ]);
    }
    table
}

fn cells(row: &FlowRow) -> Vec<String> {
    let mut cells = vec![
        row.session.to_string(),
        row.flow.to_string(),
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
        records::text(row.lan_source),
        row.opened.to_string(),
        records::text(row.ended),
        records::text(row.reason.as_ref()),
        records::text(row.tls.map(Tls::as_str)),
        row.last_seen.to_string(),
    ];
    cells.extend(records::traffic(row.traffic));
    cells.push(records::text(row.policy.as_ref()));
    cells
}
