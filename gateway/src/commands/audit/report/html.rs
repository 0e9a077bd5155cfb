//! Writes HTML in which nothing from outside can be markup.
//!
//! Markup is a literal of the program, by its type; everything else goes through [`Html::text`], which also serves
//! for the values of quoted attributes.

use std::fmt::{Display, Write};

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text as it is to be seen. Characters that would turn the direction of what follows, or are no text, appear as
    /// U+FFFD.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        for c in text.to_string().chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(' '),
                '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                    self.0.push(char::REPLACEMENT_CHARACTER);
                }
                c if c.is_control() => self.0.push(char::REPLACEMENT_CHARACTER),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A name from outside, whose direction of writing does not reach its surroundings.
    pub(super) fn name(&mut self, name: impl Display) -> &mut Self {
        self.raw("<bdi>").text(name).raw("</bdi>")
    }

    /// A coordinate, to a tenth of a pixel.
    pub(super) fn coordinate(&mut self, value: f64) -> &mut Self {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{value:.1}");
        self
    }

    /// A table cell with text.
    pub(super) fn cell(&mut self, text: impl Display) -> &mut Self {
        self.raw("<td>").name(text).raw("</td>")
    }

    /// A table cell with a number or a size, to the right.
    pub(super) fn number(&mut self, text: impl Display) -> &mut Self {
        self.raw("<td class=\"n\">").text(text).raw("</td>")
    }

    /// The beginning of a table up to its body; a heading that begins with `#` is of numbers.
    pub(super) fn table(&mut self, headings: &[&'static str]) -> &mut Self {
        self.raw("<table><thead><tr>");
        for heading in headings {
            match heading.strip_prefix('#') {
                Some(heading) => self.raw("<th class=\"n\">").raw(heading),
                None => self.raw("<th>").raw(heading),
            };
            self.raw("</th>");
        }
        self.raw("</tr></thead><tbody>\n")
    }

    pub(super) fn end_table(&mut self) -> &mut Self {
        self.raw("</tbody></table>\n")
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup_or_ends_an_attribute() {
        let mut html = Html::default();
        html.text("<script>alert('x' & \"y\")</script>");
        assert_eq!(html.into_string(), "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;");
    }

    #[test]
    fn text_cannot_turn_its_surroundings_or_hide_in_control_characters() {
        let mut html = Html::default();
        html.text("a\u{202e}b\u{2066}c\0d\u{85}e\nf");
        assert_eq!(html.into_string(), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e f");
    }
}
