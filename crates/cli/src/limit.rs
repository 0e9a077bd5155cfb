//! The same line again and again says nothing new, and fills a disk: each place in the program may log so many lines in
//! a window. How many more there were is told with the first line after it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use crate::args::LogFormat;

const WINDOW: Duration = Duration::from_secs(10);
/// Lines of one place in a window. A start or a reload says less; only what repeats itself says more.
const BURST: u32 = 20;

/// Windows by place. There are as many as places in the program that log.
#[derive(Debug, Default)]
struct Limits(HashMap<Identifier, Window>);

#[derive(Debug)]
struct Window {
    since: Instant,
    target: &'static str,
    line: u32,
    written: u32,
    suppressed: u64,
}

impl Limits {
    /// Whether a line may be written.
    fn admit(&mut self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let window = self.0.entry(metadata.callsite()).or_insert_with(|| Window {
            since: now,
            target: metadata.target(),
            line: metadata.line().unwrap_or_default(),
            written: 0,
            suppressed: 0,
        });
        let admitted = window.written < BURST;
        window.written += u32::from(admitted);
        window.suppressed += u64::from(!admitted);
        admitted
    }

    /// Ends the windows that are over; answers with those in which something was not written.
    fn end(&mut self, now: Instant) -> Vec<Window> {
        let over = self.0.extract_if(|_, window| now.saturating_duration_since(window.since) >= WINDOW);
        over.map(|(_, window)| window).filter(|window| window.suppressed > 0).collect()
    }
}

/// A format that obeys the limits. What is asked for with `-v` is written whole.
#[derive(Debug)]
pub(crate) struct Limited<F> {
    inner: F,
    format: LogFormat,
    limits: Mutex<Limits>,
}

impl<F> Limited<F> {
    pub(crate) fn new(inner: F, format: LogFormat) -> Self {
        Self { inner, format, limits: Mutex::default() }
    }

    fn tell(&self, window: &Window, out: &mut Writer<'_>) -> fmt::Result {
        let Window { target, line, suppressed, .. } = window;
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let message = format!("{suppressed} more lines like the ones before were not written");
        match self.format {
            LogFormat::Json => {
                let line = json!({
                    "timestamp": time, "level": "WARN", "message": message, "suppressed": suppressed,
                    "target": target, "line": line,
                });
                writeln!(out, "{line}")
            }
            LogFormat::Text => writeln!(out, "{time}  WARN {target}: {message} (line {line})"),
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (metadata, now) = (event.metadata(), Instant::now());
        let (over, admitted) = {
            // A count is whole after each call, whatever panicked elsewhere.
            let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            (limits.end(now), *metadata.level() > Level::INFO || limits.admit(metadata, now))
        };
        for window in &over {
            self.tell(window, &mut out)?;
        }
        if admitted { self.inner.format_event(context, out, event) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, MutexGuard},
    };

    use tracing::Callsite;

    use super::*;

    fn metadata() -> [&'static Metadata<'static>; 2] {
        [
            tracing::callsite! { name: "one", kind: tracing::metadata::Kind::EVENT, fields: message }
                .metadata(),
            tracing::callsite! { name: "two", kind: tracing::metadata::Kind::EVENT, fields: message }
                .metadata(),
        ]
    }

    #[test]
    fn a_place_that_repeats_itself_is_silenced_alone_until_its_window_is_over_and_then_told_of() {
        let ([one, two], start) = (metadata(), Instant::now());
        let mut limits = Limits::default();
        let admitted = (0..BURST + 7).filter(|_| limits.admit(one, start)).count();
        assert_eq!(admitted, BURST as usize);
        assert!(limits.admit(two, start));
        assert!(limits.end(start + WINDOW / 2).is_empty());
        assert!(!limits.admit(one, start + WINDOW / 2));
        let over = limits.end(start + WINDOW);
        assert_eq!(over.iter().map(|window| window.suppressed).collect::<Vec<_>>(), [8]);
        assert!(limits.admit(one, start + WINDOW));
        assert!(limits.end(start + WINDOW * 2).is_empty(), "nothing was lost in the second window");
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }
    }

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_logged_in_a_loop_is_cut_and_what_was_asked_for_with_v_is_not() {
        let sink = Sink::default();
        let (writer, level) = (sink.clone(), Level::DEBUG);
        let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(move || writer.clone());
        let builder = builder.map_event_format(|inner| Limited::new(inner, LogFormat::Text));
        tracing::subscriber::with_default(builder.finish(), || {
            for at in 0..100 {
                tracing::warn!(at, "again");
                tracing::debug!(at, "detail");
            }
            tracing::warn!("something else");
        });
        let text = String::from_utf8(sink.bytes().clone()).unwrap();
        let count = |words: &str| text.lines().filter(|line| line.contains(words)).count();
        assert_eq!(
            (count("again"), count("detail"), count("something else")),
            (BURST as usize, 100, 1),
            "{text}"
        );
    }

    #[test]
    fn what_was_not_written_is_told_in_the_format_of_the_other_lines() {
        let window =
            Window { since: Instant::now(), target: "vmsgate", line: 7, written: BURST, suppressed: 9 };
        let told = |format| {
            let mut text = String::new();
            Limited::new((), format).tell(&window, &mut Writer::new(&mut text)).unwrap();
            text
        };
        let line: serde_json::Value = serde_json::from_str(&told(LogFormat::Json)).unwrap();
        assert_eq!((&line["suppressed"], &line["level"]), (&json!(9), &json!("WARN")));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(told(LogFormat::Text).contains(" WARN vmsgate: 9 more lines"));
    }
}
