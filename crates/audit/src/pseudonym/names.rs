//! Finds known names inside of free text.

use aho_corasick::{AhoCorasick, MatchKind};

/// Names of at least this many bytes are replaced wherever they occur; shorter ones as whole words only, or every
/// text with an `a` in it would be torn to pieces by a person called `A`.
const ANYWHERE: usize = 4;

/// Known names and what stands for them, found without regard to the case of ASCII letters.
#[derive(Debug)]
pub(super) struct Names {
    long: Finder,
    short: Finder,
}

#[derive(Debug)]
struct Finder {
    automaton: Option<AhoCorasick>,
    pseudonyms: Vec<String>,
}

impl Names {
    pub(super) fn new<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let (long, short): (Vec<_>, Vec<_>) = names.partition(|(name, _)| name.len() >= ANYWHERE);
        Self { long: Finder::new(&long), short: Finder::new(&short) }
    }

    pub(super) fn replace(&self, text: &str) -> String {
        let whole_word = |text: &str, start, end| {
            let word = |c: char| c.is_alphanumeric();
            let before = text.get(..start).and_then(|text| text.chars().next_back());
            let after = text.get(end..).and_then(|text| text.chars().next());
            !before.is_some_and(word) && !after.is_some_and(word)
        };
        self.long.replace(text, |_, _, _| true, |rest| self.short.replace(rest, whole_word, str::to_owned))
    }
}

impl Finder {
    fn new(names: &[(&str, &str)]) -> Self {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .build(names.iter().map(|(name, _)| name));
        Self {
            // Only more than 2³¹ names do not fit into one.
            automaton: automaton.ok(),
            pseudonyms: names.iter().map(|(_, pseudonym)| (*pseudonym).to_owned()).collect(),
        }
    }

    /// Replaces what is found and accepted, and passes what lies between to `between`.
    fn replace(
        &self,
        text: &str,
        accept: impl Fn(&str, usize, usize) -> bool,
        between: impl Fn(&str) -> String,
    ) -> String {
        let mut out = String::new();
        let mut done = 0;
        for found in self.automaton.iter().flat_map(|automaton| automaton.find_iter(text)) {
            let pseudonym = self.pseudonyms.get(found.pattern().as_usize());
            if let (Some(pseudonym), true) = (pseudonym, accept(text, found.start(), found.end())) {
                out.push_str(&between(&text[done..found.start()]));
                out.push_str(pseudonym);
                done = found.end();
            }
        }
        out.push_str(&between(&text[done..]));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new([("Anna Berg", "operator-1"), ("anna", "client-2"), ("bo", "client-3")].into_iter())
    }

    #[test]
    fn the_longest_name_is_replaced_wherever_it_occurs_and_in_any_case() {
        assert_eq!(names().replace("laptop of anna berg, annabelle"), "laptop of operator-1, client-2belle");
    }

    #[test]
    fn a_short_name_is_replaced_as_a_word_only() {
        assert_eq!(names().replace("bo's robot (Bo)"), "client-3's robot (client-3)");
    }

    #[test]
    fn text_without_names_stays_as_it_is() {
        assert_eq!(names().replace("räksmörgås"), "räksmörgås");
        assert_eq!(Names::new(std::iter::empty()).replace("anna"), "anna");
    }
}
