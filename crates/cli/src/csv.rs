//! Comma-separated values (RFC 4180) for spreadsheets and scripts.

use std::io::{self, Write};

/// Writes rows of cells: a header first, lines end in CR LF, quotes where they are needed.
///
/// A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a formula and
/// computes it. Names come from people, so such a cell is preceded by an apostrophe, which spreadsheets show as text.
#[derive(Debug)]
pub struct Csv<W: Write> {
    out: W,
    columns: usize,
}

impl<W: Write> Csv<W> {
    /// Writes the header row.
    pub fn new(out: W, headings: &[&str]) -> io::Result<Self> {
        let mut csv = Self { out, columns: headings.len() };
        csv.row(headings)?;
        Ok(csv)
    }

    /// Writes one row; missing cells stay empty, and cells beyond the header are left out.
    pub fn row(&mut self, cells: &[impl AsRef<str>]) -> io::Result<()> {
        for column in 0..self.columns {
            if column > 0 {
                self.out.write_all(b",")?;
            }
            let cell = cells.get(column).map_or("", AsRef::as_ref);
            self.out.write_all(escaped(cell).as_bytes())?;
        }
        self.out.write_all(b"\r\n")
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

fn escaped(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    match cell.contains([',', '"', '\r', '\n']) {
        true => format!("\"{guard}{}\"", cell.replace('"', "\"\"")),
        false => format!("{guard}{cell}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(headings: &[&str], rows: &[&[&str]]) -> String {
        let mut csv = Csv::new(Vec::new(), headings).unwrap();
        for row in rows {
            csv.row(row).unwrap();
        }
        String::from_utf8(csv.into_inner()).unwrap()
    }

    #[test]
    fn commas_quotes_and_line_ends_stay_within_their_cell() {
        let text = written(&["name", "note"], &[&["Berg, Anna", "said \"no\""], &["a\r\nb", ""]]);

        assert_eq!(text, "name,note\r\n\"Berg, Anna\",\"said \"\"no\"\"\"\r\n\"a\r\nb\",\r\n");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=HYPERLINK(\"http://x\",\"y\")"] {
            let text = written(&["a"], &[&[formula]]);
            let cell = text.lines().nth(1).unwrap().trim_start_matches('"');
            assert!(cell.starts_with('\''), "{text}");
        }
        assert!(written(&["a"], &[&["\r=1"]]).contains("\"'\r=1\""));
    }

    #[test]
    fn every_row_has_as_many_cells_as_the_header() {
        assert_eq!(written(&["a", "b"], &[&["1"], &["1", "2", "3"]]), "a,b\r\n1,\r\n1,2\r\n");
    }
}
