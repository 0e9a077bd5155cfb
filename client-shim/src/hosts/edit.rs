//! A block put into the bytes of a hosts file, and taken out again. Pure.
//!
//! The bytes are not taken for text: what others wrote may be in any encoding. A file without a line end at its end
//! gets none there: the block takes its place, and leaves it when it goes.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use super::block::{Block, begin_mark, begun_by, end_mark, is_mark};

/// Line numbers that a message shows of each kind.
const SHOWN: usize = 8;

/// The marks of a profile's block are not what this program wrote. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Broken {
    pub profile: String,
    pub begins: Vec<usize>,
    pub ends: Vec<usize>,
    /// Marks of other blocks inside it.
    pub strange: Vec<usize>,
}

/// The file with this block in it, in place of the one that the profile had.
pub(super) fn put(text: &[u8], block: &Block) -> Result<Vec<u8>, Broken> {
    let line_end = line_end(text);
    let lines: Vec<String> = block.to_lines().collect();
    let mut written = lines.join(line_end).into_bytes();
    let place = find(text, &block.profile)?;
    let (before, replaced, after) = parts(text, place.unwrap_or(text.len()..text.len()));
    let mut before = before.to_vec();
    let open = |text: &[u8]| !text.is_empty() && !text.ends_with(b"\n");
    if open(&before) {
        before.extend_from_slice(line_end.as_bytes());
    } else if !open(replaced) {
        written.extend_from_slice(line_end.as_bytes());
    }
    Ok([before, written, after.to_vec()].concat())
}

/// The file without the block of a profile.
pub(super) fn take_out(text: &[u8], profile: &str) -> Result<Vec<u8>, Broken> {
    let Some(place) = find(text, profile)? else { return Ok(text.to_vec()) };
    let (mut before, block, after) = parts(text, place);
    if !block.ends_with(b"\n") {
        before = before.strip_suffix(b"\n").unwrap_or(before);
        before = before.strip_suffix(b"\r").unwrap_or(before);
    }
    Ok([before, after].concat())
}

/// The profiles that have a block, in the order of the file, each once.
pub(super) fn profiles(text: &[u8]) -> Vec<String> {
    let mut profiles: Vec<String> = Vec::new();
    for (_, _, line) in lines(text) {
        let profile = std::str::from_utf8(line).ok().and_then(begun_by).map(str::to_owned);
        profiles.extend(profile.filter(|profile| !profiles.contains(profile)));
    }
    profiles
}

/// Where the block of a profile stands, with the line end behind it.
fn find(text: &[u8], profile: &str) -> Result<Option<Range<usize>>, Broken> {
    let (begin, end) = (begin_mark(profile), end_mark(profile));
    let mut place = 0..0;
    let (mut begins, mut ends, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (number, range, line) in lines(text) {
        if line == begin.as_bytes() {
            begins.push(number);
            place.start = range.start;
        } else if line == end.as_bytes() {
            ends.push(number);
            place.end = range.end;
        } else if is_mark(line) {
            others.push(number);
        }
    }
    let (first, last) = match (&begins[..], &ends[..]) {
        ([], []) => return Ok(None),
        ([first], [last]) => (*first, *last),
        _ => (0, 0),
    };
    let strange: Vec<usize> = others.into_iter().filter(|number| (first..last).contains(number)).collect();
    if first < last && strange.is_empty() {
        return Ok(Some(place));
    }
    Err(Broken { profile: profile.to_owned(), begins, ends, strange })
}

/// Every line: its number, where it stands, and what is on it without blanks at its end.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Range<usize>, &[u8])> {
    let mut start = 0;
    text.split_inclusive(|byte| *byte == b'\n').zip(1..).map(move |(line, number)| {
        let range = start..start + line.len();
        start = range.end;
        (number, range, line.trim_ascii_end())
    })
}

fn parts(text: &[u8], place: Range<usize>) -> (&[u8], &[u8], &[u8]) {
    let (before, rest) = text.split_at_checked(place.start).unwrap_or((text, &[]));
    let (block, after) = rest.split_at_checked(place.len()).unwrap_or((rest, &[]));
    (before, block, after)
}

