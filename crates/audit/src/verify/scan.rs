//! Checks in one pass that a text is a JSON object in canonical form, and picks out what the verifier compares.
//!
//! It decides exactly what writing a parsed value anew with [`crate::canonical`] and comparing would decide, but builds
//! no value: this is the inner loop of the verification of millions of records. The tests hold the two against each
//! other.

use super::members::{Members, Place, Raw, unescaped};

/// Deeper than any record, so that nobody's text exhausts the stack.
const MAX_DEPTH: usize = 64;

/// The text is not a JSON object in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotCanonical {
    /// The first byte that does not fit.
    pub(super) at: usize,
}

/// # Errors
/// [`NotCanonical`] for every other text.
pub(super) fn scan(text: &str) -> Result<Members<'_>, NotCanonical> {
    let mut scanner = Scanner { text, at: 0, members: Members::default() };
    let done = scanner.peek() == Some(b'{') && scanner.object(Place::Record, 0).is_some();
    if done && scanner.at == text.len() { Ok(scanner.members) } else { Err(NotCanonical { at: scanner.at }) }
}

/// None is the answer of every function to text that does not fit; `at` then says where.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    members: Members<'a>,
}

impl<'a> Scanner<'a> {
    fn object(&mut self, place: Place, depth: usize) -> Option<()> {
        self.expect(b'{')?;
        if self.skip(b'}') {
            return Some(());
        }
        let mut previous: Option<Raw<'a>> = None;
        loop {
            let name = self.string()?;
            if previous.is_some_and(|previous| !in_order(previous, name)) {
                return None;
            }
            previous = Some(name);
            self.expect(b':')?;
            self.value(place, name.text.as_bytes(), depth)?;
            if !self.skip(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn value(&mut self, place: Place, name: &[u8], depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => {
                let value = self.string()?;
                self.note(place, name, value);
            }
            b'-' | b'0'..=b'9' => {
                let value = self.number()?;
                self.note(place, name, value);
            }
            b'{' if depth < MAX_DEPTH => self.object(place.inside(name), depth + 1)?,
            b'[' if depth < MAX_DEPTH => self.list(depth + 1)?,
            b'n' => self.word("null")?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            _ => return None,
        }
        Some(())
    }

    fn note(&mut self, place: Place, name: &[u8], value: Raw<'a>) {
        if let Some(member) = place.member(name) {
            self.members.put(member, value);
        }
    }

    fn list(&mut self, depth: usize) -> Option<()> {
        self.expect(b'[')?;
        if self.skip(b']') {
            return Some(());
        }
        loop {
            self.value(Place::Elsewhere, b"", depth)?;
            if !self.skip(b',') {
                return self.expect(b']');
            }
        }
    }

    fn string(&mut self) -> Option<Raw<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.escape()?;
                }
                _ => return None,
            }
        }
        let text = self.text.get(start..self.at)?;
        self.at += 1;
        Some(Raw { text, is_text: true, has_escapes })
    }

    /// Only what must be escaped is, and in one way.
    fn escape(&mut self) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at + 1..)?;
        self.at += match rest {
            [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => 2,
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
            [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return None,
        };
        Some(())
    }

    fn number(&mut self) -> Option<Raw<'a>> {
        let start = self.at;
        let negative = self.skip(b'-');
        let digits =
            self.text.as_bytes().get(self.at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let zero_first = self.peek() == Some(b'0');
        if digits == 0 || zero_first && (digits > 1 || negative) {
            return None;
        }
        let text = self.text.get(start..self.at + digits)?;
        // Up to 18 digits fit in any case.
        if digits > 18
            && !(negative && text.parse::<i64>().is_ok() || !negative && text.parse::<u64>().is_ok())
        {
            return None;
        }
        self.at += digits;
        Some(Raw { text, is_text: false, has_escapes: false })
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip(byte).then_some(())
    }
}

