//! Compares the tables that commands list from with what the records say.

use sqlx::{AnyConnection, Row as _};

use super::{
    lookup::{Columns, IndexRow, Role, Tally, closed_row, lan_source},
    members::Member,
    report::IndexState,
    rows::{self, BadRow, Reader},
    scan::scan,
};
use crate::index::OPEN;

/// One of the two tables.
struct Table {
    name: &'static str,
    rows: &'static str,
    /// A closing record that the table does not know.
    unknown: &'static str,
    has_flow: bool,
}

const SESSIONS: Table = Table {
    name: "audit_session",
    rows: "SELECT COUNT(*), MAX(k), CAST(group_concat(x, '') AS BLOB) FROM (
        SELECT rowid AS k, CASE WHEN last_seq >= '' OR opened_ms >= '' OR ended_ms >= '' OR last_seen_ms >= ''
                OR from_client_bytes >= '' OR from_client_packets >= '' OR to_client_bytes >= ''
                OR to_client_packets >= '' OR session >= x'' OR chain >= x'' OR client >= x'' OR operator >= x''
            THEN '!' ELSE last_seq || ' ' || opened_ms || ' ' || ended_ms || ' ' || last_seen_ms
                || ' ' || from_client_bytes || ' ' || from_client_packets || ' ' || to_client_bytes
                || ' ' || to_client_packets || ' ' || octet_length(session) || ' ' || octet_length(chain)
                || ' ' || octet_length(client) || ' ' || octet_length(operator) || ' - - '
                || session || chain || client || operator END AS x
        FROM audit_session WHERE rowid > $1 ORDER BY rowid LIMIT 512)",
    unknown: "SELECT r.chain, r.seq FROM audit_record r LEFT JOIN audit_session i
            ON i.session = r.session AND i.chain = r.chain AND i.last_seq = r.seq
        WHERE r.kind = 'session.closed' AND i.session IS NULL LIMIT 1",
    has_flow: false,
};

const FLOWS: Table = Table {
    name: "audit_flow",
    rows: "SELECT COUNT(*), MAX(k), CAST(group_concat(x, '') AS BLOB) FROM (
        SELECT rowid AS k, CASE WHEN flow >= '' OR last_seq >= '' OR opened_ms >= '' OR ended_ms >= ''
                OR last_seen_ms >= '' OR from_client_bytes >= '' OR from_client_packets >= '' OR to_client_bytes >= ''
                OR to_client_packets >= '' OR session >= x'' OR chain >= x'' OR client >= x'' OR operator >= x''
                OR server >= x'' OR lan_address >= x'' OR lan_port >= ''
            THEN '!' ELSE flow || ' ' || last_seq || ' ' || opened_ms || ' ' || ended_ms || ' ' || last_seen_ms
                || ' ' || from_client_bytes || ' ' || from_client_packets || ' ' || to_client_bytes
                || ' ' || to_client_packets || ' ' || octet_length(session) || ' ' || octet_length(chain)
                || ' ' || octet_length(client) || ' ' || octet_length(operator) || ' ' || octet_length(server)
                || ' ' || octet_length(ifnull(lan_address, '') || ' ' || ifnull(lan_port, '')) || ' '
                || session || chain || client || operator || server
                || ifnull(lan_address, '') || ' ' || ifnull(lan_port, '') END AS x
        FROM audit_flow WHERE rowid > $1 ORDER BY rowid LIMIT 512)",
    unknown: "SELECT r.chain, r.seq FROM audit_record r LEFT JOIN audit_flow i
            ON i.session = r.session AND i.chain = r.chain AND i.last_seq = r.seq
        WHERE r.kind = 'flow.closed' AND i.session IS NULL LIMIT 1",
    has_flow: true,
};

/// `expected` are the sums over sessions and flows that the records lead to.
pub(super) async fn compare(
    connection: &mut AnyConnection,
    (sessions, flows): (Tally, Tally),
    secret: [u8; 16],
) -> Result<IndexState, sqlx::Error> {
    for (table, expected) in [(&SESSIONS, sessions), (&FLOWS, flows)] {
        let disagreement = match sum(connection, table, secret).await? {
            Ok(found) if found == expected => None,
            Ok(found) => Some(explain(connection, table, &expected, &found).await?),
            Err(rowid) => Some(format!("a value of another type than was written, after row {rowid}")),
        };
        if let Some(what) = disagreement {
            return Ok(IndexState::Disagrees { table: table.name, what });
        }
    }
    Ok(IndexState::Agrees)
}

/// The sum over the rows of a table, or the last key before one that cannot be read.
async fn sum(
    connection: &mut AnyConnection,
    table: &Table,
    secret: [u8; 16],
) -> Result<Result<Tally, i64>, sqlx::Error> {
    let mut tally = Tally::new(secret);
    let (mut last, mut buffer) = (i64::MIN, Vec::new());
    while let Some(batch) = rows::after(connection, table.rows, last).await? {
        let mut reader = batch.reader();
        while !reader.is_done() {
            match read(table, &mut reader) {
                Ok(row) => tally.add(&row, &mut buffer),
                Err(_) => return Ok(Err(last)),
            }
        }
        last = batch.last;
    }
    Ok(Ok(tally))
}

