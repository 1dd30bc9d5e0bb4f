//! JWKS as providers publish them, and as they should not.

use serde_json::{Value, json};

use super::*;
use crate::access::testing::{jwk, jwks, sign};

const ALL: [Algorithm; 4] = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// A key with other members; `null` takes one away.
fn changed(name: &str, changes: &Value) -> Value {
    let mut key = jwk(name);
    for (member, value) in changes.as_object().unwrap() {
        if value.is_null() {
            key.as_object_mut().unwrap().remove(member);
        } else {
            key[member] = value.clone();
        }
    }
    key
}

fn read(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::from_jwks(&jwks(keys), &ALL)
}

fn ids(set: &KeySet, key_id: Option<&str>, algorithm: Algorithm) -> Vec<String> {
    set.candidates(key_id, algorithm).map(|key| key.id().unwrap_or("-").to_owned()).collect()
}

#[test]
fn keys_that_can_verify() {
    for (name, changes, algorithm) in [
        ("rsa", json!({}), Algorithm::RS256),
        ("rsa", json!({"use": "sig", "alg": "RS256"}), Algorithm::RS256),
        ("rsa", json!({"key_ops": ["verify"]}), Algorithm::RS256),
        ("rsa", json!({"use": "sig", "key_ops": ["sign", "verify"]}), Algorithm::RS256),
        ("rsa", json!({"x5t": "x", "x5t#S256": "y", "made_up": {"a": 1}}), Algorithm::RS256),
        ("p256", json!({"alg": "ES256"}), Algorithm::ES256),
        ("p384", json!({}), Algorithm::ES384),
        ("ed", json!({"alg": "EdDSA"}), Algorithm::EdDSA),
        ("ed", json!({"alg": "Ed25519"}), Algorithm::EdDSA),
    ] {
        let set = read(&[changed(name, &changes)]).unwrap();
        assert_eq!(ids(&set, Some(name), algorithm), [name], "{name} {changes}");
        let others = ALL.iter().filter(|other| **other != algorithm);
        assert!(others.clone().all(|other| ids(&set, None, *other).is_empty()), "{name} {changes}");
    }
}

#[test]
fn keys_that_cannot_are_left_out() {
    for (name, changes) in [
        ("rsa", json!({"use": "enc"})),
        ("rsa", json!({"use": "tls-client"})),
        ("rsa", json!({"use": 1})),
        ("rsa", json!({"alg": "RSA-OAEP"})),
        ("rsa", json!({"alg": "ES256"})),
        ("rsa", json!({"alg": "HS256"})),
        ("rsa", json!({"alg": "none"})),
        ("rsa", json!({"alg": "made-up"})),
        // Fits the key, but nobody asked for it.
        ("rsa", json!({"alg": "PS256"})),
        ("rsa", json!({"key_ops": ["encrypt"]})),
        ("rsa", json!({"key_ops": ["sign"]})),
        ("rsa", json!({"key_ops": []})),
        ("rsa", json!({"n": null})),
        ("rsa", json!({"n": "%%%"})),
        ("rsa", json!({"kty": null})),
        ("rsa", json!({"kty": "AKP"})),
        ("rsa", json!({"kid": 7})),
        ("p256", json!({"crv": "P-521"})),
        ("p256", json!({"crv": "secp256k1"})),
        ("p256", json!({"alg": "RS256"})),
        ("p256", json!({"alg": "ES384"})),
        ("p384", json!({"alg": "ES256"})),
        ("ed", json!({"crv": "X25519"})),
        ("ed", json!({"crv": "Ed448"})),
        ("ed", json!({"alg": "ES256"})),
        ("ed", json!({"alg": "Ed448"})),
        ("ed", json!({"alg": "ed25519"})),
        ("ed", json!({"alg": "Ed25519", "crv": "Ed448"})),
        ("rsa", json!({"alg": "Ed25519"})),
        ("p256", json!({"alg": "Ed25519"})),
        ("rsa", json!({"kty": "oct", "k": "c2VjcmV0", "n": null, "e": null})),
        ("rsa", json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "n": null, "e": null})),
    ] {
        let key = changed(name, &changes);
        let error = read(std::slice::from_ref(&key)).unwrap_err();
        assert!(matches!(error, KeySetError::NoUsableKey { total: 1, .. }), "{key}");
        // And they take no good key with them.
        let set = read(&[key.clone(), jwk("ed"), key.clone()]).unwrap();
        assert_eq!(set.len(), 1, "{key}");
    }
}

#[test]
fn garbage_beside_a_good_key() {
    let set =
        read(&[json!(null), json!(1), json!("key"), json!([]), json!({}), jwk("p256"), json!({"kty": {}})]);
    assert_eq!(ids(&set.unwrap(), Some("p256"), Algorithm::ES256), ["p256"]);
}

#[test]
fn an_encryption_key_with_the_id_of_a_signature_key() {
    let set =
        read(&[changed("p256", &json!({"kid": "k", "use": "enc"})), changed("ed", &json!({"kid": "k"}))]);
    let set = set.unwrap();
    assert_eq!(ids(&set, Some("k"), Algorithm::EdDSA), ["k"]);
    assert!(ids(&set, Some("k"), Algorithm::ES256).is_empty());
}

#[test]
fn ids_select_and_keys_without_one_always_fit() {
    let nameless = changed("stranger", &json!({"kid": null}));
    let set = read(&[jwk("ed"), nameless, changed("ed", &json!({"kid": "ed"})), jwk("p256")]).unwrap();
    assert_eq!(set.len(), 4);
    assert_eq!(ids(&set, Some("ed"), Algorithm::EdDSA), ["ed", "-", "ed"]);
    assert_eq!(ids(&set, Some("other"), Algorithm::EdDSA), ["-"]);
    assert_eq!(ids(&set, None, Algorithm::EdDSA), ["ed", "-", "ed"]);
    assert!(ids(&set, Some("ed"), Algorithm::ES256).is_empty());
    assert!(ids(&set, Some("ED"), Algorithm::ES256).is_empty());
}

