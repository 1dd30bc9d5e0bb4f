//! Signatures that do not hold, and what the documented events say.

use serde_json::json;

use super::*;
use crate::access::testing::{self, NOW, base64url, key_set, mint_raw};
use crate::config::{Secret, WebhookSecret};

const APPLICATION: &str = "21a8893c-51b3-4964-8a50-6afb66ee8acd";
const USER: &str = "dfdbae16-4e65-42c2-9773-23dfd6f5671d";
const BODY: &[u8] = br#"{"event":{"type":"test"}}"#;

fn rules(secret: Option<(&str, Algorithm)>) -> WebhookRules {
    let hmac = secret.map(|(secret, algorithm)| WebhookSecret { secret: Secret::new(secret), algorithm });
    let webhook = config::Webhook { path: "/hook".into(), hmac };
    let provider = "[identity_providers.main]\nissuer = 'https://id.example.com'\nalgorithms = ['RS256', 'EdDSA']\n\
                    [apps.a]\nhosts = ['a']\nupstreams = ['http://b']\nclient_id = 'a'\nclient_secret = 's'";
    let config = config::parse(provider).unwrap().config;
    WebhookRules::new(&webhook, APPLICATION, &config.identity_providers[0])
}

fn claim(body: &[u8]) -> Value {
    json!({"request_body_sha256": STANDARD.encode(digest(&SHA256, body))})
}

/// With the keys of the JWKS.
fn by_key(algorithm: &str, header: &str, claims: &Value) -> Result<(), WebhookError> {
    rules(None).verify(&mint_raw(algorithm, header, claims.to_string()), BODY, &key_set())
}

const ED: &str = r#"{"alg":"EdDSA","typ":"JWT","kid":"ed"}"#;

