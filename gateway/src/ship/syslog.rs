//! Records as syslog messages (RFC 5424), and their framing on a stream (RFC 6587, RFC 5425).
//!
//! ```text
//! <110>1 2026-03-01T09:30:00.125Z gw-1 vmsgate - session.opened [vmsgate@32473 chain="gateway/gw-1" seq="42"
//! session="0189…"] {"chain":"gateway/gw-1",…}
//! ```
//!
//! The facility is 13, log audit. 32473 is the enterprise number that IANA keeps for documentation (RFC 5612), since
//! this project has none. The message is the record's canonical text, JSON in UTF-8, without the byte order mark that
//! RFC 5424 asks for: RFC 8259 forbids it before JSON, and receivers that parse JSON trip over it.

use std::fmt::Write;

use super::record::Outgoing;

const FACILITY_LOG_AUDIT: u8 = 13;
/// RFC 5424, section 6: the longest HOSTNAME and MSGID.
const HOSTNAME_MAX: usize = 255;
const MSGID_MAX: usize = 32;
/// What every receiver of datagrams should take (RFC 5426, section 3.2).
const DATAGRAM_MAX: usize = 2048;

/// The message of one record. `gateway` becomes the HOSTNAME.
pub fn message(record: &Outgoing, gateway: &str) -> String {
    let priority = FACILITY_LOG_AUDIT * 8 + record.severity() as u8;
    let time = record.time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let host = printable(gateway, HOSTNAME_MAX);
    let id = printable(&record.kind, MSGID_MAX);
    let mut message = format!("<{priority}>1 {time} {host} vmsgate - {id} [vmsgate@32473");
    parameter(&mut message, "chain", record.chain.as_str());
    parameter(&mut message, "seq", &record.seq.to_string());
    if let Some(session) = &record.session {
        parameter(&mut message, "session", session);
    }
    message.push_str("] ");
    message.push_str(&record.text);
    message
}

/// The message with its length in front, so that nothing in it can be taken for its end.
pub fn frame(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// As much of the message as fits into a datagram that is not to be fragmented further than receivers expect.
pub fn datagram(message: &str) -> &[u8] {
    let end = message.floor_char_boundary(DATAGRAM_MAX);
    message.get(..end).unwrap_or(message).as_bytes()
}

fn parameter(message: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = write!(message, " {name}=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            message.push('\\');
        }
        message.push(c);
    }
    message.push('"');
}

/// Text for a field of the header: printable ASCII without blanks, never empty.
fn printable(text: &str, max: usize) -> String {
    let field: String = text.chars().take(max).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

#[cfg(test)]
mod tests {
    use super::super::record::example;
    use super::*;

    #[test]
    fn a_record_becomes_one_line_of_known_form() {
        let text = r#"{"kind":"flow.denied","session":{"id":"0189"},"time":"2026-03-01T09:30:00.125Z"}"#;
        assert_eq!(
            message(&example(42, text), "gw-1"),
            format!(
                "<108>1 2026-03-01T09:30:00.125Z gw-1 vmsgate - flow.denied \
                 [vmsgate@32473 chain=\"gateway/gw-1\" seq=\"42\" session=\"0189\"] {text}"
            )
        );
        assert_eq!(frame("äb"), "3 äb", "the length counts bytes");
    }

    #[test]
    fn hostile_text_stays_inside_its_field() {
        let kind = "k\n".repeat(40);
        let text = serde_json::json!({"kind": kind, "session": {"id": "a\"] b\\\n<1>1 "}}).to_string();
        let message = message(&example(1, &text), "g w\n\u{e4}");
        let (header, rest) = message.split_once(" [").unwrap();
        assert_eq!(header, format!("<110>1 - g_w__ vmsgate - {}", "k_".repeat(16)));
        assert!(rest.contains(r#"session="a\"\] b\\"#), "{rest}");
        assert!(message.ends_with(&format!("] {text}")));
    }

    #[test]
    fn a_long_datagram_is_cut_between_characters() {
        let cut = datagram(&"ä".repeat(DATAGRAM_MAX)).to_vec();
        assert_eq!(cut.len(), DATAGRAM_MAX);
        let cut = datagram(&format!("x{}", "ä".repeat(DATAGRAM_MAX))).to_vec();
        assert_eq!(String::from_utf8(cut).unwrap().len(), DATAGRAM_MAX - 1);
        assert_eq!(datagram("short"), b"short");
    }
}
