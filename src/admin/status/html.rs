//! A writer of HTML. Only constants of this program are written as markup. All other text is escaped.

use std::fmt::{Display, Write};

/// A page while it is being written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Writes markup. It accepts only constants. Use [`text`](Self::text) for texts that are known only at run time.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Writes text, also within a quoted attribute.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing into a string does not fail. A value that cannot be formatted is left out.
        let _ = write!(Escaping(&mut self.0), "{text}");
        self
    }

    /// Begins a table of few columns.
    pub(super) fn open_table(&mut self, caption: &'static str, columns: &[&'static str]) {
        self.raw("<table");
        self.table_head(caption, columns);
    }

    /// Begins a table whose rows become blocks on a narrow screen.
    pub(super) fn open_wide_table(&mut self, caption: &'static str, columns: &[&'static str]) {
        self.raw("<table class=\"wide\"");
        self.table_head(caption, columns);
    }

    /// The elements have roles, because a screen reader no longer sees a table if the style shows its parts as blocks.
    fn table_head(&mut self, caption: &'static str, columns: &[&'static str]) {
        self.raw(" role=\"table\"><caption>").raw(caption).raw("</caption>");
        self.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
        for column in columns {
            self.raw("<th role=\"columnheader\" scope=\"col\">").raw(column).raw("</th>");
        }
        self.raw("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    }

    /// Ends a table.
    pub(super) fn close_table(&mut self) {
        self.raw("</tbody></table>\n");
    }

    /// Writes the first cell of a row, which names the subject of the row.
    pub(super) fn row(&mut self, head: impl FnOnce(&mut Self), cells: impl FnOnce(&mut Self)) {
        self.raw("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">");
        head(self);
        self.raw("</th>");
        cells(self);
        self.raw("</tr>\n");
    }

    /// Writes a cell of a row. `column` is its column's name.
    pub(super) fn cell(&mut self, column: &'static str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.raw("<td role=\"cell\" data-column=\"").raw(column).raw("\"><div>");
        fill(self);
        self.raw("</div></td>")
    }

    /// Writes a cell with a number.
    pub(super) fn number(&mut self, column: &'static str, value: impl Display) -> &mut Self {
        self.raw("<td role=\"cell\" class=\"number\" data-column=\"").raw(column).raw("\"><div>");
        self.text(value).raw("</div></td>")
    }

    /// Returns the page.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Escapes text, so that it is never markup.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(character),
                character if is_misleading(character) => self.0.extend(character.escape_unicode()),
                character => self.0.push(character),
            }
        }
        Ok(())
    }
}

/// Returns true for characters that are invisible and may change how others look: control characters, and characters
/// that change the direction of text.
fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut html = Html::default();
        html.raw("<p title=\"").text("\"><script>alert('1')</script>&amp;").raw("\">");
        html.text("a\0b\u{202e}c\u{1b}[31m\r\nü").raw("</p>");
        assert_eq!(
            html.into_string(),
            "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;\">\
             a\\u{0}b\\u{202e}c\\u{1b}[31m\\u{d}\nü</p>"
        );
    }
}