#[test]
fn signatures_by_a_published_key() {
    use TokenError::{Algorithm as Alg, Claim, CriticalExtension, Signature, Type, UnknownKey};
    assert_eq!(by_key("EdDSA", ED, &claim(BODY)), Ok(()));
    assert_eq!(by_key("RS256", r#"{"alg":"RS256","kid":"rsa"}"#, &claim(BODY)), Ok(()));
    let plain_hash = claim(BODY);
    for (algorithm, header, claims, error) in [
        ("EdDSA by a stranger", ED, plain_hash.clone(), Signature),
        ("EdDSA by a stranger", r#"{"alg":"EdDSA","kid":"x"}"#, plain_hash.clone(), UnknownKey),
        ("EdDSA", r#"{"alg":"none","kid":"ed"}"#, plain_hash.clone(), Alg),
        ("HS256 secret", r#"{"alg":"HS256","kid":"ed"}"#, plain_hash.clone(), Alg),
        ("ES256", r#"{"alg":"ES256","kid":"p256"}"#, plain_hash.clone(), Alg),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}"#, plain_hash.clone(), Type),
        ("EdDSA", r#"{"alg":"EdDSA","kid":"ed","crit":["x"]}"#, plain_hash.clone(), CriticalExtension),
        ("EdDSA", ED, json!({}), Claim("request_body_sha256")),
        ("EdDSA", ED, json!({"request_body_sha256": 1}), Claim("request_body_sha256")),
        ("EdDSA", ED, testing::claims(&json!({})), Type),
        ("EdDSA", ED, testing::claims(&plain_hash), Type),
    ] {
        assert_eq!(by_key(algorithm, header, &claims), Err(error.into()), "{header} {claims}");
    }
    for claims in [
        claim(b"{}"),
        json!({"request_body_sha256": ""}),
        json!({"request_body_sha256": base64url(digest(&SHA256, BODY))}),
    ] {
        assert_eq!(by_key("EdDSA", ED, &claims), Err(WebhookError::Body), "{claims}");
    }
    for malformed in ["", ".b", "a.b.c"] {
        let refused = rules(None).verify(malformed, BODY, &key_set()).unwrap_err();
        assert!(matches!(refused, WebhookError::Signature(TokenError::Malformed(_))), "{refused:?}");
    }
}

#[test]
fn signatures_by_a_secret() {
    let verify = |rules: &WebhookRules, algorithm: &str, header: &str| {
        rules.verify(&mint_raw(algorithm, header, claim(BODY).to_string()), BODY, &key_set())
    };
    let hs256 = rules(Some(("secret", Algorithm::HS256)));
    let header = r#"{"alg":"HS256","typ":"JWT","kid":"the id that FusionAuth gave it"}"#;
    assert_eq!(verify(&hs256, "HS256 secret", header), Ok(()));
    let signature = Err(TokenError::Signature.into());
    assert_eq!(verify(&hs256, "HS256 other", header), signature, "and no fetch for the id");
    assert_eq!(verify(&hs256, "HS256 ", header), signature);
    let algorithm = Err(TokenError::Algorithm.into());
    assert_eq!(verify(&hs256, "EdDSA", ED), algorithm, "the provider's own keys no longer count");
    let hs512 = rules(Some(("secret", Algorithm::HS512)));
    assert_eq!(verify(&hs512, "HS256 secret", header), algorithm);
}

/// The documented example of a single refresh token, changed: `null` takes a member away.
fn revocation(changes: &Value) -> Value {
    let mut event = json!({
        "applicationId": APPLICATION, "applicationTimeToLiveInSeconds": { APPLICATION: 600 },
        "createInstant": NOW * 1000 - 1, "id": "e502168a-b469-45d9-a079-fd45f83e0406",
        "info": { "ipAddress": "42.42.42.42" }, "linkedObjectId": "1af8b5a4-3f2c-4a6e-9f3b-2f3bb3e0bf70",
        "refreshToken": {
            "applicationId": APPLICATION, "id": "9d4a2b2c-6f6b-4d43-8f02-0c9a3a1f4f11", "userId": USER,
            "metaData": { "device": { "name": "Macbook" } },
        },
        "tenantId": "e872a880-b14f-6d62-c312-cb40f22af465", "type": "jwt.refresh-token.revoke", "userId": USER,
        "user": { "active": true, "id": USER, "data": { "a": [{ "b": {} }] } },
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            event.as_object_mut().unwrap().remove(name);
        } else {
            event[name] = value.clone();
        }
    }
    event
}

fn read(event: &Value) -> Result<WebhookEvent, WebhookError> {
    rules(None).read_event(json!({ "event": event }).to_string().as_bytes(), NOW)
}

#[test]
fn whose_sessions_an_event_ends() {
    let user = |subject: &str, issued_until| WebhookEvent::User { subject: subject.to_owned(), issued_until };
    let of_user = user(USER, NOW - 1);
    let session = WebhookEvent::Session("9d4a2b2c-6f6b-4d43-8f02-0c9a3a1f4f11".to_owned());
    let only_user =
        json!({ "createInstant": 1_629_912_352_952_u64, "user": { "id": USER, "active": false } });
    let about_user = |kind: &str| {
        let mut event = only_user.clone();
        event["type"] = json!(kind);
        event
    };
    for (event, expected) in [
        (revocation(&json!({})), session.clone()),
        (revocation(&json!({"applicationId": APPLICATION.to_uppercase()})), session.clone()),
        (revocation(&json!({"applicationId": null})), session),
        (revocation(&json!({"applicationId": "10000000-0000-0002-0000-000000000001"})), WebhookEvent::Nobody),
        // All of a user, for this application and for all.
        (revocation(&json!({"refreshToken": null})), of_user.clone()),
        (revocation(&json!({"refreshToken": null, "applicationId": null})), of_user.clone()),
        (revocation(&json!({"refreshToken": {}, "user": null})), of_user.clone()),
        (revocation(&json!({"refreshToken": null, "userId": null})), of_user),
        // Its clock may be ahead as far as its JWTs may be from there, and no further.
        (
            revocation(&json!({"refreshToken": null, "createInstant": NOW * 1000 + 20_999})),
            user(USER, NOW + 20),
        ),
        (
            revocation(&json!({"refreshToken": null, "createInstant": NOW * 1000 + 999_999})),
            user(USER, NOW + 30),
        ),
        (revocation(&json!({"refreshToken": null, "userId": null, "user": null})), WebhookEvent::Everybody),
        (about_user("user.deactivate"), user(USER, 1_629_912_352)),
        (about_user("user.delete"), user(USER, 1_629_912_352)),
        (about_user("user.delete.complete"), user(USER, 1_629_912_352)),
        (about_user("user.reactivate"), WebhookEvent::Nobody),
        (about_user("user.login.success"), WebhookEvent::Nobody),
        (about_user("jwt.refresh"), WebhookEvent::Nobody),
        (json!({"type": "test", "message": "x"}), WebhookEvent::Nobody),
    ] {
        assert_eq!(read(&event), Ok(expected), "{event}");
    }
}

#[test]
fn what_is_no_event_as_documented() {
    let nobody = json!({"refreshToken": null, "userId": null, "user": null, "applicationId": null});
    for (event, expected) in [
        (json!({}), "`type` is missing"),
        (json!({"type": 1}), "`type` is missing"),
        (json!("x"), "`event` is missing"),
        (json!({"type": "user.deactivate", "createInstant": 1}), "no user is named"),
        (json!({"type": "user.deactivate", "createInstant": 1, "user": {"id": ""}}), "no user is named"),
        (json!({"type": "user.delete", "user": {"id": USER}}), "`createInstant` is missing"),
        (
            json!({"type": "user.delete", "user": {"id": USER}, "createInstant": "1"}),
            "`createInstant` is missing",
        ),
        (
            json!({"type": "user.delete", "user": {"id": USER}, "createInstant": -1}),
            "`createInstant` is missing",
        ),
        (revocation(&nobody), "no user is named"),
    ] {
        assert_eq!(read(&event), Err(WebhookError::Event(expected)), "{event}");
    }
    for body in [&b""[..], b"[]", b"{", br#"{"event":{"type":"a"},"event":{"type":"b"}}"#] {
        let refused = rules(None).read_event(body, NOW);
        assert!(matches!(refused, Err(WebhookError::Event("not a strict JSON object"))), "{refused:?}");
    }
}
