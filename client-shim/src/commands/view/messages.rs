//! What happened lately, whoever told it: the shim's events and the log, which has no place of its own on the screen.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use vmsgate_cli::human::printable;

/// More than fits on a screen.
const KEPT: usize = 100;
/// The longest message that is kept whole.
const MAX_CHARS: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Good,
    Note,
    Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub time: Timestamp,
    pub kind: Kind,
    pub text: String,
}

/// The newest messages. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Messages(Arc<Mutex<VecDeque<Message>>>);

impl Messages {
    /// Adds one. What was said last is not said again.
    pub fn say(&self, time: Timestamp, kind: Kind, text: &str) {
        let text: String = printable(text.trim()).chars().take(MAX_CHARS).collect();
        let mut messages = self.lock();
        if messages.back().is_some_and(|last| last.text == text) {
            return;
        }
        if messages.len() == KEPT {
            messages.pop_front();
        }
        messages.push_back(Message { time, kind, text });
    }

    /// The newest `count`, the oldest of them first.
    pub fn newest(&self, count: usize) -> Vec<Message> {
        let messages = self.lock();
        messages.iter().skip(messages.len().saturating_sub(count)).cloned().collect()
    }

    /// Takes one event of the log.
    pub fn writer(&self) -> LogWriter {
        LogWriter { messages: self.clone(), text: Vec::new() }
    }

    /// A panic in another thread does not make what was said wrong.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collects an event of the log and adds it when dropped.
#[derive(Debug)]
pub struct LogWriter {
    messages: Messages,
    text: Vec<u8>,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (kind, text) = match line.split_once(' ') {
                Some(("ERROR" | "WARN", text)) => (Kind::Problem, text),
                Some(("INFO", text)) => (Kind::Note, text),
                _ => (Kind::Note, line),
            };
            self.messages.say(Timestamp::now(), kind, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept_and_none_twice_in_a_row() {
        let messages = Messages::default();
        let say = |text: &str| messages.say(Timestamp::UNIX_EPOCH, Kind::Note, text);
        (0..2 * KEPT).for_each(|n| say(&n.to_string()));
        say("199");
        say("an\u{1b}[2J escape\n");
        let newest = messages.newest(3);
        let texts: Vec<&str> = newest.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(texts, ["198", "199", "an\\u{1b}[2J escape"]);
        assert_eq!(messages.newest(usize::MAX).len(), KEPT);
    }

    #[test]
    fn the_log_arrives_by_event_with_its_severity() {
        let messages = Messages::default();
        writeln!(messages.writer(), " WARN the key is old file=\"x\"").unwrap();
        writeln!(messages.writer(), " INFO the key was replaced").unwrap();
        let told = messages.newest(2);
        assert_eq!((told[0].kind, told[0].text.as_str()), (Kind::Problem, "the key is old file=\"x\""));
        assert_eq!((told[1].kind, told[1].text.as_str()), (Kind::Note, "the key was replaced"));
    }
}
