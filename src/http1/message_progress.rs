//! Follows a message on a connection by the bytes that went over it.

use crate::syntax::app_head::AppHeadRefusal;

use super::chunked::Decoder;
use super::head::{AnswerHead, BodyEnd, RequestHead};

/// The most bytes of a head. The reader has refused a longer one already.
const MAX_HEAD: usize = 2 * 1024 * 1024;

#[derive(Debug, Clone)]
enum Part {
    /// The bytes of the head so far, if the head did not come all at once.
    Head(Vec<u8>),
    Length(u64),
    Chunked(Decoder),
    /// The end is not known.
    Unknown,
    Ended,
}

impl Part {
    fn body(end: BodyEnd, decoder: Decoder) -> Self {
        match end {
            BodyEnd::None => Self::Ended,
            BodyEnd::Length(length) => Self::Length(length),
            BodyEnd::Chunked => Self::Chunked(decoder),
            BodyEnd::Unknown => Self::Unknown,
        }
    }

    /// Follows the bytes up to the message's end, and returns how many of them belong to the message.
    fn follow_body(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Head(_) | Self::Ended => 0,
            Self::Unknown => bytes.len(),
            Self::Length(left) => {
                let length = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::Ended;
                }
                length
            }
            Self::Chunked(decoder) => {
                let Ok(length) = decoder.follow(bytes) else {
                    *self = Self::Unknown;
                    return bytes.len();
                };
                if decoder.is_done() {
                    *self = Self::Ended;
                }
                length
            }
        }
    }
}

/// Adds `bytes` to `before`, and reads a head from both. Returns the head, and how many of `bytes` belong to it.
fn read_head<T>(
    before: &mut Vec<u8>,
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Option<(T, usize)>,
) -> Option<(T, usize)> {
    if before.is_empty() {
        // Nearly always the whole head comes at once.
        if let Some(head) = read(bytes) {
            return Some(head);
        }
        before.extend_from_slice(bytes);
        return None;
    }
    let known = before.len();
    before.extend_from_slice(bytes);
    let (head, length) = read(before)?;
    Some((head, length.saturating_sub(known)))
}

/// A request that is being written.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    part: Part,
    is_head: bool,
    has_body: bool,
}

/// The error for bytes that do not belong to the one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Surplus;

impl Outgoing {
    pub(crate) const fn new() -> Self {
        Self { part: Part::Head(Vec::new()), is_head: false, has_body: false }
    }

    pub(crate) const fn is_ended(&self) -> bool {
        matches!(self.part, Part::Ended)
    }

    /// Returns true if the request is known to be more than a head.
    pub(crate) const fn has_body(&self) -> bool {
        self.has_body
    }

    /// Returns true if the answer will have no body.
    pub(crate) const fn is_head(&self) -> bool {
        self.is_head
    }

    /// Follows the bytes that are written.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Result<(), Surplus> {
        let mut rest = bytes;
        if let Part::Head(before) = &mut self.part {
            let Some((head, length)) = read_head(before, rest, RequestHead::read) else { return Ok(()) };
            self.is_head = head.is_head;
            self.part = Part::body(head.body, Decoder::of_request());
            self.has_body = !self.is_ended();
            rest = rest.get(length..).unwrap_or_default();
        }
        let length = self.part.follow_body(rest);
        let is_exact = length == rest.len() && !matches!(self.part, Part::Unknown);
        if is_exact { Ok(()) } else { Err(Surplus) }
    }
}

/// An answer that is being read or passed on.
#[derive(Debug)]
pub(crate) struct Incoming {
    part: Part,
    head: Option<AnswerHead>,
    /// An interim head has said that nothing may follow on the connection.
    is_last: bool,
    refusal: Option<AppHeadRefusal>,
}

impl Incoming {
    pub(crate) const fn new() -> Self {
        Self { part: Part::Head(Vec::new()), head: None, is_last: false, refusal: None }
    }

    pub(crate) const fn is_ended(&self) -> bool {
        matches!(self.part, Part::Ended)
    }

    /// Returns the final head, once it has come.
    pub(crate) const fn head(&self) -> Option<&AnswerHead> {
        self.head.as_ref()
    }

    /// Returns the reason why a head cannot be used. It is then not known what comes after the head.
    pub(crate) const fn refusal(&self) -> Option<AppHeadRefusal> {
        self.refusal
    }

