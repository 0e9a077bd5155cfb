//! Tables for people: upper-case headings, columns two spaces apart, no frame.

use comfy_table::{ContentArrangement, presets};

/// A table in the making. Cells are made harmless for a terminal: control characters appear escaped, because
/// names in them may come from someone else.
#[derive(Debug)]
pub struct Table {
    inner: comfy_table::Table,
    columns: usize,
}

impl Table {
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_preset(presets::NOTHING).set_header(headings);
        Self { inner, columns: N }
    }

    /// Adds one row; the type makes it as long as the caller's other rows, missing cells stay empty.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) -> &mut Self {
        self.inner.add_row(cells.iter().map(|cell| printable(cell)));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.inner.row_count() == 0
    }

    /// The text; wrapped to `width` columns for a terminal, one line per row otherwise (`grep` and `awk` read it).
    pub(crate) fn render(&self, width: Option<u16>) -> String {
        let mut table = self.inner.clone();
        match width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        for index in 0..self.columns {
            if let Some(column) = table.column_mut(index) {
                column.set_padding((0, if index + 1 == self.columns { 0 } else { 2 }));
            }
        }
        table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// Text with its control and direction-changing characters escaped, safe to show on a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let harmful = c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let escaped = harmful.then(|| c.escape_default());
            let plain = (!harmful).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let mut table = Table::new(["NAME", "ROLE"]);
        table.row(["anna".into(), "smart-client".into()]).row(["bo".into(), "".into()]);

        assert_eq!(table.render(None), "NAME  ROLE\nanna  smart-client\nbo\n");
    }

    #[test]
    fn a_narrow_terminal_wraps_and_a_file_does_not() {
        let mut table = Table::new(["OPERATOR"]);
        table.row(["one two three four five six".into()]);

        assert_eq!(table.render(None).lines().count(), 2);
        assert!(table.render(Some(12)).lines().count() > 2);
    }

    #[test]
    fn a_name_cannot_write_escape_sequences_to_the_terminal() {
        assert_eq!(printable("an\u{1b}[2Jna\n\u{202e}"), "an\\u{1b}[2Jna\\n\\u{202e}");
    }
}
