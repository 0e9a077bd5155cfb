//! Where an export goes, and its two formats.

use std::io::{self, BufWriter, Write};

use serde_json::Value;
use vmsgate_audit::export::flat;
use vmsgate_cli::{CliError, Csv, Printer};

use super::{Format, NewFile};
use crate::commands::Context;

/// A new file or standard output.
pub(super) enum Out<'a> {
    File(NewFile<'a>),
    Stdout(BufWriter<Stdout<'a>>),
}

impl<'a> Out<'a> {
    pub(super) fn new(context: &'a Context, file: Option<NewFile<'a>>) -> Self {
        match file {
            Some(file) => Self::File(file),
            None => Self::Stdout(BufWriter::with_capacity(64 * 1024, Stdout(&context.printer))),
        }
    }

    /// Whether what was written is out of the program's hands.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Stdout(_))
    }

    pub(super) fn finish(self) -> Result<(), CliError> {
        match self {
            Self::File(file) => file.keep(),
            Self::Stdout(mut out) => Ok(out.flush()?),
        }
    }
}

impl Write for Out<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(data),
            Self::Stdout(out) => out.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stdout(out) => out.flush(),
        }
    }
}

pub(super) struct Stdout<'a>(&'a Printer);

impl Write for Stdout<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.raw(data).map(|()| data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes records in a format.
pub(super) enum Writer<W: Write> {
    Jsonl(W),
    Csv(Csv<W>),
}

impl<W: Write> Writer<W> {
    pub(super) fn new(format: Format, out: W) -> io::Result<Self> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(out),
            Format::Csv => Self::Csv(Csv::new(out, &flat::headings())?),
        })
    }

    /// One record, given as its text.
    pub(super) fn record(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => {
                out.write_all(text.as_bytes())?;
                out.write_all(b"\n")
            }
            Self::Csv(csv) => csv.row(&flat::cells(&serde_json::from_str::<Value>(text)?)),
        }
    }

    pub(super) fn flush(self) -> io::Result<()> {
        match self {
            Self::Jsonl(mut out) => out.flush(),
            Self::Csv(csv) => csv.into_inner().flush(),
        }
    }
}
