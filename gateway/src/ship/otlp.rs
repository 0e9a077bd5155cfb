//! Records as OpenTelemetry logs: the JSON form of `ExportLogsServiceRequest` (OTLP 1.x), and its answer.

use serde_json::{Value, json};
use vmsgate_audit::UtcTime;

use super::record::{Outgoing, Severity};

/// The body of a request. `observed` is the time of sending.
pub fn request(records: &[Outgoing], gateway: &str, observed: UtcTime) -> String {
    let resource = [
        attribute("service.name", "vmsgate"),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
        attribute("service.instance.id", gateway),
    ];
    let records: Vec<Value> = records.iter().map(|one| record(one, observed)).collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": resource},
        "scopeLogs": [{"scope": {"name": "vmsgate.audit"}, "logRecords": records}],
    }]})
    .to_string()
}

/// Records that the receiver took part in but did not keep, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub records: u64,
    pub reason: String,
}

/// What the answer to a successful request says of records that were not kept. An answer that is none says nothing.
pub fn rejected(answer: &[u8]) -> Option<Rejected> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    // A 64-bit number is text in this encoding; some receivers write a number all the same.
    let count = match partial.get("rejectedLogRecords")? {
        Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    let reason = partial.get("errorMessage").and_then(Value::as_str).unwrap_or("no reason given");
    (count > 0).then(|| Rejected { records: count, reason: reason.to_owned() })
}

fn record(record: &Outgoing, observed: UtcTime) -> Value {
    let (number, text) = severity(record.severity());
    let mut attributes = vec![
        attribute("vmsgate.chain", record.chain.as_str()),
        json!({"key": "vmsgate.seq", "value": {"intValue": record.seq.to_string()}}),
        attribute("vmsgate.kind", &record.kind),
    ];
    let optional = [
        ("vmsgate.session", &record.session),
        ("vmsgate.client", &record.client),
        ("vmsgate.operator", &record.operator),
    ];
    attributes.extend(optional.iter().filter_map(|(key, value)| Some(attribute(key, value.as_deref()?))));
    json!({
        "timeUnixNano": nanoseconds(record.time.unwrap_or(observed)),
        "observedTimeUnixNano": nanoseconds(observed),
        "severityNumber": number,
        "severityText": text,
        "body": {"stringValue": record.text},
        "attributes": attributes,
    })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// The mapping of syslog severities in the OpenTelemetry logs data model, appendix B.
fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Error => (17, "ERROR"),
        Severity::Warning => (13, "WARN"),
        Severity::Notice => (10, "INFO2"),
        Severity::Info => (9, "INFO"),
    }
}

fn nanoseconds(time: UtcTime) -> String {
    format!("{}000000", time.unix_ms())
}

#[cfg(test)]
mod tests {
    use super::super::record::example;
    use super::*;

    #[test]
    fn a_record_becomes_a_log_record_with_attributes() {
        let text = r#"{"kind":"flow.denied","session":{"client":"anna","id":"0189","operator":"Anna \"A\" Berg"},"time":"2026-03-01T09:30:00.125Z"}"#;
        let body = request(&[example(42, text)], "gw-1", UtcTime::from_unix_ms(1_772_357_401_000));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            body.pointer("/resourceLogs/0/resource/attributes/2").unwrap(),
            &json!({"key": "service.instance.id", "value": {"stringValue": "gw-1"}})
        );
        assert_eq!(
            body.pointer("/resourceLogs/0/scopeLogs/0/logRecords/0").unwrap(),
            &json!({
                "timeUnixNano": "1772357400125000000",
                "observedTimeUnixNano": "1772357401000000000",
                "severityNumber": 13,
                "severityText": "WARN",
                "body": {"stringValue": text},
                "attributes": [
                    {"key": "vmsgate.chain", "value": {"stringValue": "gateway/gw-1"}},
                    {"key": "vmsgate.seq", "value": {"intValue": "42"}},
                    {"key": "vmsgate.kind", "value": {"stringValue": "flow.denied"}},
                    {"key": "vmsgate.session", "value": {"stringValue": "0189"}},
                    {"key": "vmsgate.client", "value": {"stringValue": "anna"}},
                    {"key": "vmsgate.operator", "value": {"stringValue": "Anna \"A\" Berg"}},
                ],
            })
        );
    }

    #[test]
    fn rejected_records_are_read_in_both_spellings() {
        for count in ["\"3\"", "3"] {
            let answer =
                format!(r#"{{"partialSuccess":{{"rejectedLogRecords":{count},"errorMessage":"too old"}}}}"#);
            let expected = Rejected { records: 3, reason: "too old".to_owned() };
            assert_eq!(rejected(answer.as_bytes()), Some(expected));
        }
        let nothing = r#"{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"a hint"}}"#;
        for answer in ["", "{}", "<html>", r#"{"partialSuccess":5}"#, r#"{"partialSuccess":{}}"#, nothing] {
            assert_eq!(rejected(answer.as_bytes()), None, "{answer}");
        }
    }
}