#[test]
fn what_is_no_jwks() {
    for text in ["", "null", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[]"#, "<html>"] {
        let error = KeySet::from_jwks(text.as_bytes(), &ALL).unwrap_err();
        assert!(matches!(error, KeySetError::Malformed(_)), "{text}: {error:?}");
    }
    let none_of = |total| KeySetError::NoUsableKey { total, faulty: vec![] };
    assert_eq!(read(&[]).unwrap_err(), none_of(0));
    assert_eq!(KeySet::from_jwks(&jwks(&[jwk("ed")]), &[]).unwrap_err(), none_of(1));
}

#[test]
fn an_hmac_secret_answers_for_hmac_alone_and_is_not_shown() {
    let set = KeySet::from_hmac_secret(b"hunter2");
    assert_eq!(ids(&set, Some("any"), Algorithm::HS512), ["-"]);
    assert!(ALL.iter().all(|algorithm| ids(&set, None, *algorithm).is_empty()));
    let shown = format!("{set:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}

/// A part of a key in another notation.
fn rewritten(name: &str, member: &str, write: impl Fn(Vec<u8>) -> String) -> Value {
    let mut key = jwk(name);
    let octets = URL_SAFE_NO_PAD.decode(key[member].as_str().unwrap()).unwrap();
    key[member] = json!(write(octets));
    key
}

#[test]
fn another_notation_of_a_part_is_the_same_key() {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
    type Write = fn(Vec<u8>) -> String;
    let any: [Write; 3] = [
        |octets| URL_SAFE.encode(octets),
        |octets| STANDARD.encode(octets),
        |octets| STANDARD_NO_PAD.encode(octets),
    ];
    let numbers: [Write; 3] = [
        |octets| URL_SAFE_NO_PAD.encode([vec![0], octets].concat()),
        |octets| URL_SAFE_NO_PAD.encode([vec![0; 3], octets].concat()),
        |octets| STANDARD.encode([vec![0], octets].concat()),
    ];
    let message = b"message";
    for (name, algorithm, alg, members) in [
        ("rsa", Algorithm::RS256, "RS256", &["n", "e"][..]),
        ("p256", Algorithm::ES256, "ES256", &["x", "y"]),
        ("p384", Algorithm::ES384, "ES384", &["x", "y"]),
        ("ed", Algorithm::EdDSA, "EdDSA", &["x"]),
    ] {
        let signature = URL_SAFE_NO_PAD.encode(sign(alg, message));
        for member in members {
            let numbers = if name == "ed" { &[][..] } else { &numbers[..] };
            for write in any.iter().chain(numbers) {
                let key = rewritten(name, member, write);
                let set = read(std::slice::from_ref(&key)).unwrap_or_else(|error| panic!("{error}: {key}"));
                let verifies = |key: &VerificationKey| key.verifies("message", &signature, algorithm);
                assert!(set.candidates(None, algorithm).all(verifies) && set.len() == 1, "{key}");
                let mut canonical = key.clone();
                canonicalise(&mut canonical).unwrap();
                assert_eq!(canonical, jwk(name), "{key}");
            }
        }
    }
}

#[test]
fn a_key_that_no_notation_mends_is_left_out_and_it_is_said_why() {
    let short = |zeros: usize| {
        rewritten("rsa", "n", move |octets| {
            URL_SAFE_NO_PAD.encode([&vec![0; zeros], &octets[..128]].concat())
        })
    };
    for (key, problem) in [
        (short(0), "fewer than 2048 bits"),
        // Zeros in front make no number longer.
        (short(1), "fewer than 2048 bits"),
        (short(128), "fewer than 2048 bits"),
        (changed("rsa", &json!({"n": ""})), "fewer than 2048 bits"),
        // 256 octets, and 2047 bits.
        (
            rewritten("rsa", "n", |octets| URL_SAFE_NO_PAD.encode([&[0x7f], &octets[1..]].concat())),
            "fewer than 2048 bits",
        ),
        (rewritten("rsa", "n", |octets| URL_SAFE_NO_PAD.encode(octets.repeat(5))), "more than 8192 bits"),
        (changed("rsa", &json!({"e": "%%"})), "not base64url"),
        (changed("rsa", &json!({"e": "A QAB"})), "not base64url"),
        (rewritten("p256", "x", |octets| URL_SAFE_NO_PAD.encode([vec![1], octets].concat())), "too long"),
        (rewritten("p256", "x", |octets| URL_SAFE_NO_PAD.encode(&octets[1..])), "no point of its curve"),
        (rewritten("p256", "y", |_| String::new()), "no point of its curve"),
        (rewritten("ed", "x", |octets| URL_SAFE_NO_PAD.encode([vec![0], octets].concat())), ""),
    ] {
        let error = read(std::slice::from_ref(&key)).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("no usable signature key among 1 keys") && said.contains(problem),
            "{key}: {said}"
        );
        let set = read(&[key.clone(), jwk("ed")]).unwrap();
        assert_eq!((set.len(), set.faulty().len()), (1, 1), "{key}");
    }
    // What is for something else is not complained about.
    let set = read(&[changed("rsa", &json!({"use": "enc", "n": "AQ"})), jwk("ed")]).unwrap();
    assert_eq!(set.faulty(), [""; 0]);
}
