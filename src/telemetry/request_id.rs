//! `X-Request-Id`: what ties a user's screenshot, the app's log and ours together.

use std::cell::RefCell;

use aws_lc_rs::rand;
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header's name.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of an id that is taken from a proxy.
const MAX_LENGTH: usize = 64;

thread_local! {
    /// This thread's ids come from here: random at first, so that no two threads or replicas make the same.
    static GENERATORS: RefCell<[Rng; 2]> = RefCell::new(seeded());
}

/// The id of a request: the one that a trusted proxy gave it, else a fresh one.
pub(crate) fn of(headers: &HeaderMap, is_from_proxy: bool) -> HeaderValue {
    let given = if is_from_proxy { given(headers) } else { None };
    given.cloned().unwrap_or_else(fresh)
}

/// One that could be mistaken for something else, in a log or by an app, is none.
fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = value.as_bytes();
    ((1..=MAX_LENGTH).contains(&bytes.len()) && bytes.iter().all(is_plain)).then_some(value)
}

/// 128 bits as hexadecimal digits. Unique, and no secret: nothing may be granted to who knows it.
pub(crate) fn fresh() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let [high, low] = next();
    let mut rest = (u128::from(high) << 64) | u128::from(low);
    let mut text = [0; 32];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS.get((rest & 15) as usize).copied().unwrap_or_default();
        rest >>= 4;
    }
    // Digits are always a header value.
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// The next 128 bits of this thread, from two generators of 64 bits. The system's own generator would cost more than the rest
/// of the work on a public route.
fn next() -> [u64; 2] {
    GENERATORS.with_borrow_mut(|generators| generators.each_mut().map(|generator| generator.u64(..)))
}

fn seeded() -> [Rng; 2] {
    let mut seeds = [[0; 8]; 2];
    for seed in &mut seeds {
        // Without randomness ids are only unique within a thread, which is better than no answer.
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
