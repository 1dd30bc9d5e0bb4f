//! What a head that is written, or that an app sends, says of its message: where the body ends, and whether another message
//! may follow on the connection.
//!
//! It judges only what it has to. What it finds odd still passes, since Pingora reads it too and may refuse it; but then it
//! is not known where the message ends, and nothing may follow.

use std::time::Duration;

use memchr::memchr;

/// Where a body ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// There is none.
    None,
    /// After this many bytes, at least one.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection, or it is not known where.
    Unknown,
}

/// The head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) body: BodyEnd,
    /// The answer has no body (RFC 9110 section 9.3.2).
    pub(crate) is_head: bool,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    /// 1xx but 101: another head follows.
    pub(crate) is_interim: bool,
    pub(crate) body: BodyEnd,
    /// Another request may follow on the connection.
    pub(crate) persists: bool,
    /// How long the connection is kept without one, if that is said.
    pub(crate) idle: Option<Duration>,
}

/// The fields that matter here.
#[derive(Debug, Default)]
struct Fields<'a> {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    keep_alive: Option<&'a [u8]>,
    /// Something has two readings, or none.
    is_odd: bool,
}

/// One head at the beginning of `bytes`: its first line, its fields, and its length. `None`: its end has not come.
fn read(bytes: &[u8]) -> Option<(&[u8], Fields<'_>, usize)> {
    let mut fields = Fields::default();
    let mut at = 0;
    let first = next_line(bytes, &mut at, &mut fields)?;
    fields.is_odd |= first.is_empty();
    loop {
        let line = next_line(bytes, &mut at, &mut fields)?;
        if line.is_empty() {
            return Some((first, fields, at));
        }
        fields.add(line);
    }
}

/// The line that begins at `at`, without its end; afterwards `at` is behind it.
fn next_line<'a>(bytes: &'a [u8], at: &mut usize, fields: &mut Fields<'_>) -> Option<&'a [u8]> {
    let rest = bytes.get(*at..)?;
    let end = memchr(b'\n', rest)?;
    let line = rest.get(..end)?;
    *at += end + 1;
    let stripped = line.strip_suffix(b"\r");
    // Pingora takes a bare LF for the end of a line, too.
    fields.is_odd |= stripped.is_none();
    Some(stripped.unwrap_or(line))
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) {
        // Nearly every field is out after its first letter.
        match line.first() {
            Some(b'c' | b'C' | b't' | b'T' | b'k' | b'K') => {}
            Some(b' ' | b'\t') => {
                self.is_odd = true;
                return;
            }
            _ => return,
        }
        let Some(colon) = memchr(b':', line) else { return };
        let name = line.get(..colon).unwrap_or_default();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        match name.trim_ascii_end() {
            name if name.eq_ignore_ascii_case(b"content-length") => {
                self.is_odd |= self.length.is_some();
                self.length = number(value);
                self.is_odd |= self.length.is_none();
            }
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.is_odd |= self.is_chunked || !value.eq_ignore_ascii_case(b"chunked");
                self.is_chunked = true;
            }
            name if name.eq_ignore_ascii_case(b"connection") => {
                let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.closes |= options.any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            name if name.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = Some(value),
            _ => {}
        }
    }

    fn body(&self) -> BodyEnd {
        match self.length {
            _ if self.is_odd => BodyEnd::Unknown,
            Some(_) if self.is_chunked => BodyEnd::Unknown,
            None if self.is_chunked => BodyEnd::Chunked,
            Some(length @ 1..) => BodyEnd::Length(length),
            Some(0) | None => BodyEnd::None,
        }
    }

    /// `Keep-Alive: timeout=5`.
    fn idle(&self) -> Option<Duration> {
        let parameters = self.keep_alive?.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let mut timeouts = parameters.filter_map(|parameter| {
            let (name, value) = parameter.split_at_checked("timeout=".len())?;
            name.eq_ignore_ascii_case(b"timeout=").then(|| number(value)).flatten()
        });
        timeouts.next().map(Duration::from_secs)
    }
}

