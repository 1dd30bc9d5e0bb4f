//! Reads `multipart/form-data` (RFC 7578, RFC 2046 section 5.1) strictly, as security requires: the body must be
//! complete, and have only one reading.
//!
//! Parts are borrowed from the body, which may hold a password. So no copies are made that would have to be zeroised.

use memchr::memmem;

use crate::syntax::list_field::trim;
use crate::syntax::media_type::Parameterised;

/// The most characters of a boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// One field of the form.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// The field's name.
    pub(crate) name: String,
    /// The field has a file name, which may be empty.
    pub(crate) is_file: bool,
    /// The part's `Content-Type`. Without one, the part is plain text.
    pub(crate) media_type: Option<Parameterised<'a>>,
    /// The part's `Content-Transfer-Encoding` changes its bytes. RFC 7578 section 4.7 has no such encodings.
    pub(crate) is_encoded: bool,
    /// The part's bytes.
    pub(crate) value: &'a [u8],
}

/// Returns true if the text is a valid boundary (RFC 2046 section 5.1.1).
pub(crate) fn is_boundary(boundary: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(is_known) && !boundary.ends_with(' ')
}

/// Reads all parts. Returns `None` if the body is not complete or has two readings.
pub(crate) fn parse<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let line = format!("\r\n--{boundary}");
    let delimiter = memmem::Finder::new(&line);
    // The first delimiter may begin the body. Bytes before it belong to no part.
    let mut rest = match body.strip_prefix(line.as_bytes().get(2..)?) {
        Some(rest) => rest,
        None => after(body, &delimiter)?.1,
    };
    let mut parts = Vec::new();
    loop {
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            let is_end = without_padding(epilogue);
            return (is_end.is_empty() || is_end.starts_with(b"\r\n")).then_some(parts);
        }
        // If anything but padding follows a boundary, one reader takes it for data and another for a delimiter.
        rest = without_padding(rest).strip_prefix(b"\r\n")?;
        if rest.starts_with(line.as_bytes().get(2..)?) {
            return None;
        }
        let (content, next) = after(rest, &delimiter)?;
        parts.push(part(content)?);
        rest = next;
    }
}

/// Returns the bytes before and after the next delimiter.
fn after<'a>(bytes: &'a [u8], delimiter: &memmem::Finder<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let start = delimiter.find(bytes)?;
    Some((bytes.get(..start)?, bytes.get(start + delimiter.needle().len()..)?))
}

