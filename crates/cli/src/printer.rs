//! Where text goes: data to stdout, everything else to stderr.

use std::{
    env,
    fmt::{self, Display},
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use crate::{args::OutputArgs, table::Table};

/// Writes a command's answer to stdout and its remarks to stderr.
///
/// Write errors are returned and not swallowed: a full disk behind `> file` must not look like success.
/// A closed pipe comes back as an error too, and [`run_main`](crate::run_main) counts it as success.
pub struct Printer {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    json: bool,
    quiet: bool,
    out_width: Option<u16>,
    colour_out: bool,
    colour_err: bool,
}

impl Printer {
    pub fn new(args: &OutputArgs) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let out_terminal = out.is_terminal();
        Self {
            out_width: out_terminal.then(terminal_width),
            colour_out: colour_allowed(out_terminal),
            colour_err: colour_allowed(err.is_terminal()),
            out: Mutex::new(Box::new(out)),
            err: Mutex::new(Box::new(err)),
            json: args.json,
            quiet: args.quiet,
        }
    }

    /// A printer without colour whose two outputs can be looked at afterwards.
    pub fn captured(args: &OutputArgs) -> (Self, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let printer = Self {
            out: Mutex::new(Box::new(out.clone())),
            err: Mutex::new(Box::new(err.clone())),
            json: args.json,
            quiet: args.quiet,
            out_width: None,
            colour_out: false,
            colour_err: false,
        };
        (printer, out, err)
    }

    /// Whether the user asked for JSON: print one [`json`](Self::json) document and no other data.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether stdout is a terminal, so that progress or a QR code makes sense.
    pub fn is_terminal(&self) -> bool {
        self.out_width.is_some()
    }

    /// Whether text on stdout may be in colour.
    pub fn shows_colour(&self) -> bool {
        self.colour_out
    }

    /// One line of data.
    pub fn line(&self, line: impl Display) -> io::Result<()> {
        writeln!(lock(&self.out), "{line}")
    }

    /// Data as it is, without an added line end.
    pub fn raw(&self, data: impl AsRef<[u8]>) -> io::Result<()> {
        let mut out = lock(&self.out);
        out.write_all(data.as_ref())?;
        out.flush()
    }

    pub fn table(&self, table: &Table) -> io::Result<()> {
        self.raw(table.render(self.out_width))
    }

    /// One JSON document: the fields of `report`, after a `schema_version`.
    ///
    /// Within a version fields are only ever added. `report` must serialise as a map or a struct.
    pub fn json(&self, schema_version: u32, report: &impl Serialize) -> io::Result<()> {
        #[derive(Serialize)]
        struct Versioned<'a, T> {
            schema_version: u32,
            #[serde(flatten)]
            report: &'a T,
        }
        let text = serde_json::to_string_pretty(&Versioned { schema_version, report })?;
        self.line(text)
    }

    /// A remark for people on stderr; `--quiet` silences it.
    pub fn note(&self, note: impl Display) -> io::Result<()> {
        if self.quiet { Ok(()) } else { writeln!(lock(&self.err), "{note}") }
    }

    /// Something the user should know although the command went on. `--quiet` does not silence it.
    pub fn warning(&self, warning: impl Display) -> io::Result<()> {
        let label = Style::Warning.paint("warning:", self.colour_err);
        writeln!(lock(&self.err), "{label} {warning}")
    }

    /// What to do next, on stderr; `--quiet` silences it.
    pub fn hint(&self, hint: impl Display) -> io::Result<()> {
        let label = Style::Note.paint("hint:", self.colour_err);
        if self.quiet { Ok(()) } else { writeln!(lock(&self.err), "{label} {hint}") }
    }

    /// Text for stdout in a style, if stdout shows colour.
    pub fn paint(&self, style: Style, text: impl Display) -> String {
        style.paint(text, self.colour_out)
    }
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printer")
            .field("json", &self.json)
            .field("quiet", &self.quiet)
            .finish_non_exhaustive()
    }
}

/// What a piece of text means; the colour follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Good,
    Warning,
    Error,
    Note,
    Strong,
    Faint,
}

impl Style {
    pub(crate) fn paint(self, text: impl Display, colour: bool) -> String {
        let code = match self {
            Self::Good => "32",
            Self::Warning => "1;33",
            Self::Error => "1;31",
            Self::Note => "36",
            Self::Strong => "1",
            Self::Faint => "2",
        };
        if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}

/// One output of a [`Printer::captured`].
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// What was written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Colour needs a terminal that understands it and a user who did not refuse it (<https://no-color.org>).
pub(crate) fn colour_allowed(terminal: bool) -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    // A Windows console shows colour once it is asked to; elsewhere there is nothing to ask.
    terminal && !refused && !dumb && anstyle_query::windows::enable_ansi_colors() != Some(false)
}

/// A table is as wide as the terminal; this is for one that does not tell.
const FALLBACK_WIDTH: u16 = 100;

fn terminal_width() -> u16 {
    comfy_table::Table::new().width().filter(|width| *width > 0).unwrap_or(FALLBACK_WIDTH)
}

/// A panic in another thread does not make what was written wrong.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_goes_to_stdout_and_remarks_to_stderr() {
        let (printer, out, err) = Printer::captured(&OutputArgs::default());

        printer.line("10.99.0.1").unwrap();
        printer.note("client added").unwrap();
        printer.warning("no configuration").unwrap();

        assert_eq!(out.text(), "10.99.0.1\n");
        assert_eq!(err.text(), "client added\nwarning: no configuration\n");
    }

    #[test]
    fn quiet_keeps_data_and_warnings() {
        let (printer, out, err) = Printer::captured(&OutputArgs { quiet: true, ..OutputArgs::default() });

        printer.line("10.99.0.1").unwrap();
        printer.note("client added").unwrap();
        printer.hint("start the gateway").unwrap();
        printer.warning("no configuration").unwrap();

        assert_eq!(
            (out.text().as_str(), err.text().as_str()),
            ("10.99.0.1\n", "warning: no configuration\n")
        );
    }

    #[test]
    fn json_starts_with_its_schema_version() {
        #[derive(Serialize)]
        struct Report {
            name: &'static str,
        }
        let (printer, out, _) = Printer::captured(&OutputArgs::default());

        printer.json(1, &Report { name: "anna" }).unwrap();

        assert_eq!(out.text(), "{\n  \"schema_version\": 1,\n  \"name\": \"anna\"\n}\n");
    }
}