/// Whether `name` comes after `previous` by UTF-16 code units; equal names are not in order.
fn in_order(previous: Raw<'_>, name: Raw<'_>) -> bool {
    let plain = |name: &Raw<'_>| !name.has_escapes && name.text.is_ascii();
    if plain(&previous) && plain(&name) {
        return previous.text < name.text;
    }
    let [previous, name] =
        [previous, name].map(|name| unescaped(name.text).encode_utf16().collect::<Vec<_>>());
    previous < name
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::{super::members::Member, *};
    use crate::canonical;

    /// What the scanner must decide, the long way.
    fn is_canonical(text: &str) -> bool {
        serde_json::from_str::<Value>(text).is_ok_and(|value| {
            value.is_object() && canonical::to_string(&value).is_ok_and(|again| again == text)
        })
    }

    fn random_text(random: &mut fastrand::Rng) -> String {
        const CHARACTERS: [char; 20] = [
            'a',
            'b',
            'z',
            'A',
            '0',
            '"',
            '\\',
            '/',
            '\n',
            '\t',
            '\u{8}',
            '\u{c}',
            '\r',
            '\u{0}',
            '\u{1f}',
            '\u{7f}',
            'ö',
            '\u{20ac}',
            '\u{fb33}',
            '\u{1f600}',
        ];
        (0..random.usize(0..5)).map(|_| CHARACTERS[random.usize(0..CHARACTERS.len())]).collect()
    }

    fn random_value(random: &mut fastrand::Rng, depth: usize) -> Value {
        match random.u8(0..if depth < 4 { 8 } else { 6 }) {
            0 => Value::Null,
            1 => random.bool().into(),
            2 => random.u64(..).into(),
            3 => random.i64(..).into(),
            4 => random.u64(0..3).into(),
            5 => random_text(random).into(),
            6 => (0..random.usize(0..4)).map(|_| random_value(random, depth + 1)).collect(),
            _ => Value::Object(random_object(random, depth + 1)),
        }
    }

    fn random_object(random: &mut fastrand::Rng, depth: usize) -> Map<String, Value> {
        let names = ["session", "flow", "traffic", "id", "client"];
        (0..random.usize(0..6))
            .map(|_| {
                let name = if random.bool() {
                    names[random.usize(0..names.len())].to_owned()
                } else {
                    random_text(random)
                };
                (name, random_value(random, depth))
            })
            .collect()
    }

    #[test]
    fn it_decides_as_parsing_and_writing_anew_decides() {
        const BYTES: &[u8] = b"{}[]\",:\\ 0123456789-+.eEtfnulr/b\x00\x1f\xc3\xb6";
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let value = Value::Object(random_object(&mut random, 0));
            let text = canonical::to_string(&value).unwrap();
            assert!(scan(&text).is_ok(), "seed {seed}: {text}");
            let mut bytes = text.into_bytes();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..bytes.len());
                let byte = BYTES[random.usize(0..BYTES.len())];
                match random.u8(0..3) {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => {}
                }
            }
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert_eq!(scan(&text).is_ok(), is_canonical(&text), "seed {seed}: {text}");
            *if is_canonical(&text) { &mut good } else { &mut bad } += 1;
        }
        assert!(good > 100 && bad > 100, "seed {seed}: {good} good, {bad} bad");
    }

    #[test]
    fn the_edges_of_the_integers_and_of_the_depth_are_where_the_format_puts_them() {
        for number in ["0", "-1", "-9223372036854775808", "18446744073709551615", "1000000000000000000"] {
            assert!(scan(&format!("{{\"x\":{number}}}")).is_ok(), "{number}");
        }
        for number in
            ["-0", "00", "01", "-9223372036854775809", "18446744073709551616", "1.0", "1e3", "-", "+1"]
        {
            assert!(scan(&format!("{{\"x\":{number}}}")).is_err(), "{number}");
        }
        let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(scan(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(scan(&nested(100_000)).unwrap_err(), NotCanonical { at: 5 + MAX_DEPTH });
    }

    #[test]
    fn members_are_found_where_they_belong_and_nowhere_else() {
        let text = concat!(
            r#"{"client":"x","flow":{"destination":{"address":"::1","server":"a\tb"},"id":7},"#,
            r#""other":{"session":{"id":"no"}},"seq":3,"session":{"client":"c","id":"s"},"#,
            r#""time":"1970-01-01T00:00:00.001Z"}"#
        );
        let members = scan(text).unwrap();
        assert_eq!(members.text(Member::Client).unwrap(), "x");
        assert_eq!(members.text(Member::FlowServer).unwrap(), "a\tb");
        assert_eq!(members.text(Member::SessionId).unwrap(), "s");
        assert_eq!(members.number(Member::FlowId), Some(7));
        assert_eq!(members.number(Member::SessionId), None);
        assert_eq!(members.text(Member::Seq), None);
        assert_eq!(members.time_ms(Member::Time), Some(1));
        assert_eq!(members.text(Member::Server), None);
    }
}
