//! `Content-Type` and `Content-Disposition`: a value with parameters (RFC 9110 section 8.3.1, RFC 6266 section 4.1).
//!
//! This is also the only place that says which charset is read: UTF-8, under any of its names.

use std::borrow::Cow;

use crate::syntax::list_field::trim;

/// The most characters of a client's text that are shown to the client.
const MAX_SHOWN: usize = 64;

/// A value with its parameters.
#[derive(Debug)]
pub(crate) struct Parameterised<'a> {
    /// The text before the first `;`.
    pub(crate) value: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Parameterised<'a> {
    /// Reads a field's value. Returns `None` if a quoted string does not end. Leaves out pieces that are not
    /// parameters.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut pieces = pieces(text)?.into_iter();
        let value = trimmed(pieces.next()?);
        let parameter = |piece: &'a str| {
            let (name, value) = piece.split_once('=')?;
            Some((trimmed(name), unquoted(trimmed(value))?))
        };
        Some(Self { value, parameters: pieces.filter_map(parameter).collect() })
    }

    /// Returns true if the value is this one, ignoring case.
    pub(crate) fn is(&self, value: &str) -> bool {
        self.value.eq_ignore_ascii_case(value)
    }

    /// Returns the values of a parameter. The case of its name is ignored.
    pub(crate) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        let found = self.parameters.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }

    /// Returns true if there is a parameter of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Returns the value of a parameter that comes once. Returns `None` if it is absent or comes twice.
    pub(crate) fn one<'s>(&'s self, name: &'s str) -> Option<&'s str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Returns a `charset` that is not UTF-8.
    pub(crate) fn other_charset(&self) -> Option<&str> {
        self.all("charset").find(|charset| !is_utf8(charset))
    }
}

/// Returns true if a charset is UTF-8, or ASCII, which is a part of it. IANA does not list `utf8`, but browsers know it
/// (WHATWG Encoding section 4.2) and clients send it.
pub(crate) fn is_utf8(charset: &str) -> bool {
    const NAMES: [&str; 4] = ["utf-8", "utf8", "us-ascii", "ascii"];
    NAMES.iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// Returns a client's text in a form that may be shown to the client.
pub(crate) fn shown(text: &str) -> String {
    let visible = |c: char| if c == ' ' || c.is_ascii_graphic() && c != '`' { c } else { '?' };
    text.chars().take(MAX_SHOWN).map(visible).collect()
}

/// Splits a text at the semicolons outside of quoted strings. Returns `None` if a quoted string does not end.
fn pieces(text: &str) -> Option<Vec<&str>> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'"' => is_quoted = !is_quoted,
            b';' if !is_quoted => {
                pieces.push(text.get(start..index)?);
                start = index + 1;
            }
            // Old browsers write a backslash in a file name as it is.
            b'\\' if is_quoted => is_escaped = matches!(text.as_bytes().get(index + 1), Some(b'"' | b'\\')),
            _ => {}
        }
    }
    pieces.push(text.get(start..)?);
    (!is_quoted).then_some(pieces)
}

/// Returns a value without its quotes. Returns `None` if it has quotes, but is not quoted as a whole.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(Cow::Borrowed(value));
    };
    // The first quote was removed already, so that a single quote does not count as both.
    let inner = rest.strip_suffix('"')?;
    if !inner.contains(['"', '\\']) {
        return Some(Cow::Borrowed(inner));
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(characters.next_if(|next| matches!(next, '"' | '\\')).unwrap_or('\\')),
            '"' => return None,
            other => plain.push(other),
        }
    }
    Some(Cow::Owned(plain))
}

/// Returns a text without white space at its ends.
fn trimmed(text: &str) -> &str {
    std::str::from_utf8(trim(text.as_bytes())).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_and_parameters() {
        for (text, value, name, expected) in [
            ("application/json", "application/json", "charset", &[][..]),
            ("a/b;charset=utf-8", "a/b", "CHARSET", &["utf-8"]),
            (" a/b ;\tCharset = \"utf-8\" ; q", "a/b", "charset", &["utf-8"]),
            ("a/b; x=\"a;b=c\"; charset=1; charset=2", "a/b", "charset", &["1", "2"]),
            (r#"form-data; name="a\"b\\c\d"; x"#, "form-data", "name", &[r#"a"b\c\d"#]),
            (r#"form-data; filename="C:\x\"; name=a"#, "form-data", "filename", &[]),
            ("a/b; charset=\"x\"y", "a/b", "charset", &[]),
            ("a/b; charset=x\"y\"", "a/b", "charset", &[]),
            ("a/b; charset=", "a/b", "charset", &[""]),
            ("", "", "charset", &[]),
        ] {
            if text.contains(r"C:\x") {
                assert!(Parameterised::parse(text).is_none(), "the quoted string goes on");
                continue;
            }
            let read = Parameterised::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read.value, value, "{text}");
            assert_eq!(read.all(name).collect::<Vec<_>>(), expected, "{text}");
        }
        assert!(Parameterised::parse("a; b=\"c").is_none());
        assert!(Parameterised::parse("a; b=\"").is_none());
        let twice = Parameterised::parse("a; b=1; B=1; c=2").unwrap();
        assert_eq!(
            (twice.one("b"), twice.one("c"), twice.has("b"), twice.has("d")),
            (None, Some("2"), true, false)
        );
    }

    #[test]
    fn charsets() {
        for (charset, expected) in [
            ("utf-8", true),
            ("UTF8", true),
            ("us-ascii", true),
            ("ASCII", true),
            ("utf-16", false),
            ("utf-8 ", false),
            ("utf_8", false),
            ("iso-8859-1", false),
            ("", false),
        ] {
            assert_eq!(is_utf8(charset), expected, "{charset}");
        }
        let both = Parameterised::parse("a/b; charset=utf8; charset=utf-16").unwrap();
        assert_eq!(both.other_charset(), Some("utf-16"));
    }

    #[test]
    fn what_is_shown_is_short_and_printable() {
        assert_eq!(shown("a/b \u{1b}[`é"), "a/b ?[??");
        assert_eq!(shown(&"x".repeat(1000)).len(), MAX_SHOWN);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            if let Some(read) = Parameterised::parse(&text) {
                let _ = (read.one("charset").map(str::len), read.other_charset().map(str::len));
            }
            prop_assert!(shown(&text).chars().all(|c| c == ' ' || c.is_ascii_graphic()));
        }
    }
}