/// Removes the white space that mail gateways add to a delimiter.
const fn without_padding(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn part(content: &[u8]) -> Option<Part<'_>> {
    let end = memmem::find(content, b"\r\n\r\n")?;
    let (head, value) = (content.get(..end)?, content.get(end + 4..)?);
    let (mut disposition, mut media_type, mut is_encoded) = (None, None, false);
    for line in std::str::from_utf8(head).ok()?.split("\r\n") {
        // A line that begins with white space would continue the field before it. No such line is needed here.
        if line.starts_with([' ', '\t']) || line.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        let (name, value) = line.split_once(':')?;
        let value = std::str::from_utf8(trim(value.as_bytes())).ok()?;
        if name.eq_ignore_ascii_case("content-disposition") {
            if disposition.replace(Parameterised::parse(value)?).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case("content-type") {
            if media_type.replace(Parameterised::parse(value)?).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
            is_encoded |= !["7bit", "8bit", "binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain));
        }
    }
    // By RFC 7578 section 4.2, each part has a name, and no name is encoded as RFC 5987 says.
    let disposition =
        disposition.filter(|disposition| disposition.is("form-data") && !disposition.has("name*"))?;
    let name = disposition.one("name")?.to_owned();
    let is_file = disposition.has("filename") || disposition.has("filename*");
    Some(Part { name, is_file, media_type, is_encoded, value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8]) -> Option<Vec<(String, bool, Vec<u8>)>> {
        let parts = parse(body, "x")?;
        Some(parts.into_iter().map(|part| (part.name, part.is_file, part.value.to_vec())).collect())
    }

    #[test]
    fn parts_and_what_stands_around_them() {
        let expected =
            Some(vec![("a".to_owned(), false, b"1".to_vec()), ("b".to_owned(), true, b"\r\n--".to_vec())]);
        let a = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
        let b = "--x\r\ncontent-type: image/png\r\nCONTENT-DISPOSITION:form-data ; filename=\"\" ; name=\"b\"\r\n\r\n\r\n--\r\n";
        for body in [
            format!("{a}{b}--x--"),
            format!("{a}{b}--x--\r\n"),
            format!("{a}{b}--x-- \t\r\nepilogue\r\n--x\r\n"),
            format!("preamble --x\r\n{a}{b}--x--"),
            format!("\r\n{a}{b}--x--"),
            format!("{a}{b}--x--").replace("--x\r\n", "--x \t\r\n"),
        ] {
            assert_eq!(read(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(read(b"--x--"), Some(Vec::new()));
    }

    #[test]
    fn what_is_not_all_there_or_has_two_readings() {
        let field = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
        for body in [
            String::new(),
            "--x".into(),
            "--x\r\n".into(),
            field.into(),
            format!("{field}--x"),
            format!("{field}--x-"),
            format!("{field}--x--y"),
            format!("{field}--xy\r\n--x--"),
            format!("{field}--x \r--x--"),
            format!("{field}--x\r\n--x--"),
            format!("{field}--x\r\n\r\n1\r\n--x--"),
            format!("{field}--x\r\n1\r\n--x--"),
            format!("{field}--y--"),
            field.replace("\r\n", "\n") + "--x--",
            field.replace(": form", "form") + "--x--",
            field.replace("name=a", "") + "--x--",
            field.replace("name=a", "name=\"a") + "--x--",
            field.replace("name=a", "name=a; name=a") + "--x--",
            field.replace("name=a", "name=a; name*=utf-8''b") + "--x--",
            field.replace("form-data", "inline") + "--x--",
            field.replace("name=a", "\r\n name=a") + "--x--",
            field.replace("name=a", "name=a\r\nContent-Disposition: form-data; name=b") + "--x--",
            field.replace("name=a", "name=a\r\nContent-Type: a/b\r\nContent-Type: a/b") + "--x--",
            field.replace("name=a", "name=\"a\0\"") + "--x--",
        ] {
            assert!(read(body.as_bytes()).is_none(), "{body:?}");
        }
        assert!(read(b"--x\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n1\r\n--x--").is_none());
    }

    #[test]
    fn boundaries() {
        for (boundary, expected) in [
            ("x", true),
            ("----WebKitFormBoundary7MA4YWxkTrZu0gW", true),
            ("a b'()+_,-./:=?", true),
            ("", false),
            ("a ", false),
            ("a\"", false),
            ("a\r\nb", false),
            ("é", false),
        ] {
            assert_eq!(is_boundary(boundary), expected, "{boundary}");
        }
        assert!(is_boundary(&"a".repeat(70)) && !is_boundary(&"a".repeat(71)));
    }

    proptest! {
        /// Whatever fields are written, the same ones are read.
        #[test]
        fn what_is_written_is_read(
            fields in prop::collection::vec(("[a-z_\\[\\]]{0,8}", any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
            boundary in "[a-zA-Z0-9'()+_,./:=?-]{8,70}", preamble in "[a-z\r\n-]{0,10}",
        ) {
            let mut body = preamble.into_bytes();
            if !body.is_empty() {
                body.extend_from_slice(b"\r\n");
            }
            for (name, is_file, value) in &fields {
                let file = if *is_file { "; filename=\"a;b\"" } else { "" };
                body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes());
                body.extend_from_slice(value);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(format!("--{boundary}--").as_bytes());
            let parts = parse(&body, &boundary).expect("a whole form");
            let read: Vec<_> = parts.into_iter().map(|part| (part.name, part.is_file, part.value.to_vec())).collect();
            prop_assert_eq!(&read, &fields);
            // No beginning of it is whole.
            let cut = body.len() / 2;
            prop_assert!(parse(&body[..cut], &boundary).is_none());
        }

        #[test]
        fn never_panics(body in prop::collection::vec(prop::sample::select(b"-x\r\n \tContent-Disposition: form-data; name=\"a\"".to_vec()), 0..200)) {
            let _ = parse(&body, "x");
        }
    }
}
