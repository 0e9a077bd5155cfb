//! Prometheus' text exposition format, version 0.0.4.
//!
//! Written here and not by a library: the workers count in plain integers of their own, and what is served is a copy of
//! what they report. A library would want to do the counting, and add a second set of numbers that have to agree.

use std::fmt::{Display, Write};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// The samples of one metric.
#[derive(Debug)]
pub struct Samples<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// A number that only grows; its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Samples<'_> {
        self.metric("counter", name, help)
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Samples<'_> {
        self.metric("gauge", name, help)
    }

    fn metric(&mut self, kind: &str, name: &'static str, help: &str) -> Samples<'_> {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Samples { page: &mut self.0, name }
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

impl Samples<'_> {
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let Self { page, name } = self;
        page.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            let _ = write!(page, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            page.push('}');
        }
        let _ = writeln!(page, " {value}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_the_format_wants_it() {
        let mut page = Exposition::default();
        page.gauge("a", "Of a \\ kind,\nnot more.")
            .sample(&[], 7)
            .sample(&[("x", "1"), ("y", "q\"\\\n")], 0.5);
        page.counter("b_total", "B.");
        let expected = concat!(
            "# HELP a Of a \\\\ kind,\\nnot more.\n",
            "# TYPE a gauge\n",
            "a 7\n",
            "a{x=\"1\",y=\"q\\\"\\\\\\n\"} 0.5\n",
            "# HELP b_total B.\n",
            "# TYPE b_total counter\n",
        );
        assert_eq!(page.into_text(), expected);
    }
}
