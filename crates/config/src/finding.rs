//! What is wrong with a configuration, and where: the one form in which problems leave this crate.

use std::fmt;

use serde::Serialize;

/// How much a [`Finding`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration works, and probably not as meant.
    Warning,
    /// The configuration cannot be used; nothing of it takes effect.
    Error,
}

/// One problem, ready to be shown to a person or, through serde, to a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The file, or the environment variable, that holds the value.
    pub file: String,
    /// Counted from 1; absent when the problem has no one line (a file that cannot be read, a variable).
    pub line: Option<usize>,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    /// `file:line`, or the file alone.
    pub fn location(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location(), self.message)
    }
}

/// A configuration that cannot be used: every finding, errors first, at least one of them an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    pub findings: Vec<Finding>,
    /// The hash of what was refused, as [`Config::hash`](crate::Config::hash); none if it could not be read.
    pub hash: Option<[u8; 32]>,
}

impl ConfigErrors {
    /// The findings that made the configuration unusable.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }
}

/// One line per error, each followed by its hint on a line of its own.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.errors().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
            if let Some(hint) = &finding.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
