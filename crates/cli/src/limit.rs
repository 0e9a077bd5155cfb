//! The same line again and again says nothing new, and fills a disk: each place in the program may log so many lines in
//! a window, and how many more there were is told when it is over.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

const WINDOW: Duration = Duration::from_secs(10);
/// Lines of one place in a window. A start or a reload says less; only what repeats itself says more.
const BURST: u32 = 20;

/// Windows by place. There are as many as places in the program that log.
#[derive(Debug, Default)]
pub struct Limits(HashMap<Identifier, Window>);

#[derive(Debug)]
struct Window {
    since: Instant,
    target: &'static str,
    line: Option<u32>,
    written: u32,
    suppressed: u64,
}

/// What was not written in a window that is over.
#[derive(Debug, PartialEq, Eq)]
pub struct Suppressed {
    pub count: u64,
    pub target: &'static str,
    pub line: Option<u32>,
}

impl Limits {
    /// Whether a line may be written.
    pub fn admit(&mut self, metadata: &'static tracing::Metadata<'static>, now: Instant) -> bool {
        let window = self.0.entry(metadata.callsite()).or_insert_with(|| Window {
            since: now,
            target: metadata.target(),
            line: metadata.line(),
            written: 0,
            suppressed: 0,
        });
        let admitted = window.written < BURST;
        window.written += u32::from(admitted);
        window.suppressed += u64::from(!admitted);
        admitted
    }

    /// Ends the windows that are over.
    pub fn end(&mut self, now: Instant) -> Vec<Suppressed> {
        let over = self.0.extract_if(|_, window| now.saturating_duration_since(window.since) >= WINDOW);
        let told = over.map(|(_, window)| Suppressed {
            count: window.suppressed,
            target: window.target,
            line: window.line,
        });
        told.filter(|told| told.count > 0).collect()
    }
}

/// A format that obeys the limits. What is asked for with `-v` is written whole.
#[derive(Debug)]
pub struct Limited<F> {
    format: F,
    json: bool,
    limits: Mutex<Limits>,
}

impl<F> Limited<F> {
    pub fn new(format: F, json: bool) -> Self {
        Self { format, json, limits: Mutex::default() }
    }

    fn tell(&self, suppressed: &Suppressed, out: &mut Writer<'_>) -> fmt::Result {
        let Suppressed { count, target, line } = suppressed;
        let line = line.unwrap_or_default();
        let message = format!("{count} more lines like an earlier one were not written");
        if self.json {
            let object = json!({ "level": "WARN", "message": message, "target": target, "line": line,
                                 "suppressed": count });
            writeln!(out, "{object}")
        } else {
            writeln!(out, "WARN {target}: {message} (line {line})")
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (metadata, now) = (event.metadata(), Instant::now());
        let (over, admitted) = {
            // A count is complete after each call, whatever panicked elsewhere.
            let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            (limits.end(now), *metadata.level() > Level::INFO || limits.admit(metadata, now))
        };
        for suppressed in &over {
            self.tell(suppressed, &mut out)?;
        }
        if admitted { self.format.format_event(context, out, event) } else { Ok(()) }
    }
}
