//! The sealed refresh token cookie.
//!
//! An input is a refresh token, what is recorded beside it, and changes of the cookie. What was sealed is opened again
//! as it was, by the same app with any of its keys; whatever else comes, nothing is opened.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use portcullis::access::numbers::ProviderNumber;
use portcullis::access::revocations::Mark;
use portcullis::access::seal::{Seal, SessionRecord};
use portcullis::config::SealKey;

const COOKIE: &str = "__Host-refresh_token";

struct Seals {
    store: Seal,
    after_a_new_key: Seal,
    forums: Seal,
    another_cookie: Seal,
    another_key: Seal,
}

static SEALS: LazyLock<Seals> = LazyLock::new(|| {
    let seal = |keys: &[u8], app, cookie| {
        let keys: Vec<_> = keys.iter().map(|key| SealKey::new([*key; 32])).collect();
        Seal::new(&keys, app, cookie).expect("a key")
    };
    Seals {
        store: seal(&[1], "store", COOKIE),
        after_a_new_key: seal(&[2, 1], "store", COOKIE),
        forums: seal(&[1], "forums", COOKIE),
        another_cookie: seal(&[1], "store", "__Host-access_token"),
        another_key: seal(&[2], "store", COOKIE),
    }
});

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    refresh_token: &'a str,
    id: [u8; 16],
    subject: &'a str,
    times: [u64; 3],
    /// The place of a byte of the cookie that is replaced, and its replacement.
    change: (u16, u8),
    /// A cookie of anybody.
    foreign: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    let [access_token_expires_at, started_at, renewed_at] = input.times;
    let provider = ProviderNumber::of_issuer("https://id.example.com");
    let record = SessionRecord {
        id: input.id,
        subject: Mark::subject(provider, input.subject),
        access_token: Mark::token(provider, input.subject),
        access_token_expires_at,
        started_at,
        renewed_at,
    };
    let cookie = SEALS.store.close(input.refresh_token, &record).expect("sealed");
    for seal in [&SEALS.store, &SEALS.after_a_new_key] {
        match seal.open(&cookie) {
            Some((refresh_token, opened)) => {
                assert_eq!((refresh_token.as_str(), opened), (input.refresh_token, record));
            }
            None => assert!(input.refresh_token.is_empty(), "an empty refresh token is none"),
        }
    }
    for seal in [&SEALS.forums, &SEALS.another_cookie, &SEALS.another_key] {
        assert!(seal.open(&cookie).is_none(), "of another app, cookie or key");
    }
    let mut changed = cookie.to_string().into_bytes();
    let at = usize::from(input.change.0) % changed.len();
    changed[at] = input.change.1;
    if let Ok(changed) = std::str::from_utf8(&changed)
        && changed != *cookie
    {
        assert!(SEALS.store.open(changed).is_none(), "a changed cookie: {changed}");
    }
    assert!(SEALS.store.open(input.foreign).is_none(), "anybody's cookie");
});
