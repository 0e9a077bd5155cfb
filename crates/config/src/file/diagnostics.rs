//! Collects findings while a file is read, and turns byte offsets into lines.

use std::cmp::Reverse;
use std::ops::Range;

use crate::finding::{ConfigErrors, Finding, Severity};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of the file, counted from 1.
    Line(usize),
    /// The file as a whole.
    File,
    /// An environment variable.
    Variable(String),
}

/// A value together with its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// The findings of one file.
#[derive(Debug)]
pub(crate) struct Diagnostics {
    file: String,
    line_starts: Vec<usize>,
    findings: Vec<Finding>,
    errors: usize,
    /// Findings beyond the first [`MOST_FINDINGS`] of their severity.
    unlisted: usize,
}

/// Nobody reads more, and a hostile file could make millions.
const MOST_FINDINGS: usize = 100;

/// Long enough for any sentence of ours with a name in it.
const LONGEST_TEXT: usize = 600;

impl Diagnostics {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(offset, _)| offset + 1)).collect();
        Self { file: file.to_owned(), line_starts, findings: Vec::new(), errors: 0, unlisted: 0 }
    }

    /// The line on which `span` begins.
    pub(crate) fn line(&self, span: &Range<usize>) -> Place {
        Place::Line(self.line_starts.partition_point(|start| *start <= span.start))
    }

    pub(crate) fn error(&mut self, place: &Place, message: impl AsRef<str>, hint: impl AsRef<str>) {
        self.push(Severity::Error, place, message.as_ref(), hint.as_ref());
    }

    pub(crate) fn warning(&mut self, place: &Place, message: impl AsRef<str>, hint: impl AsRef<str>) {
        self.push(Severity::Warning, place, message.as_ref(), hint.as_ref());
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// The warnings, or everything if there is an error among it.
    pub(crate) fn finish(self) -> Result<Vec<Finding>, ConfigErrors> {
        let failed = self.errors > 0;
        let findings = self.into_errors().findings;
        if failed { Err(ConfigErrors { findings, hash: None }) } else { Ok(findings) }
    }

    /// Everything, errors first, then in the order of the file.
    pub(crate) fn into_errors(mut self) -> ConfigErrors {
        self.findings.sort_by_key(|finding| (Reverse(finding.severity), finding.line));
        if self.unlisted > 0 {
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            let message = format!("{} more problems are not listed", self.unlisted);
            self.findings.push(self.finding(severity, &Place::File, &message, "solve the listed ones first"));
        }
        ConfigErrors { findings: self.findings, hash: None }
    }

    fn push(&mut self, severity: Severity, place: &Place, message: &str, hint: &str) {
        self.errors += usize::from(severity == Severity::Error);
        let finding = self.finding(severity, place, message, hint);
        if self.findings.contains(&finding) {
            return;
        }
        if self.findings.iter().filter(|other| other.severity == severity).count() < MOST_FINDINGS {
            self.findings.push(finding);
        } else {
            self.unlisted += 1;
        }
    }

    fn finding(&self, severity: Severity, place: &Place, message: &str, hint: &str) -> Finding {
        let (file, line) = match place {
            Place::Line(line) => (self.file.clone(), Some(*line)),
            Place::File => (self.file.clone(), None),
            Place::Variable(name) => (format!("${name}"), None),
        };
        let hint = (!hint.is_empty()).then(|| printable(hint));
        Finding { severity, file, line, message: printable(message), hint }
    }
}

/// One line without control characters: messages quote the file, and a terminal must not obey it.
fn printable(text: &str) -> String {
    let mut printable = String::new();
    for character in text.chars() {
        if printable.len() > LONGEST_TEXT {
            printable.push('…');
            break;
        }
        match character {
            '\n' => printable.push_str("; "),
            ' '..='~' => printable.push(character),
            // Escapes what is not printable, direction marks included, and leaves letters alone.
            other => printable.extend(other.escape_debug()),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        let diagnostics = Diagnostics::new("f", "a\nb\n\nc");
        let line = |at: usize| diagnostics.line(&(at..at + 1));
        assert_eq!(
            [0, 1, 2, 4, 5, 99].map(line),
            [Place::Line(1), Place::Line(1), Place::Line(2), Place::Line(3), Place::Line(4), Place::Line(4)]
        );
    }
}
