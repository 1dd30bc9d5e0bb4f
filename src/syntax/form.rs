//! Reads forms (`application/x-www-form-urlencoded`) strictly, as security requires: UTF-8, complete percent encodings,
//! and no duplicate names. Two readers may take different fields of one name. [`pairs`] leaves it to its caller to
//! check for duplicates.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The fields of a form. Values may be secrets: they are zeroised when dropped.
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, Zeroizing<String>)>);

/// The reason why a body is not accepted as a form. It repeats nothing of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    /// The body is not UTF-8, or has a `%` without two hexadecimal digits.
    #[error("the body is not a form")]
    Malformed,
    /// A name comes twice.
    #[error("a field comes twice")]
    Duplicate,
}

impl Fields<'_> {
    /// Removes a field, and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Zeroizing<String>> {
        let position = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.swap_remove(position).1)
    }
}

/// Reads a form strictly (WHATWG URL section 5.1).
pub(crate) fn parse(body: &[u8]) -> Result<Fields<'_>, FormError> {
    let mut fields: Vec<(Cow<'_, str>, Zeroizing<String>)> = Vec::new();
    for Pair { name, value } in pairs(body)? {
        if fields.iter().any(|(known, _)| *known == name) {
            return Err(FormError::Duplicate);
        }
        fields.push((name, value.unwrap_or_default()));
    }
    Ok(Fields(fields))
}

/// A name and its value. The value is `None` if the pair has no `=`.
pub(crate) struct Pair<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: Option<Zeroizing<String>>,
}

/// Reads a form whose names may come twice.
pub(crate) fn pairs(body: &[u8]) -> Result<Vec<Pair<'_>>, FormError> {
    let text = std::str::from_utf8(body).map_err(|_| FormError::Malformed)?;
    let read = |pair| {
        let (name, value) = match str::split_once(pair, '=') {
            Some((name, value)) => (name, Some(decode(value)?)),
            None => (pair, None),
        };
        Some(Pair { name: decode(name)?, value: value.map(|value| Zeroizing::new(value.into_owned())) })
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| read(pair).ok_or(FormError::Malformed)).collect()
}

/// Decodes one name or value.
fn decode(encoded: &str) -> Option<Cow<'_, str>> {
    if !encoded.contains(['+', '%']) {
        return Some(Cow::Borrowed(encoded));
    }
    let spaced = encoded.replace('+', " ");
    let complete = spaced.split('%').skip(1).all(|rest| {
        rest.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !complete {
        return None;
    }
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}
