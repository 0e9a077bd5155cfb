//! One line of the answer.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measure {
    /// As in `docs/compliance.md`.
    pub id: &'static str,
    pub title: &'static str,
    /// Of NIST SP 800-53, and the parts of the vendor's privacy guide.
    pub controls: &'static [&'static str],
    pub state: State,
    /// What was found.
    pub reasons: Vec<String>,
    /// What to do if it is not met.
    pub hint: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Met,
    NotMet,
    /// This program cannot find out.
    Unknown,
}

impl State {
    pub fn words(self) -> &'static str {
        match self {
            State::Met => "met",
            State::NotMet => "not met",
            State::Unknown => "unknown",
        }
    }
}

impl Measure {
    pub fn met(id: &'static str, title: &'static str, controls: &'static [&'static str]) -> Self {
        Self { id, title, controls, state: State::Met, reasons: Vec::new(), hint: None }
    }

    /// What was found, which speaks neither for nor against.
    pub fn note(mut self, found: impl Into<String>) -> Self {
        self.reasons.push(found.into());
        self
    }

    /// The measure is not met for each of these reasons; without any it stays as it is.
    pub fn unless(mut self, problems: impl IntoIterator<Item = String>, hint: &'static str) -> Self {
        for problem in problems {
            self.state = State::NotMet;
            self.reasons.push(problem);
            self.hint = Some(hint);
        }
        self
    }

    pub fn unknown(mut self, why: &str, hint: &'static str) -> Self {
        self.state = State::Unknown;
        self.reasons.push(why.to_owned());
        self.hint = Some(hint);
        self
    }
}
