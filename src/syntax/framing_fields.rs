//! The fields that state the end of a message, and if another message may follow. They are read in one way for clients
//! and apps, and for all versions of HTTP.

use http::{HeaderMap, HeaderName, header};

use crate::syntax::list_field::{self, members};

/// The field in which peers from before HTTP/1.1 say how long they keep a connection.
pub(crate) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The field that some clients send to a proxy instead of `Connection`.
pub(crate) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Reads a number: only digits, and below 2^63, since others may count in a signed type.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| is_number)?.parse::<u64>().ok()?;
    (number >> 63 == 0).then_some(number)
}

/// Returns the `Content-Length` of a head whose framing has been checked.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    number(headers.get(header::CONTENT_LENGTH)?.as_bytes())
}

/// Returns true if these values of `Expect` say that the client waits for 100 (RFC 9110 section 10.1.1).
pub(crate) fn expects_continue<'a>(
    values: impl IntoIterator<Item = &'a [u8], IntoIter: DoubleEndedIterator>,
) -> bool {
    members(values).any(|expectation| expectation.eq_ignore_ascii_case(b"100-continue"))
}

/// The options of `Connection` that concern the connection itself (RFC 9110 section 7.6.1).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl ConnectionOptions {
    /// Reads all lines of the field.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut options = Self::default();
        list_field::of(headers, &header::CONNECTION).for_each(|option| options.add(option));
        options
    }

    /// Adds one member of the list.
    pub(crate) fn add(&mut self, option: &[u8]) {
        self.close |= option.eq_ignore_ascii_case(b"close");
        self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
    }

    /// Returns true if the sender keeps the connection after the answer (RFC 9112 section 9.3).
    pub(crate) const fn persists(self, is_http_11: bool) -> bool {
        !self.close && (is_http_11 || self.keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn numbers_are_digits_below_2_to_the_63() {
        for (text, expected) in [
            ("0", Some(0)),
            ("005", Some(5)),
            ("00000000000000000000005", Some(5)),
            ("9223372036854775807", Some(i64::MAX.unsigned_abs())),
            ("9223372036854775808", None),
            ("18446744073709551621", None),
            ("", None),
            ("+5", None),
            ("-5", None),
            (" 5", None),
            ("5,5", None),
            ("0x5", None),
            ("٥", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text:?}");
            let mut headers = HeaderMap::new();
            assert_eq!(content_length(&headers), None);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            assert_eq!(content_length(&headers), expected, "{text:?}");
        }
    }

    #[test]
    fn expectations() {
        for (values, expected) in [
            (&["100-continue"][..], true),
            (&["x, 100-Continue ,"], true),
            (&["x", "100-continue"], true),
            (&["100-continued"], false),
            (&["100 continue", ""], false),
            (&[], false),
        ] {
            assert_eq!(expects_continue(values.iter().map(|value| value.as_bytes())), expected, "{values:?}");
        }
    }

    #[test]
    fn options_of_all_lines_count() {
        for (lines, close, keep_alive, upgrade) in [
            (&[][..], false, false, false),
            (&["Close"], true, false, false),
            (&["x, close ,y"], true, false, false),
            (&["keep-alive", "UPGRADE"], false, true, true),
            (&["keep-alive,\tclose"], true, true, false),
            (&["x", "a, Close"], true, false, false),
            (&["closed", "a close"], false, false, false),
            (&["closed", "keep alive", "upgraded"], false, false, false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONNECTION, HeaderValue::from_static(line));
            }
            let options = ConnectionOptions::of(&headers);
            assert_eq!(options, ConnectionOptions { close, keep_alive, upgrade }, "{lines:?}");
            assert_eq!((options.persists(true), options.persists(false)), (!close, !close && keep_alive));
        }
    }
}