/// The file's own line end, or where it has none the system's.
fn line_end(text: &[u8]) -> &'static str {
    let first = text.split_inclusive(|byte| *byte == b'\n').next().filter(|line| line.ends_with(b"\n"));
    let windows = first.map_or(cfg!(windows), |line| line.ends_with(b"\r\n"));
    if windows { "\r\n" } else { "\n" }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[usize]| match numbers {
            [] => "on no line".to_owned(),
            [one] => format!("on line {one}"),
            many => {
                let shown: Vec<String> = many.iter().take(SHOWN).map(ToString::to_string).collect();
                let more = if many.len() > SHOWN { ", …" } else { "" };
                format!("on lines {}{more}", shown.join(", "))
            }
        };
        let Self { profile, begins, ends, strange } = self;
        write!(f, "the block of `{profile}` is broken: it begins {} and ends {}", list(begins), list(ends))?;
        if strange.is_empty() { Ok(()) } else { write!(f, ", with another's mark {}", list(strange)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::Entry;
    use super::*;

    fn block(profile: &str, names: &[&str]) -> Block {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let entry = Entry { address: [127, 64, 1, 2].into(), names };
        Block { profile: profile.to_owned(), entries: vec![entry] }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    const FILES: [&[u8]; 7] = [
        b"",
        b"127.0.0.1 localhost\n",
        b"127.0.0.1 localhost",
        b"127.0.0.1 localhost\r\n::1 localhost\r\n",
        b"127.0.0.1 localhost\r\n::1 localhost",
        b"# b\xfcro, in Latin-1\n\n\n",
        b"\n",
    ];

    #[test]
    fn what_is_outside_the_block_comes_back_byte_for_byte() {
        for file in FILES {
            let one = put(file, &block("alice", &["mgmt"])).unwrap();
            let both = put(&one, &block("bob", &["rec01", "rec02"])).unwrap();
            let changed = put(&both, &block("alice", &["mgmt", "mgmt.vms.local"])).unwrap();
            assert_eq!(profiles(&changed), ["alice", "bob"]);
            assert!(changed.starts_with(file));
            for [first, second] in [["alice", "bob"], ["bob", "alice"]] {
                let left = take_out(&take_out(&changed, first).unwrap(), second).unwrap();
                assert_eq!(left, file, "{:?}", String::from_utf8_lossy(file));
            }
        }
    }

    #[test]
    fn the_same_block_again_changes_nothing() {
        for file in FILES {
            let once = put(file, &block("alice", &["mgmt"])).unwrap();
            assert_eq!(put(&once, &block("alice", &["mgmt"])).unwrap(), once);
            assert_eq!(take_out(file, "alice").unwrap(), file);
        }
    }

    #[test]
    fn a_block_stays_where_it_is_and_uses_the_files_line_ends() {
        let file = b"1\r\n# >>> vmsgate-shim alice\r\nold\r\n# <<< vmsgate-shim alice \r\n2\r\n";
        let put = put(file, &block("alice", &["mgmt"])).unwrap();
        assert_eq!(
            text(put),
            "1\r\n# >>> vmsgate-shim alice\r\n127.64.1.2      mgmt\r\n# <<< vmsgate-shim alice\r\n2\r\n"
        );
        assert_eq!(text(take_out(file, "alice").unwrap()), "1\r\n2\r\n");
    }

    #[test]
    fn a_profile_is_not_taken_for_one_whose_name_begins_alike() {
        let file = put(b"", &block("alice-2", &["mgmt"])).unwrap();
        assert_eq!(take_out(&file, "alice").unwrap(), file);
    }

    #[test]
    fn a_broken_block_is_refused_with_the_lines_of_its_marks() {
        let (begin, end) = ("# >>> vmsgate-shim alice\n", "# <<< vmsgate-shim alice\n");
        let (other, twice) = ("# >>> vmsgate-shim bob\n", format!("{begin}{end}"));
        for (file, told) in [
            (format!("1\n{begin}3\n"), "it begins on line 2 and ends on no line"),
            (format!("1\n2\n{end}"), "it begins on no line and ends on line 3"),
            (format!("{end}{begin}"), "it begins on line 2 and ends on line 1"),
            (format!("{twice}{twice}"), "it begins on lines 1, 3 and ends on lines 2, 4"),
            (format!("{begin}{begin}{end}"), "it begins on lines 1, 2 and ends on line 3"),
            (
                format!("{begin}{other}{end}"),
                "it begins on line 1 and ends on line 3, with another's mark on line 2",
            ),
            (begin.repeat(9), "it begins on lines 1, 2, 3, 4, 5, 6, 7, 8, … and ends on no line"),
        ] {
            let told = format!("the block of `alice` is broken: {told}");
            assert_eq!(put(file.as_bytes(), &block("alice", &["x"])).unwrap_err().to_string(), told);
            assert_eq!(take_out(file.as_bytes(), "alice").unwrap_err().to_string(), told);
            // Another profile's block is none of its business.
            let bob = put(file.as_bytes(), &block("carol", &["x"])).unwrap();
            assert_eq!(take_out(&bob, "carol").unwrap(), file.as_bytes());
        }
    }
}
