//! Which names are allowed, and which known name a misspelt one was probably meant to be.

/// The longest name of a gateway, server, service or role.
pub(crate) const NAME_MAX: usize = 63;

/// Whether `text` can name a gateway, server, service or role: letters, digits, `-`, `_` and `.`, starting
/// with a letter or digit. Such a name is safe in file names, in logs and in `SERVER:SERVICE`.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether `text` is a host name: RFC 1123 labels, and `_`, which Windows allows in computer names. The last
/// label must not be a number, or the name could be taken for an IPv4 address.
pub(crate) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253 && text.split('.').all(label) && !text.rsplit('.').next().is_some_and(number)
}

/// The candidate that `word` was probably meant to be, if one is near enough.
///
/// ```
/// assert_eq!(vmsgate_config::nearest("smart-cleint", ["smart-client", "web-mobile"]), Some("smart-client"));
/// assert_eq!(vmsgate_config::nearest("banana", ["smart-client", "web-mobile"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Hostile words can be long, and the comparison is quadratic.
    if word.len() > 2 * NAME_MAX {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Whether the shell-like `pattern` (`*` any characters, `?` one character) matches all of `text`.
pub(crate) fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: the last `*`, and the text it has not yet swallowed.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || text.get(t) == Some(&c) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, swallowed)) => {
                    retry = Some((star, swallowed + 1));
                    p = star + 1;
                    t = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (pattern, text, expected) in [
            ("rec*", "rec01", true),
            ("rec*", "xrec01", false),
            ("rec??", "rec01", true),
            ("rec?", "rec01", false),
            ("*", "", true),
            ("*01", "rec0101", true),
            ("a*b*c", "abxbc", true),
            ("a*b*c", "abxb", false),
            ("mgmt", "mgmt", true),
            ("", "mgmt", false),
        ] {
            assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn names_and_host_names_refuse_what_could_confuse_a_reader() {
        for bad in ["", "-a", ".a", "a:b", "a b", "a\n", "ä", "a/b", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad:?}");
        }
        for bad in ["", "-a", "a-", "a..b", "a.", ".a", "a b", "ä", "10.0.0.1", "10", &"a".repeat(64)] {
            assert!(!is_host_name(bad), "{bad:?}");
        }
        assert!(is_name("gw-1") && is_name("rec_01.site"));
        assert!(is_host_name("mgmt.vms.local") && is_host_name("LAB_XPCO"));
    }
}