fn read<'a>(table: &Table, reader: &mut Reader<'a>) -> Result<IndexRow<'a>, BadRow> {
    let flow = if table.has_flow { Some(reader.number()?) } else { None };
    let (last_seq, opened_ms) = (reader.number()?, reader.number()?);
    let (ended_ms, last_seen_ms) = (reader.number()?, reader.number()?);
    let counters = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
    let [session, chain, client, operator, server, lan_source] = reader.texts()?;
    Ok(IndexRow {
        session: session.unwrap_or_default().into(),
        flow,
        chain: chain.unwrap_or_default(),
        last_seq,
        client: client.unwrap_or_default().into(),
        operator: operator.unwrap_or_default().into(),
        server: server.unwrap_or_default().into(),
        lan_source: lan_source.unwrap_or_default().into(),
        opened_ms,
        ended_ms,
        last_seen_ms,
        counters,
    })
}

/// Finds a row to name, now that it is known that there is one.
async fn explain(
    connection: &mut AnyConnection,
    table: &Table,
    expected: &Tally,
    found: &Tally,
) -> Result<String, sqlx::Error> {
    let mut last = i64::MIN;
    while let Some(batch) = rows::after(connection, table.rows, last).await? {
        let mut reader = batch.reader();
        while let Ok(row) = read(table, &mut reader) {
            let record = sqlx::query("SELECT body FROM audit_record WHERE chain = $1 AND seq = $2")
                .bind(row.chain.to_owned())
                .bind(row.last_seq)
                .fetch_optional(&mut *connection)
                .await?;
            let body = record.map(|record| record.try_get::<String, _>(0)).transpose()?;
            if let Some(column) = disagreement(&row, body.as_deref()) {
                let flow = row.flow.map(|flow| format!("flow {flow} of ")).unwrap_or_default();
                return Ok(format!(
                    "{flow}session {}: `{column}` is not what record {} of `{}` says",
                    row.session, row.last_seq, row.chain
                ));
            }
        }
        last = batch.last;
    }
    if let Some(record) = sqlx::query(table.unknown).fetch_optional(&mut *connection).await? {
        let (chain, seq): (String, i64) = (record.try_get(0)?, record.try_get(1)?);
        return Ok(format!("nothing is listed for record {seq} of `{chain}`, the end of what it tells of"));
    }
    Ok(format!("it lists {}, where the records tell of {}", found.rows, expected.rows))
}

/// The first column that does not say what the record says.
fn disagreement(row: &IndexRow<'_>, body: Option<&str>) -> Option<&'static str> {
    let due = || {
        let members = scan(body?).ok()?;
        let kind = members.text(Member::Kind)?;
        let role = Role::of(&kind);
        let columns = Columns::of(role, &members).ok()?;
        let is_flow = matches!(role, Role::FlowOpened | Role::FlowClosed);
        let flow = members.number(Member::FlowId).map(crate::store::to_i64).filter(|_| is_flow);
        let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        let mut due = IndexRow {
            session: text(&columns.session).into(),
            flow,
            client: text(&columns.client).into(),
            operator: text(&columns.operator).into(),
            server: text(&columns.server).into(),
            lan_source: lan_source(flow, &members).into(),
            ..row.clone()
        };
        match role {
            Role::SessionClosed | Role::FlowClosed => {
                let closed = closed_row((row.chain, row.last_seq, flow), &members, &columns).ok()?;
                (due.opened_ms, due.ended_ms) = (closed.opened_ms, closed.ended_ms);
                (due.last_seen_ms, due.counters) = (closed.last_seen_ms, closed.counters);
            }
            Role::SessionOpened | Role::FlowOpened => {
                (due.opened_ms, due.ended_ms) = (members.time_ms(Member::Time)?, OPEN);
            }
            Role::SessionRoamed => due.ended_ms = OPEN,
            _ => return None,
        }
        Some(due)
    };
    let Some(due) = due() else { return Some("last_seq") };
    let columns = [
        ("session", row.session != due.session),
        ("flow", row.flow != due.flow),
        ("client", row.client != due.client),
        ("operator", row.operator != due.operator),
        ("server", row.server != due.server),
        ("lan_address", row.lan_source != due.lan_source),
        ("opened_ms", row.opened_ms != due.opened_ms),
        ("ended_ms", row.ended_ms != due.ended_ms),
        ("last_seen_ms", row.last_seen_ms != due.last_seen_ms),
        ("counters", row.counters != due.counters),
    ];
    columns.iter().find(|(_, differs)| *differs).map(|(name, _)| *name)
}
