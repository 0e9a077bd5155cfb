//! One look, for scripts and pipes.

use serde::Serialize;
use vmsgate_cli::{CliError, Exit, Table, human};

use super::model::Model;
use crate::commands::Context;

const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Serialize)]
struct Report<'a> {
    gateway: &'a str,
    /// Refused flows and rejected handshakes within the second that was looked at.
    refused: u64,
    clients: Vec<Client<'a>>,
    servers: Vec<Server<'a>>,
}

#[derive(Debug, Serialize)]
struct Client<'a> {
    client: &'a str,
    operator: &'a str,
    role: &'a str,
    session: &'a str,
    source: Option<std::net::SocketAddr>,
    flows: u64,
    from_client_bits_per_second: u64,
    to_client_bits_per_second: u64,
}

#[derive(Debug, Serialize)]
struct Server<'a> {
    server: &'a str,
    from_clients_bits_per_second: u64,
    to_clients_bits_per_second: u64,
}

pub fn print(context: &Context, model: &Model) -> Result<Exit, CliError> {
    let printer = &context.printer;
    let rows = model.rows();
    let clients = rows.iter().map(|row| Client {
        client: &row.session.client,
        operator: &row.session.operator,
        role: &row.session.role,
        session: &row.session.session,
        source: row.session.endpoint,
        flows: row.session.flows,
        from_client_bits_per_second: row.rate.up,
        to_client_bits_per_second: row.rate.down,
    });
    let servers = model.servers().iter().map(|(server, rate)| Server {
        server,
        from_clients_bits_per_second: rate.up,
        to_clients_bits_per_second: rate.down,
    });
    let report = Report {
        gateway: model.status().map(|status| status.gateway.as_str()).unwrap_or_default(),
        refused: model.refused(),
        clients: clients.collect(),
        servers: servers.collect(),
    };
    if printer.is_json() {
        printer.json(SCHEMA_VERSION, &report)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["CLIENT", "OPERATOR", "ROLE", "UP", "DOWN", "FLOWS", "FROM"]);
    for client in &report.clients {
        table.row([
            client.client.to_owned(),
            client.operator.to_owned(),
            client.role.to_owned(),
            human::bit_rate(client.from_client_bits_per_second as f64),
            human::bit_rate(client.to_client_bits_per_second as f64),
            client.flows.to_string(),
            client.source.map(|source| source.to_string()).unwrap_or_default(),
        ]);
    }
    if table.is_empty() {
        printer.note("nobody is connected")?
    } else {
        printer.table(&table)?
    }
    Ok(Exit::Done)
}
