//! The cost of each step of a decision: `cargo bench --bench decision`.

#[path = "support/decisions.rs"]
mod decisions;
#[path = "support/issuer.rs"]
mod issuer;
#[path = "support/store.rs"]
mod store;

use std::borrow::Cow;
use std::sync::Arc;

use decisions::Prepared;
use divan::{Bencher, black_box};
use issuer::Issuer;
use portcullis::access::decision::{Decision, decide};
use portcullis::access::identity::Identity;
use portcullis::access::lifetime::Lifetime;
use portcullis::access::token;
use portcullis::access::verified_tokens::Scope;

/// As in the shipped binary.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn prepared(algorithm: &str) -> Prepared {
    let prepared = Issuer::new(algorithm).and_then(|issuer| Prepared::new(&issuer));
    prepared.unwrap_or_else(|error| panic!("{error}"))
}

fn access_token(prepared: &Prepared) -> Cow<'_, str> {
    prepared.rules.cookies.read(&prepared.headers).access_token.0.unwrap_or_default()
}

/// The whole decision about a request whose token has been verified before.
#[divan::bench]
fn decide_with_a_verified_token(bencher: Bencher) {
    let prepared = prepared("RS256");
    let first = decide(&prepared.rules, &prepared.request(), &prepared.known());
    assert!(matches!(&first, Decision::Forward(permit) if permit.identity().is_some()), "{first:?}");
    bencher.bench_local(|| {
        let request = black_box(prepared.request());
        // Dropped in the measured part, as at a request's end.
        drop(black_box(decide(&prepared.rules, &request, &prepared.known())));
    });
}

#[divan::bench]
fn read_cookies(bencher: Bencher) {
    let prepared = prepared("RS256");
    bencher.bench_local(|| {
        let cookies = prepared.rules.cookies.read(black_box(&prepared.headers));
        black_box(cookies.access_token.is_some())
    });
}

#[divan::bench]
fn strip_cookies(bencher: Bencher) {
    let prepared = prepared("RS256");
    let value = prepared.headers.get(http::header::COOKIE).cloned();
    bencher.bench_local(|| value.as_ref().and_then(|value| prepared.rules.cookies.strip(black_box(value))));
}

#[divan::bench]
fn find_a_verified_token(bencher: Bencher) {
    let prepared = prepared("RS256");
    let token = access_token(&prepared);
    let now = prepared.known().now;
    let identity = token::verify(&token, &prepared.rules.token, &prepared.keys, now)
        .and_then(|verified| Identity::new(verified.claims, &prepared.rules.identity))
        .unwrap_or_else(|error| panic!("{error}"));
    let scope = Scope { app: prepared.rules.app_number, key_generation: 1 };
    prepared.memory.verified.insert(&token, scope, &Arc::new(identity), Lifetime::UNLIMITED, now);
    bencher.bench_local(|| prepared.memory.verified.get(black_box(&token), scope, now));
}

#[divan::bench(args = ["RS256", "ES256", "EdDSA"])]
fn verify(bencher: Bencher, algorithm: &str) {
    let prepared = prepared(algorithm);
    let token = access_token(&prepared);
    let (rules, now) = (&prepared.rules.token, prepared.known().now);
    assert!(token::verify(&token, rules, &prepared.keys, now).is_ok());
    bencher.bench_local(|| token::verify(black_box(&token), rules, &prepared.keys, now));
}
