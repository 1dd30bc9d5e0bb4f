//! JWT verification.
//!
//! An input is three lines: who signs (`ed`, `p256`, `stranger`, `hmac`, `nobody`), a header, and claims, both as they
//! are to be signed; or `raw` and a token as it is. Half of the mutations change one member of the header or of the
//! claims and leave them JSON, since few others come past the parser.
//!
//! A token that is accepted was signed by the provider, is acceptable in the opinion of `tokens::Read`, is accepted as
//! what it says, and is refused after any change. Good tokens are accepted.

#![no_main]

use std::sync::LazyLock;

use jsonwebtoken::Algorithm;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use portcullis::access::identity::Identity;
use portcullis::access::identity_rules::IdentityRules;
use portcullis::access::key_set::KeySet;
use portcullis::access::numbers::ProviderNumber;
use portcullis::access::token::{TokenRules, Validity, verify};
use portcullis::config::ClaimPath;
use portcullis_fuzz::tokens::{ISSUER, LEEWAY, Signer, claims, jwks, mint, read_signed};
use portcullis_fuzz::{NOW, json, split_line};
use serde_json::Value;

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    KeySet::from_jwks(&jwks(&[Signer::Ed25519, Signer::P256]), &[Algorithm::EdDSA, Algorithm::ES256])
        .expect("keys")
});

/// Names, types and values that mean something in a JWT.
const NAMES: [&str; 22] = [
    "iss",
    "sub",
    "aud",
    "azp",
    "client_id",
    "exp",
    "nbf",
    "iat",
    "typ",
    "token_use",
    "at_hash",
    "c_hash",
    "events",
    "roles",
    "alg",
    "kid",
    "crit",
    "b64",
    "jku",
    "jwk",
    "x5u",
    "cty",
];
const TEXTS: [&str; 22] = [
    ISSUER,
    "store",
    "forums",
    "account",
    "alice",
    "EdDSA",
    "ES256",
    "RS256",
    "HS256",
    "none",
    "ed",
    "p256",
    "JWT",
    "at+jwt",
    "application/at+jwt",
    "logout+jwt",
    "ID",
    "Refresh",
    "Bearer",
    "access",
    "id",
    "exp",
];

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2)
        && let Some(mutated) = mutate_line(&data[..size], seed / 2)
        && mutated.len() <= max_size
    {
        data[..mutated.len()].copy_from_slice(&mutated);
        return mutated.len();
    }
    fuzzer_mutate(data, size, max_size)
});

fn mutate_line(input: &[u8], seed: u32) -> Option<Vec<u8>> {
    let (signer, texts) = split_line(input);
    let (header, payload) = split_line(texts);
    if seed.is_multiple_of(4) {
        let header = json::mutate_object(header, &NAMES, &TEXTS, seed)?;
        Some([signer, &header, payload].join(&b'\n'))
    } else {
        let payload = json::mutate_object(payload, &NAMES, &TEXTS, seed)?;
        Some([signer, header, &payload].join(&b'\n'))
    }
}

fuzz_target!(|input: &[u8]| {
    let (first, rest) = split_line(input);
    if first == b"raw" {
        if let Ok(token) = std::str::from_utf8(rest) {
            check(token);
        }
        return;
    }
    let Some(signer) = Signer::named(first) else { return };
    let (header, payload) = split_line(rest);
    let token = mint(signer, header, payload);
    let is_accepted = check(&token);
    assert!(signer.is_provider() || !is_accepted, "signed by {signer:?}");
    let is_good = header == signer.header().as_bytes()
        && !json::has_duplicate_names(payload)
        && serde_json::from_slice::<Value>(payload).ok()
            == Some(claims("store", "alice", NOW - 60, NOW + 300));
    assert!(is_accepted || !is_good || !signer.is_provider(), "a good token");
});

/// Holds the verification of a token to everything that it promises; says whether it is accepted for the store.
fn check(token: &str) -> bool {
    let is_accepted = check_for(token, "store", &[]);
    check_for(token, "forums", &["forums", "account"]);
    if is_accepted {
        let at = token.len() * 7 / 11;
        let mut changed = token.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(verify(&changed, &rules("store", &[]), &KEYS, NOW).is_err(), "accepted after a change");
    }
    is_accepted
}

fn check_for(token: &str, client: &str, audience: &[&str]) -> bool {
    let Ok(verification) = verify(token, &rules(client, audience), &KEYS, NOW) else { return false };
    if matches!(verification.validity, Validity::NotYetValid(_)) {
        return false;
    }
    let read = read_signed(token).expect("signed by the provider");
    assert_eq!(read.objection(client, audience, NOW), None, "{:?}", read.claims);
    let verified = &verification.claims;
    let expires_at = read.expires_at().expect("a date");
    assert_eq!(verified.expires_at(), expires_at);
    assert_eq!(verification.validity == Validity::Expired, expires_at + LEEWAY <= NOW);
    assert_eq!(Some(verified.subject()), read.claims["sub"].as_str());
    for (name, value) in read.claims.as_object().expect("an object") {
        assert_eq!(verified.claims().get(name), Some(value));
    }
    check_identity(verification.claims);
    true
}

/// Asserts that the identity headers are valid and come from the claims.
fn check_identity(verified: portcullis::access::token::VerifiedClaims) {
    let rules = IdentityRules {
        roles_claim: ClaimPath::Segments(vec!["roles".into()]),
        headers: Vec::new(),
        max_header_size: 4096,
        user_claims: vec![ClaimPath::Roles, ClaimPath::Segments(vec!["sub".into()])],
    };
    let subject = Value::from(verified.subject());
    let identity = Identity::new(verified, &rules).expect("no headers that could fail");
    let user = identity.user_object(&rules);
    assert_eq!(user.get("sub"), Some(&subject));
    assert!(identity.roles().iter().all(|role| !role.is_empty()));
    assert!(!identity.has_any_role(&["a role that nobody has".into()]));
}

fn rules(client: &str, audience: &[&str]) -> TokenRules {
    TokenRules {
        provider: ProviderNumber::of_issuer(ISSUER),
        issuer: ISSUER.into(),
        client_id: client.into(),
        audience: audience.iter().map(|name| String::from(*name)).collect(),
        authorized_parties: vec![client.into()],
        algorithms: vec![Algorithm::EdDSA, Algorithm::ES256],
        leeway: LEEWAY,
        access_token_is_id_token: false,
    }
}