    pub(crate) const fn is_chunked(&self) -> bool {
        matches!(self.part, Part::Chunked(_))
    }

    /// Notes that the caller has found the answer's end.
    pub(crate) fn end(&mut self) {
        self.part = Part::Ended;
    }

    /// Follows the bytes up to the end of the final head, and returns how many of them belong to heads.
    pub(crate) fn follow_heads(&mut self, bytes: &[u8], is_to_head: bool) -> usize {
        let mut rest = bytes;
        while let Part::Head(before) = &mut self.part {
            let Some((head, length)) = read_head(before, rest, |bytes| AnswerHead::read(bytes, is_to_head))
            else {
                if before.len() > MAX_HEAD {
                    self.part = Part::Unknown;
                }
                return bytes.len();
            };
            let mut head = match head {
                Ok(head) => head,
                Err(refusal) => {
                    self.refusal = Some(refusal);
                    self.part = Part::Unknown;
                    return bytes.len();
                }
            };
            rest = rest.get(length..).unwrap_or_default();
            if head.is_interim {
                self.is_last |= !head.persists;
                self.part = Part::Head(Vec::new());
                if rest.is_empty() {
                    break;
                }
            } else {
                head.persists &= !self.is_last;
                self.part = Part::body(head.body, Decoder::of_answer());
                self.head = Some(head);
            }
        }
        bytes.len() - rest.len()
    }

    /// Follows the bytes of the body, and returns how many of them belong to it.
    pub(crate) fn follow_body(&mut self, bytes: &[u8]) -> usize {
        self.part.follow_body(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_exact_message_may_be_written_and_nothing_else() {
        for (message, is_whole) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\n", false),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", true),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell", false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", false),
        ] {
            for size in [1, 3, 1000] {
                let mut outgoing = Outgoing::new();
                for piece in message.as_bytes().chunks(size) {
                    assert_eq!(outgoing.follow(piece), Ok(()), "{message:?}");
                }
                assert_eq!(outgoing.is_ended(), is_whole, "{message:?}");
                if is_whole {
                    for surplus in ["0\r\n\r\n", "\r\n", "GET / HTTP/1.1\r\n\r\n"] {
                        assert_eq!(outgoing.clone().follow(surplus.as_bytes()), Err(Surplus), "{message:?}");
                    }
                    assert_eq!(Outgoing::new().follow(format!("{message}x").as_bytes()), Err(Surplus));
                }
            }
        }
        for no_message in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ] {
            assert_eq!(Outgoing::new().follow(no_message.as_bytes()), Err(Surplus), "{no_message:?}");
        }
        let mut head = Outgoing::new();
        head.follow(b"HEAD / HTTP/1.1\r\n\r\n").unwrap();
        assert!(head.is_head());
    }

    const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";

    proptest! {
        #[test]
        fn an_answer_ends_where_it_ends_however_it_is_cut(
            interim in 0_usize..3,
            framing in 0_usize..4,
            body in prop::collection::vec(any::<u8>(), 0..300),
            surplus in prop::collection::vec(any::<u8>(), 0..20),
            cuts in prop::collection::vec(1_usize..60, 1..40),
        ) {
            let mut answer = INTERIM.repeat(interim).into_bytes();
            let is_to_head = framing == 3;
            match framing {
                1 => {
                    answer.extend_from_slice(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(70) {
                        answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                        answer.extend_from_slice(chunk);
                        answer.extend_from_slice(b"\r\n");
                    }
                    answer.extend_from_slice(b"0\r\n\r\n");
                }
                2 => answer.extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n"),
                _ => {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    answer.extend_from_slice(head.as_bytes());
                    answer.extend_from_slice(if is_to_head { &[] } else { &body });
                }
            }
            let all = [answer.clone(), surplus].concat();
            let (mut incoming, mut belongs, mut rest) = (Incoming::new(), 0, all.as_slice());
            let mut cut = cuts.iter().cycle();
            while !rest.is_empty() && !incoming.is_ended() {
                let (piece, after) = rest.split_at(rest.len().min(*cut.next().unwrap()));
                let heads = incoming.follow_heads(piece, is_to_head);
                belongs += heads + incoming.follow_body(&piece[heads..]);
                rest = after;
            }
            prop_assert!(incoming.is_ended());
            prop_assert_eq!(belongs, answer.len());
        }
    }
}
