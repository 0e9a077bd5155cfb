//! A record as one row of a table, for spreadsheets.

use serde_json::Value;

/// A column and where in a record its value is; the first place that has one counts.
type Column = (&'static str, &'static [&'static str]);

/// Columns may be added at the end; none is ever renamed.
const COLUMNS: [Column; 39] = [
    ("chain", &["/chain"]),
    ("seq", &["/seq"]),
    ("time", &["/time"]),
    ("kind", &["/kind"]),
    ("session", &["/session/id"]),
    ("client", &["/session/client", "/client"]),
    ("operator", &["/session/operator"]),
    ("role", &["/session/role"]),
    ("key", &["/session/key"]),
    ("source", &["/session/source"]),
    ("previous_source", &["/previous_source"]),
    ("tunnel", &["/session/tunnel"]),
    ("flow", &["/flow/id"]),
    ("protocol", &["/flow/protocol", "/protocol"]),
    ("source_address", &["/flow/source/address", "/source"]),
    ("source_port", &["/flow/source/port"]),
    ("server", &["/flow/destination/server", "/destination/server"]),
    ("service", &["/flow/destination/service", "/destination/service"]),
    ("address", &["/flow/destination/address", "/destination/address"]),
    ("port", &["/flow/destination/port", "/destination/port"]),
    ("ports", &["/ports"]),
    ("lan_address", &["/flow/lan_source/address"]),
    ("lan_port", &["/flow/lan_source/port"]),
    ("opened", &["/opened", "/first"]),
    ("duration_ms", &["/duration_ms"]),
    ("from_client_bytes", &["/traffic/from_client/bytes"]),
    ("from_client_packets", &["/traffic/from_client/packets"]),
    ("to_client_bytes", &["/traffic/to_client/bytes"]),
    ("to_client_packets", &["/traffic/to_client/packets"]),
    ("tls", &["/tls"]),
    ("count", &["/count"]),
    ("reason", &["/reason"]),
    ("rule", &["/rule"]),
    ("nearest", &["/nearest"]),
    ("actor", &["/actor"]),
    ("object", &["/object"]),
    ("before", &["/before"]),
    ("after", &["/after"]),
    ("continues", &["/continues"]),
];

/// The names of the columns.
pub fn headings() -> Vec<&'static str> {
    COLUMNS.iter().map(|(name, _)| *name).collect()
}

/// The cells of one record. What no column has is in the record's text alone.
pub fn cells(record: &Value) -> Vec<String> {
    let find = |places: &&[&str]| places.iter().find_map(|place| record.pointer(place));
    COLUMNS.iter().map(|(_, places)| find(places).map(cell).unwrap_or_default()).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(cell).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}
