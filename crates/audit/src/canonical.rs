//! The one way to write a JSON value, so that equal records are equal bytes.
//!
//! This is the JSON Canonicalization Scheme (RFC 8785) narrowed to what records need:
//!
//! - UTF-8, no white space, object members sorted by the UTF-16 code units of their names, no name twice.
//! - Strings escape `"`, `\` and the characters below U+0020 only, the latter as `\b \t \n \f \r` or `\u00xx`.
//! - Numbers are integers from −2⁶³ to 2⁶⁴−1 in plain decimal. RFC 8785 would round integers above 2⁵³ to a double;
//!   byte counters must stay exact, so they do not. Fractions and exponents do not occur.

use serde_json::{Map, Number, Value};

/// A number that is not an integer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an integer, and records hold integers only")]
pub struct NotAnInteger(pub String);

/// # Errors
/// [`NotAnInteger`] when the value holds a fractional number.
pub fn to_string(value: &Value) -> Result<String, NotAnInteger> {
    let mut out = String::new();
    write_value(value, &mut out)?;
    Ok(out)
}

fn write_value(value: &Value, out: &mut String) -> Result<(), NotAnInteger> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out)?,
        Value::String(text) => write_text(text, out),
        Value::Array(items) => write_list(out, ('[', ']'), items, write_value)?,
        Value::Object(members) => write_object(members, out)?,
    }
    Ok(())
}

fn write_object(members: &Map<String, Value>, out: &mut String) -> Result<(), NotAnInteger> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    write_list(out, ('{', '}'), &sorted, |(name, value), out| {
        write_text(name, out);
        out.push(':');
        write_value(value, out)
    })
}

fn write_list<T>(
    out: &mut String,
    (open, close): (char, char),
    items: &[T],
    write_item: impl Fn(&T, &mut String) -> Result<(), NotAnInteger>,
) -> Result<(), NotAnInteger> {
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_item(item, out)?;
    }
    out.push(close);
    Ok(())
}

fn write_number(number: &Number, out: &mut String) -> Result<(), NotAnInteger> {
    if !(number.is_i64() || number.is_u64()) {
        return Err(NotAnInteger(number.to_string()));
    }
    out.push_str(&number.to_string());
    Ok(())
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{08}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{0C}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> Result<String, NotAnInteger> {
        to_string(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn members_are_sorted_by_utf16_units_as_rfc_8785_asks() {
        // The example of RFC 8785 section 3.2.3.
        let input = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
            "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let output = canonical(input).unwrap();
        let order: Vec<_> = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"]
            .map(|word| output.find(word).unwrap())
            .to_vec();
        assert!(order.is_sorted(), "{output}");
    }

    #[test]
    fn escapes_are_the_shortest_and_lower_case() {
        let text = Value::String("\u{20ac}$\u{0F}\nA'B\"\\\"/\u{08}\u{0C}\t\r\u{7f}".into());
        assert_eq!(to_string(&text).unwrap(), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\"/\\b\\f\\t\\r\u{7f}\"");
    }

    #[test]
    fn integers_are_exact_and_nothing_else_is_a_number() {
        assert_eq!(
            canonical("[ 0, -9223372036854775808, 18446744073709551615 ]").unwrap(),
            "[0,-9223372036854775808,18446744073709551615]"
        );
        for float in ["1.0", "1e3", "-0.5", "18446744073709551616"] {
            assert!(canonical(&format!("{{\"x\":[{float}]}}")).is_err(), "{float}");
        }
    }

    #[test]
    fn white_space_and_order_of_the_source_make_no_difference() {
        assert_eq!(
            canonical(r#" { "b" : [ ] , "a" : { "d" : null , "c" : true } } "#),
            canonical(r#"{"a":{"c":true,"d":null},"b":[]}"#)
        );
    }
}
