//! The session's cookies.
//!
//! An input is a token in its first line, and `Cookie` headers, one a line. A token that is written into a browser that
//! had those cookies comes back the same. What is read, and what is left for the app, is as a naive reader of cookies
//! has it.

#![no_main]

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use portcullis::access::cookies::{CookieNames, Presented};
use portcullis::config::{Cookies, SameSite};
use portcullis::session::CookieWriter;
use portcullis_fuzz::{percent_decode, split_line};

const ACCESS: &str = "__Host-access_token";
const REFRESH: &str = "__Host-refresh_token";

fuzz_target!(|input: &[u8]| {
    let (token, lines) = split_line(input);
    let mut headers = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(header::COOKIE, value);
    }
    let presented = check_reading(&headers);
    check_stripping(&headers);
    if let Ok(token) = std::str::from_utf8(token) {
        check_round_trip(token, presented);
    }
});

fn names() -> CookieNames {
    CookieNames { access_token: ACCESS.into(), refresh_token: REFRESH.into() }
}

/// Name and value of each cookie, and what is between the semicolons, without the space around.
fn pairs(value: &HeaderValue) -> Vec<(&[u8], &[u8], &[u8])> {
    let split = |pair: &'_ [u8]| -> (usize, usize) {
        let at = pair.iter().position(|&byte| byte == b'=');
        (at.unwrap_or(pair.len()), at.map_or(pair.len(), |at| at + 1))
    };
    let pairs = value.as_bytes().split(|&byte| byte == b';');
    pairs
        .map(|pair| {
            let (name_end, value_start) = split(pair);
            (pair[..name_end].trim_ascii(), pair[value_start..].trim_ascii(), pair.trim_ascii())
        })
        .collect()
}

/// Which part of which token a cookie of this name is, from 1.
fn part(name: &[u8], of: &str) -> Option<usize> {
    (0..5).find(|part| {
        let expected = if *part == 0 { of.to_owned() } else { format!("{of}.{part}") };
        name == expected.as_bytes()
    })
}

fn check_reading(headers: &HeaderMap) -> Presented {
    let mut found: BTreeMap<(&str, usize), Vec<&[u8]>> = BTreeMap::new();
    for header in headers.get_all(header::COOKIE) {
        for (name, value, pair) in pairs(header) {
            for token in [ACCESS, REFRESH] {
                if let Some(part) = part(name, token).filter(|_| pair.contains(&b'=')) {
                    found.entry((token, part)).or_default().push(value);
                }
            }
        }
    }
    let names = names();
    let cookies = names.read(headers);
    assert_eq!(cookies.duplicate, found.values().any(|values| values.len() > 1));
    let highest = |of: &str| found.keys().filter(|(token, _)| *token == of).map(|(_, part)| part + 1).max();
    let presented = Presented {
        access_token: highest(ACCESS).unwrap_or(0),
        refresh_token: highest(REFRESH).unwrap_or(0),
    };
    assert_eq!(cookies.presented, presented);
    assert!(!cookies.duplicate || cookies.is_empty(), "no token out of two");
    for (name, token) in [(ACCESS, &cookies.access_token), (REFRESH, &cookies.refresh_token)] {
        let Some(token) = &token.0 else { continue };
        assert!(!token.is_empty());
        let first = found[&(name, 0)][0];
        let encoded = match first.strip_prefix(b"!") {
            None => first.to_vec(),
            Some(split) => {
                let fields: Vec<_> = split.splitn(3, |&byte| byte == b'!').collect();
                let count: usize = std::str::from_utf8(fields[0]).expect("digits").parse().expect("a count");
                let others = (1..count).flat_map(|part| found[&(name, part)][0]);
                fields[2].iter().chain(others).copied().collect()
            }
        };
        assert_eq!(percent_decode(&encoded), token.as_bytes());
    }
    presented
}

fn check_stripping(headers: &HeaderMap) {
    let names = names();
    let is_ours = |name: &[u8]| part(name, ACCESS).is_some() || part(name, REFRESH).is_some();
    for header in headers.get_all(header::COOKIE) {
        let all = pairs(header);
        let stripped = names.strip(header);
        if !all.iter().any(|(name, ..)| is_ours(name)) {
            assert_eq!(stripped.as_ref(), Some(header), "none of ours in it");
            continue;
        }
        let others: Vec<_> = all.iter().filter(|(name, ..)| !is_ours(name)).map(|(.., pair)| *pair).collect();
        let left = stripped.as_ref().map(|value| pairs(value)).unwrap_or_default();
        assert!(!left.iter().any(|(name, ..)| is_ours(name)), "the app sees {stripped:?}");
        let whole = |pairs: &mut dyn Iterator<Item = &[u8]>| -> Vec<Vec<u8>> {
            pairs.filter(|pair| !pair.is_empty()).map(<[u8]>::to_vec).collect()
        };
        let left = whole(&mut left.iter().map(|(.., pair)| *pair));
        assert_eq!(left, whole(&mut others.into_iter()), "the app's own cookies are kept");
    }
}

fn check_round_trip(token: &str, presented: Presented) {
    let writer = CookieWriter::new(Cookies {
        access_token: ACCESS.into(),
        refresh_token: REFRESH.into(),
        same_site: SameSite::Lax,
        secure: true,
        domain: None,
        refresh_token_lifetime: None,
    });
    // The browser has parts of an older token.
    let mut jar: BTreeMap<String, String> = BTreeMap::new();
    for part in 0..presented.access_token {
        let suffix = if part == 0 { String::new() } else { format!(".{part}") };
        jar.insert(format!("{ACCESS}{suffix}"), "old".into());
    }
    let Ok(set) = writer.access_token(token, presented) else {
        assert!(token.len() * 3 > 4 * 3800, "{} bytes are refused", token.len());
        return;
    };
    apply(&mut jar, &set);
    assert_eq!(read(&jar), Some(token.to_owned()).filter(|token| !token.is_empty()));
    let count = jar.len();
    let shown = Presented { access_token: count, refresh_token: 0 };
    apply(&mut jar, &writer.clear(shown));
    assert!(jar.is_empty(), "{jar:?} after a logout");
}

/// Applies `Set-Cookie` to the jar, as a browser does.
fn apply(jar: &mut BTreeMap<String, String>, set: &[HeaderValue]) {
    let names = names();
    for header in set {
        assert!(header.len() <= 4096);
        assert!(names.is_overwritten_by(header));
        let text = header.to_str().expect("ASCII");
        let (pair, attributes) = text.split_once(';').expect("attributes");
        assert!(
            attributes.contains("HttpOnly") && attributes.contains("Secure") && attributes.contains("Path=/")
        );
        let (name, value) = pair.split_once('=').expect("a name");
        if attributes.contains("Max-Age=0") {
            jar.remove(name);
        } else {
            jar.insert(name.into(), value.into());
        }
    }
}

fn read(jar: &BTreeMap<String, String>) -> Option<String> {
    let pairs: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let value = HeaderValue::from_str(&pairs.join("; ")).expect("a header value");
    let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
    names().read(&headers).access_token.0.map(std::borrow::Cow::into_owned)
}