/// Digits and nothing else, below 2^63.
fn number(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| is_number)?.parse::<u64>().ok()?;
    (number >> 63 == 0).then_some(number)
}

impl RequestHead {
    /// Reads a head at the beginning of `bytes`, and says how long it is. `None`: its end has not come.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (first, fields, length) = read(bytes)?;
        Some((Self { body: fields.body(), is_head: first.starts_with(b"HEAD ") }, length))
    }
}

impl AnswerHead {
    /// Reads the head of an answer, to a HEAD request or another, at the beginning of `bytes`, and says how long it is.
    /// `None`: its end has not come.
    pub(crate) fn read(bytes: &[u8], is_to_head: bool) -> Option<(Self, usize)> {
        let (first, fields, length) = read(bytes)?;
        let unknown = Self { is_interim: false, body: BodyEnd::Unknown, persists: false, idle: None };
        let (minor, status) = match first {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor, b' ', status @ ..] => (*minor, status),
            _ => return Some((unknown, length)),
        };
        let head = match status {
            [b'1', b'0', b'1', ..] => unknown,
            [b'1', ..] => Self { is_interim: true, ..unknown },
            _ => {
                let is_without = is_to_head || matches!(status, [b'2' | b'3', b'0', b'4', ..]);
                let body = match fields.body() {
                    BodyEnd::None if fields.length.is_none() && !is_without => BodyEnd::Unknown,
                    body => body,
                };
                // Where a body is announced that must not come, an app may send it all the same, and only later.
                let persists = minor == b'1' && !fields.closes && (body == BodyEnd::None || !is_without);
                let body = if is_without && body != BodyEnd::Unknown { BodyEnd::None } else { body };
                Self {
                    is_interim: false,
                    body,
                    persists: persists && body != BodyEnd::Unknown,
                    idle: fields.idle(),
                }
            }
        };
        Some((head, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_answer_ends_and_whether_another_may_follow() {
        use BodyEnd::{Chunked, Length, None, Unknown};
        // To GET: where the body ends, and whether the connection persists; the same to HEAD.
        type Read = (BodyEnd, bool);
        let cases: &[(&str, Read, Read)] = &[
            ("1.1 200 OK\r\nContent-Length: 5\r\n", (Length(5), true), (None, false)),
            ("1.1 200 OK\r\ncontent-length:5\r\n", (Length(5), true), (None, false)),
            ("1.1 200 OK\r\nContent-Length: 0\r\n", (None, true), (None, true)),
            ("1.1 200 OK\r\n", (Unknown, false), (None, true)),
            ("1.1 200\r\nTransfer-Encoding: Chunked \r\n", (Chunked, true), (None, false)),
            ("1.1 204 No Content\r\n", (None, true), (None, true)),
            ("1.1 204 No Content\r\nContent-Length: 0\r\n", (None, true), (None, true)),
            ("1.1 204 No Content\r\nContent-Length: 5\r\n", (None, false), (None, false)),
            ("1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", (None, false), (None, false)),
            ("1.1 304 Not Modified\r\nETag: a\r\n", (None, true), (None, true)),
            ("1.1 304 Not Modified\r\nContent-Length: 5\r\n", (None, false), (None, false)),
            ("1.1 205 Reset Content\r\n", (Unknown, false), (None, true)),
            // It says that it closes, anywhere and in any case.
            ("1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n", (Length(5), false), (None, false)),
            (
                "1.1 204 No\r\nconnection: x\r\nCONNECTION: keep-alive ,CLOSE\r\n",
                (None, false),
                (None, false),
            ),
            ("1.1 204 No\r\nConnection: closed\r\n", (None, true), (None, true)),
            (
                "1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n",
                (Length(5), false),
                (None, false),
            ),
            ("1.0 204 No\r\n", (None, false), (None, false)),
            // Two readings, or none.
            ("1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", (Unknown, false), (Unknown, false)),
            ("1.1 200 OK\r\nContent-Length: 5, 5\r\n", (Unknown, false), (Unknown, false)),
            ("1.1 200 OK\r\nContent-Length: +5\r\n", (Unknown, false), (Unknown, false)),
            ("1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n", (Unknown, false), (Unknown, false)),
            (
                "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                (Unknown, false),
                (Unknown, false),
            ),
            ("1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", (Unknown, false), (Unknown, false)),
            (
                "1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                (Unknown, false),
                (Unknown, false),
            ),
            ("1.1 200 OK\r\nContent-Length : 5\r\n", (Length(5), true), (None, false)),
            ("1.1 200 OK\r\nContent-Length: 5\r\n folded\r\n", (Unknown, false), (Unknown, false)),
            ("1.1 200 OK\r\nContent-Length: 5\r\nX: y\n", (Unknown, false), (Unknown, false)),
            ("1.1 101 Switching Protocols\r\nContent-Length: 5\r\n", (Unknown, false), (Unknown, false)),
            ("2 200 OK\r\nContent-Length: 5\r\n", (Unknown, false), (Unknown, false)),
        ];
        for (text, to_get, to_head) in cases {
            let bytes = format!("HTTP/{text}\r\nrest");
            for (is_to_head, expected) in [(false, to_get), (true, to_head)] {
                let (head, length) = AnswerHead::read(bytes.as_bytes(), is_to_head).expect(text);
                assert_eq!((head.body, head.persists), *expected, "{text:?}, to HEAD: {is_to_head}");
                assert_eq!(&bytes[length..], "rest", "{text:?}");
                assert!(!head.is_interim, "{text:?}");
            }
        }
    }

    #[test]
    fn interim_answers_are_followed_by_another_head() {
        for status in ["100 Continue", "102 Processing", "103 Early Hints", "199 x"] {
            let bytes = format!("HTTP/1.1 {status}\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n");
            let (head, length) = AnswerHead::read(bytes.as_bytes(), false).expect("a head");
            assert!(head.is_interim, "{status}");
            assert!(bytes[length..].starts_with("HTTP/1.1 200"));
        }
    }

    #[test]
    fn a_head_is_read_once_its_end_has_come() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        for end in 0..bytes.len() {
            assert_eq!(AnswerHead::read(&bytes[..end], false), None, "{end}");
        }
        assert!(AnswerHead::read(bytes, false).is_some());
        // Something else before it: nobody knows what it is.
        let (head, _) = AnswerHead::read(b"\r\nHTTP/1.1 204 No\r\n\r\n", false).expect("a head");
        assert_eq!((head.body, head.persists), (BodyEnd::Unknown, false));
    }

    #[test]
    fn how_long_an_app_keeps_a_connection() {
        for (value, seconds) in [
            ("timeout=5", Some(5)),
            ("max=100, Timeout=7", Some(7)),
            ("timeout=0", Some(0)),
            ("max=100", None),
            ("timeout=x", None),
            ("", None),
        ] {
            let bytes = format!("HTTP/1.1 204 No\r\nKeep-Alive: {value}\r\n\r\n");
            let (head, _) = AnswerHead::read(bytes.as_bytes(), false).expect("a head");
            assert_eq!(head.idle, seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn where_a_request_ends() {
        for (text, body, is_head) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n", BodyEnd::None, false),
            ("HEAD / HTTP/1.1\r\nHost: a\r\n", BodyEnd::None, true),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\n", BodyEnd::None, false),
            ("POST / HTTP/1.1\r\ncontent-length: 7\r\n", BodyEnd::Length(7), false),
            ("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n", BodyEnd::Chunked, false),
            (
                "POST / HTTP/1.1\r\nContent-Length: 7\r\ntransfer-encoding: chunked\r\n",
                BodyEnd::Unknown,
                false,
            ),
        ] {
            let (head, length) = RequestHead::read(format!("{text}\r\nbody").as_bytes()).expect("a head");
            assert_eq!((head, length), (RequestHead { body, is_head }, text.len() + 2), "{text:?}");
        }
    }
}
