//! `X-Request-Id`: the id by which a user's screenshot, the app's log and our log can be compared.

use std::cell::RefCell;

use aws_lc_rs::rand;
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header's name.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most bytes of an id that is taken from a proxy.
const MAX_LENGTH: usize = 64;

thread_local! {
    /// The generators of this thread's ids. They begin with random seeds, so that no two threads or replicas make the
    /// same ids.
    static GENERATORS: RefCell<[Rng; 2]> = RefCell::new(seeded());
}

/// Returns the id of a request: the one that a trusted proxy gave it, or else a fresh one.
pub(crate) fn of(headers: &HeaderMap, is_from_proxy: bool) -> HeaderValue {
    let given = if is_from_proxy { given(headers) } else { None };
    given.cloned().unwrap_or_else(fresh)
}

/// Returns the id that came with the request. An id that a log or an app could take for something else is ignored.
fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = value.as_bytes();
    ((1..=MAX_LENGTH).contains(&bytes.len()) && bytes.iter().all(is_plain)).then_some(value)
}

/// Returns 128 bits as hexadecimal digits. They are unique, but not secret: knowledge of an id must not give any right.
pub(crate) fn fresh() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let [high, low] = next();
    let mut rest = (u128::from(high) << 64) | u128::from(low);
    let mut text = [0; 32];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS.get((rest & 15) as usize).copied().unwrap_or_default();
        rest >>= 4;
    }
    // Digits are always a valid header value.
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// Returns the next 128 bits of this thread, from two generators of 64 bits. The system's own generator would cost more
/// than the rest of the work on a public route.
fn next() -> [u64; 2] {
    GENERATORS.with_borrow_mut(|generators| generators.each_mut().map(|generator| generator.u64(..)))
}

fn seeded() -> [Rng; 2] {
    let mut seeds = [[0; 8]; 2];
    for seed in &mut seeds {
        // Without randomness, ids are unique only within a thread. That is better than no answer.
        let _ = rand::fill(seed);
    }
    seeds.map(|seed| Rng::with_seed(u64::from_ne_bytes(seed)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn taken(values: &[&str], is_from_proxy: bool) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, HeaderValue::from_str(value).unwrap());
        }
        values.first().is_some_and(|first| of(&headers, is_from_proxy).as_bytes() == first.as_bytes())
    }

    #[test]
    fn only_a_proxy_s_plain_and_single_one_is_taken() {
        assert!(taken(&["0af7651916cd43dd8448eb211c80319c"], true));
        assert!(taken(&["a_B-1.2"], true) && taken(&["x".repeat(64).as_str()], true));
        assert!(!taken(&["0af7651916cd43dd8448eb211c80319c"], false));
        for refused in ["", "a b", "a\"b", "a=b", "<a>", "a,b", "x".repeat(65).as_str()] {
            assert!(!taken(&[refused], true), "{refused}");
        }
        assert!(!taken(&["a", "a"], true));
    }

    #[test]
    fn fresh_ones_are_hexadecimal_and_differ_over_threads() {
        let make = || (0..1000).map(|_| fresh()).collect::<Vec<_>>();
        let others = std::thread::spawn(make).join().unwrap();
        let ids: HashSet<_> = make().into_iter().chain(others).collect();
        assert_eq!(ids.len(), 2000);
        assert!(ids.iter().all(|id| id.len() == 32 && id.as_bytes().iter().all(u8::is_ascii_hexdigit)));
    }
}
