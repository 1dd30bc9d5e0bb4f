//! The rule for the head of an app's answer: **it has one meaning, or the client gets 502.**
//!
//! This module does no I/O, and is the only place for the rule. [`crate::http1::head`] applies the rule to the bytes
//! that an app sends over HTTP/1.1, since a parsed head no longer shows some violations. `gateway/app_answer.rs`
//! applies it to the parsed head, for every version of HTTP, and also removes superfluous fields.

use std::ops::RangeInclusive;

use crate::syntax::framing_fields::number;
use crate::syntax::list_field::trim;

/// All valid statuses (RFC 9110 section 15).
const STATUSES: RangeInclusive<u16> = 100..=599;

/// The number of fields that a head over HTTP/1.1 may have. Pingora reads no more.
pub(crate) const MAX_FIELDS: usize = 256;

/// The reason why a head has no meaning, or more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppHeadRefusal {
    #[error("it does not begin with a status line of HTTP/1.1 or HTTP/1.0")]
    StatusLine,
    #[error("its status is none")]
    Status,
    #[error("an interim answer in HTTP/1.0, which has none")]
    InterimOfHttp10,
    #[error("it switches to a protocol that was not asked for")]
    Switch,
    #[error("its Content-Length is no length, or several")]
    Length,
    #[error("its Transfer-Encoding is not one `chunked`")]
    Coding,
    #[error("a Transfer-Encoding in HTTP/1.0, which has none")]
    CodingOfHttp10,
    #[error("it has a Content-Length and a Transfer-Encoding")]
    TwoFramings,
    #[error("a field that frames the answer is folded")]
    Folded,
    #[error("it is too large")]
    TooLarge,
    #[error("it has more than 256 header fields")]
    TooManyFields,
}

/// Refuses a number that is not a status.
pub(crate) fn check_status(status: u16) -> Result<(), AppHeadRefusal> {
    if STATUSES.contains(&status) { Ok(()) } else { Err(AppHeadRefusal::Status) }
}

/// The framing that a head gives to its body, gathered field by field.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Framing {
    /// `Content-Length`.
    pub(crate) length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub(crate) is_chunked: bool,
}

impl Framing {
    /// Adds a `Content-Length`. The same one again changes nothing (RFC 9110 section 8.6).
    pub(crate) fn add_length(&mut self, value: &[u8]) -> Result<(), AppHeadRefusal> {
        // The value is not read as a list field, because an empty member is not a length.
        for value in value.split(|&byte| byte == b',') {
            let length = number(trim(value)).ok_or(AppHeadRefusal::Length)?;
            if self.length.replace(length).is_some_and(|known| known != length) {
                return Err(AppHeadRefusal::Length);
            }
        }
        Ok(())
    }

    /// Adds a `Transfer-Encoding`. The value is not read as a list: a value with a second member, even an empty one, is
    /// refused.
    pub(crate) fn add_coding(&mut self, value: &[u8]) -> Result<(), AppHeadRefusal> {
        let is_chunked = trim(value).eq_ignore_ascii_case(b"chunked");
        if self.is_chunked || !is_chunked {
            return Err(AppHeadRefusal::Coding);
        }
        self.is_chunked = true;
        Ok(())
    }

    /// Returns the framing, if it has one meaning (RFC 9112 sections 6.1 and 6.3).
    pub(crate) fn check(self, is_http_10: bool) -> Result<Self, AppHeadRefusal> {
        match self {
            Self { length: Some(_), is_chunked: true } => Err(AppHeadRefusal::TwoFramings),
            Self { is_chunked: true, .. } if is_http_10 => Err(AppHeadRefusal::CodingOfHttp10),
            one => Ok(one),
        }
    }
}

/// Returns true for an interim answer, which another head follows (RFC 9110 section 15.2). No head follows a 101.
pub(crate) const fn is_interim(status: u16) -> bool {
    matches!(status, 100 | 102..=199)
}

/// Returns true for an answer that has no body, whatever its fields say (RFC 9112 section 6.3).
pub(crate) const fn has_no_body(is_to_head: bool, status: u16) -> bool {
    is_to_head || matches!(status, 100..=199 | 204 | 304)
}

#[cfg(test)]
mod tests {
    use AppHeadRefusal::{Coding, CodingOfHttp10, Length, Status, TwoFramings};

    use super::*;

    fn read(lengths: &[&str], codings: &[&str], is_http_10: bool) -> Result<Framing, AppHeadRefusal> {
        let mut framing = Framing::default();
        lengths.iter().try_for_each(|value| framing.add_length(value.as_bytes()))?;
        codings.iter().try_for_each(|value| framing.add_coding(value.as_bytes()))?;
        framing.check(is_http_10)
    }

    #[test]
    fn a_length_is_one_number_however_often_it_is_said() {
        for values in [&["5"][..], &["5", "5"], &["5, 5"], &["5 ,5", "005"], &["\t5 "]] {
            let framing = Framing { length: Some(5), is_chunked: false };
            assert_eq!(read(values, &[], false), Ok(framing), "{values:?}");
            assert_eq!(read(values, &[], true), Ok(framing), "{values:?}");
            assert_eq!(read(values, &["chunked"], false), Err(TwoFramings), "{values:?}");
        }
        for values in [
            &[""][..],
            &["5", ""],
            &["5,"],
            &["5, 6"],
            &["5", "6"],
            &["+5"],
            &["-5"],
            &["5 5"],
            &["0x5"],
            &["5.0"],
            &["\"5\""],
            &["٥"],
            &["9223372036854775808"],
            &["18446744073709551621"],
        ] {
            assert_eq!(read(values, &[], false), Err(Length), "{values:?}");
        }
    }

    #[test]
    fn a_coding_is_chunked_once_and_of_http_1_1() {
        for values in [&["chunked"][..], &[" Chunked\t"]] {
            assert_eq!(
                read(&[], values, false),
                Ok(Framing { length: None, is_chunked: true }),
                "{values:?}"
            );
            assert_eq!(read(&[], values, true), Err(CodingOfHttp10), "{values:?}");
        }
        for values in [
            &[""][..],
            &["chunked", "chunked"],
            &["chunked, chunked"],
            &["chunked, "],
            &[",chunked"],
            &["gzip, chunked"],
            &["gzip", "chunked"],
            &["chunked", "gzip"],
            &["identity"],
            &["chunked;q=1"],
            &["xchunked"],
        ] {
            assert_eq!(read(&[], values, false), Err(Coding), "{values:?}");
        }
        assert_eq!(read(&[], &[], true), Ok(Framing::default()));
    }

    #[test]
    fn answers_without_a_body() {
        for (status, expected) in [(100, true), (101, true), (199, true), (204, true), (304, true)] {
            assert_eq!(has_no_body(false, status), expected, "{status}");
        }
        for (status, expected) in
            [(99, false), (100, true), (101, false), (102, true), (199, true), (200, false)]
        {
            assert_eq!(is_interim(status), expected, "{status}");
        }
        for status in [200, 205, 206, 303, 404, 500] {
            assert!(!has_no_body(false, status) && has_no_body(true, status), "{status}");
        }
    }

    #[test]
    fn statuses_are_those_of_five_classes() {
        for status in [100, 101, 200, 304, 418, 599] {
            assert_eq!(check_status(status), Ok(()), "{status}");
        }
        for status in [0, 99, 600, 999] {
            assert_eq!(check_status(status), Err(Status), "{status}");
        }
    }
}
