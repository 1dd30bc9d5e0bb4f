//! Tables of what running providers answer (docs: how identity providers differ), and what it must mean.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::identity_provider::dialect::kinds::tests::{ENDS_SESSIONS, JWT_API, STANDARD};
use crate::identity_provider::outcome::ChallengeKind;
use crate::system::explained::Explained;

fn login(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, LoginError> {
    super::login(STANDARD, answer, secrets)
}

fn refresh(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, RefreshError> {
    super::refresh(STANDARD, answer, secrets)
}

fn jwt_refresh(answer: &Answer, secrets: &[&str]) -> Result<TokenSet, RefreshError> {
    super::refresh(JWT_API, answer, secrets)
}

fn revocation(answer: &Answer, secrets: &[&str]) -> Result<(), RevokeError> {
    super::logout(STANDARD, answer, secrets)
}

fn end_session(answer: &Answer, secrets: &[&str]) -> Result<(), RevokeError> {
    super::logout(ENDS_SESSIONS, answer, secrets)
}

/// An outcome without the texts for the log.
#[derive(Debug, Clone, PartialEq)]
enum Meaning {
    Tokens,
    WrongCredentials,
    Dead,
    Unavailable,
    Misconfigured,
    TooMany,
    Challenge(ChallengeKind, Value),
}
use Meaning::{Challenge, Dead, Misconfigured, Tokens, TooMany, Unavailable, WrongCredentials};

fn answer(status: u16, media_type: &str, body: &str) -> Answer {
    let body = Zeroizing::new(body.as_bytes().to_vec());
    Answer { status, media_type: media_type.to_owned(), body, ..Answer::default() }
}

fn login_meaning(answer: &Answer) -> Meaning {
    match login(answer, &[]) {
        Ok(_) => Tokens,
        Err(LoginError::InvalidCredentials(_)) => WrongCredentials,
        Err(LoginError::TooMany(..)) => TooMany,
        Err(LoginError::Unavailable(..)) => Unavailable,
        Err(LoginError::Misconfigured(_)) => Misconfigured,
        Err(LoginError::Challenge(kind, value, _)) => Challenge(kind, value),
    }
}

fn refresh_meaning(result: &Result<TokenSet, RefreshError>) -> Meaning {
    match result {
        Ok(_) => Tokens,
        Err(RefreshError::Dead(_)) => Dead,
        Err(RefreshError::Challenge(kind, _)) => Challenge(*kind, Value::Null),
        Err(RefreshError::Unavailable(..)) => Unavailable,
        Err(RefreshError::Misconfigured(..)) => Misconfigured,
    }
}

fn oauth(error: &str, description: &str) -> String {
    json!({ "error": error, "error_description": description }).to_string()
}

#[test]
fn keycloak_login() {
    let action = Challenge(ChallengeKind::AccountAction, json!({}));
    let cases = [
        (400, oauth("invalid_grant", "Invalid user credentials"), WrongCredentials),
        (401, oauth("invalid_grant", "Invalid user credentials"), WrongCredentials),
        (400, oauth("invalid_grant", "Account disabled"), WrongCredentials),
        (400, oauth("invalid_grant", "Account is not fully set up"), action),
        (401, oauth("invalid_request", "Missing parameter: username"), WrongCredentials),
        (400, oauth("invalid_scope", "Invalid scopes: x"), Misconfigured),
        (400, oauth("not_allowed", "Offline tokens not allowed for the user or client"), Misconfigured),
        (401, oauth("unauthorized_client", "Invalid client or Invalid client credentials"), Misconfigured),
        (401, oauth("invalid_client", "Invalid client or Invalid client credentials"), Misconfigured),
        (400, oauth("unauthorized_client", "Client not allowed for direct access grants"), Misconfigured),
        (403, oauth("access_denied", "Realm not enabled"), Misconfigured),
        (404, json!({ "error": "Realm does not exist" }).to_string(), Misconfigured),
        (503, String::new(), Unavailable),
    ];
    for (status, body, meaning) in cases {
        assert_eq!(login_meaning(&answer(status, "application/json", &body)), meaning, "{status} {body}");
    }
}

#[test]
fn keycloak_refresh() {
    let dead = [
        "Invalid refresh token",
        "Invalid refresh token. Token client and authorized client don't match",
        "Invalid token issuer. Expected 'http://a'",
        "Token is not active",
        "Session not active",
        "Offline user session not found",
        "User disabled",
        "Stale token",
        "Maximum allowed refresh token reuse exceeded",
        "Session doesn't have required client",
    ]
    .map(|description| (400, oauth("invalid_grant", description), Dead));
    let others = [
        (401, oauth("unauthorized_client", "Invalid client or Invalid client credentials"), Misconfigured),
        (401, oauth("invalid_client", "Invalid client or Invalid client credentials"), Misconfigured),
        (403, oauth("access_denied", "Realm not enabled"), Misconfigured),
        (404, json!({ "error": "Realm does not exist" }).to_string(), Misconfigured),
        (
            200,
            json!({ "access_token": "a", "refresh_expires_in": 0, "token_type": "Bearer",
            "not-before-policy": 0, "session_state": "s" })
            .to_string(),
            Tokens,
        ),
    ];
    for (status, body, meaning) in dead.into_iter().chain(others) {
        let answer = answer(status, "application/json", &body);
        assert_eq!(refresh_meaning(&refresh(&answer, &[])), meaning, "{status} {body}");
    }
}

#[test]
fn without_a_known_code() {
    let html = "<html><hr>nginx</html>";
    // Status, type, body; at a login, at a refresh.
    let cases = [
        // Glewlwyd: a wrong password is 403, a dead refresh token 400.
        (400, "", "", WrongCredentials, Dead),
        (400, "application/json", "", WrongCredentials, Dead),
        (401, "", "", WrongCredentials, Unavailable),
        (403, "", "", WrongCredentials, Unavailable),
        (422, "", "", Unavailable, Unavailable),
        (400, "text/html", "", Unavailable, Unavailable),
        (403, "text/html", "", Unavailable, Unavailable),
        (403, "text/plain", "", Unavailable, Unavailable),
        (400, "text/html", html, Unavailable, Unavailable),
        (401, "text/html", html, Unavailable, Unavailable),
        (403, "text/html", html, Unavailable, Unavailable),
        (413, "text/html", html, Unavailable, Unavailable),
        (414, "text/html", html, Unavailable, Unavailable),
        (403, "text/plain", "no", Unavailable, Unavailable),
        (400, "", "not json", Unavailable, Unavailable),
        (400, "", "[1]", Unavailable, Unavailable),
        (400, "application/json", " ", Unavailable, Unavailable),
        (401, "application/json", r#"{"error":{"code":7}}"#, Unavailable, Unavailable),
        (403, "application/json", r#"{"message":"Forbidden"}"#, Unavailable, Unavailable),
        (400, "application/json", r#"{"error":"some_new_code"}"#, Unavailable, Unavailable),
        (403, "application/json", r#"{"error":"account_locked"}"#, WrongCredentials, Misconfigured),
        (404, "", "", Misconfigured, Misconfigured),
        (404, "text/html", html, Misconfigured, Misconfigured),
        (405, "", "", Misconfigured, Misconfigured),
        (415, "", "", Misconfigured, Misconfigured),
    ];
    for (status, media_type, body, at_login, at_refresh) in cases {
        let answer = answer(status, media_type, body);
        assert_eq!(login_meaning(&answer), at_login, "{status} {media_type} {body}");
        assert_eq!(refresh_meaning(&refresh(&answer, &[])), at_refresh, "{status} {media_type} {body}");
    }
    for body in ["", r#"{"message":"Unauthorized"}"#] {
        let asking = Answer { asks_for: Some(String::from("Basic")), ..answer(401, "", body) };
        assert_eq!(login_meaning(&asking), Unavailable);
        assert_eq!(refresh_meaning(&refresh(&asking, &[])), Unavailable);
    }
}

#[test]
fn a_mark_or_a_strange_character_set_hides_no_code() {
    let body = oauth("invalid_grant", "");
    let marked = answer(400, "application/json", &format!("\u{feff}{body}"));
    assert_eq!(refresh_meaning(&refresh(&marked, &[])), Dead);
    let mut latin_1 = answer(400, "application/json", "");
    latin_1.body = b"{\"error\":\"invalid_grant\",\"error_description\":\"ung\xfcltig\"}".to_vec().into();
    assert_eq!(refresh_meaning(&refresh(&latin_1, &[])), Dead);
    assert_eq!(login_meaning(&latin_1), WrongCredentials);
    let mut utf_16 = answer(400, "application/json", "");
    utf_16.body = body.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>().into();
    assert_eq!(refresh_meaning(&refresh(&utf_16, &[])), Unavailable);
    let tokens = answer(200, "application/json", "\u{feff}{\"access_token\":\"a\"}");
    assert_eq!(refresh_meaning(&refresh(&tokens, &[])), Tokens);
}

#[test]
fn the_log_says_what_kind_of_answer_it_was() {
    let text = |answer: &Answer| Explained::from(refresh(answer, &[]).unwrap_err()).text;
    for (answer, expected) in [
        (answer(403, "text/html", "<html>"), "status 403, text/html, not the provider's own words"),
        (answer(403, "", ""), "status 403, no body"),
        (
            answer(400, "application/problem+json", "{}"),
            "status 400, application/problem+json, no `error` in it",
        ),
        (
            Answer { asks_for: Some(String::from("Basic")), ..answer(401, "", "") },
            "status 401, asks for authentication: Basic, no body",
        ),
        (
            answer(400, "", r#"{"error":"invalid_grant","error_codes":[50076],"suberror":"basic_action"}"#),
            "status 400, error invalid_grant, suberror basic_action, error_codes 50076",
        ),
        (
            answer(200, "text/html", "<html>"),
            "the token answer is not the JSON expected (status 200, text/html, not the provider's own words)",
        ),
    ] {
        assert_eq!(text(&answer), expected);
    }
}

#[test]
fn codes_of_rfc_6749_decide_whatever_the_status() {
    let cases = [
        ("invalid_grant", WrongCredentials, Dead),
        ("invalid_request", WrongCredentials, Dead),
        ("invalid_token", WrongCredentials, Dead),
        ("expired_token", WrongCredentials, Dead),
        ("invalid_client", Misconfigured, Misconfigured),
        ("unauthorized_client", Misconfigured, Misconfigured),
        ("unsupported_grant_type", Misconfigured, Misconfigured),
        ("invalid_scope", Misconfigured, Misconfigured),
        ("temporarily_unavailable", Unavailable, Unavailable),
        ("server_error", Unavailable, Unavailable),
        ("slow_down", Unavailable, Unavailable),
    ];
    for status in [400, 401, 403, 404, 409] {
        for (code, at_login, at_refresh) in cases.clone() {
            let answer = answer(status, "application/json", &oauth(code, ""));
            assert_eq!(login_meaning(&answer), at_login, "{status} {code}");
            assert_eq!(refresh_meaning(&refresh(&answer, &[])), at_refresh, "{status} {code}");
        }
    }
}

#[test]
fn a_passing_trouble_says_nothing_about_the_user() {
    for status in [204, 206, 301, 302, 303, 307, 308, 408, 425, 429, 500, 502, 503, 504, 599, 999] {
        for body in ["", "<html>", r#"{"error":"invalid_grant"}"#, r#"{"access_token":"a"}"#] {
            let answer = answer(status, "application/json", body);
            let at_login = if status == 429 { TooMany } else { Unavailable };
            assert_eq!(login_meaning(&answer), at_login, "{status} {body}");
            assert_eq!(refresh_meaning(&refresh(&answer, &[])), Unavailable, "{status} {body}");
            assert_eq!(refresh_meaning(&jwt_refresh(&answer, &[])), Unavailable, "{status} {body}");
        }
    }
}

#[test]
fn success_needs_a_usable_token() {
    let cases = [
        (200, r#"{"access_token":"a","token_type":"bEaReR"}"#, Tokens),
        (201, r#"{"access_token":"a"}"#, Tokens),
        (200, "", Unavailable),
        (200, "{}", Unavailable),
        (200, "<html>Sign in</html>", Unavailable),
        (200, r#"{"access_token":""}"#, Unavailable),
        (200, r#"{"error":"unheard_of"}"#, Unavailable),
    ];
    for (status, body, meaning) in cases {
        let answer = answer(status, "application/json", body);
        assert_eq!(login_meaning(&answer), meaning, "{status} {body}");
        assert_eq!(refresh_meaning(&refresh(&answer, &[])), meaning, "{status} {body}");
    }
    // As GitHub does.
    for (body, at_login, at_refresh) in [
        (r#"{"error":"invalid_grant"}"#, WrongCredentials, Dead),
        (r#"{"error":"bad_refresh_token"}"#, WrongCredentials, Dead),
        (r#"{"error":"incorrect_client_credentials"}"#, Misconfigured, Misconfigured),
        (r#"{"access_token":"a","error":"invalid_grant"}"#, Tokens, Tokens),
    ] {
        let answer = answer(200, "application/json", body);
        assert_eq!(login_meaning(&answer), at_login, "{body}");
        assert_eq!(refresh_meaning(&refresh(&answer, &[])), at_refresh, "{body}");
    }
    let body = r#"{"error":"two_factor_required","two_factor_id":"t"}"#;
    let challenge = Challenge(ChallengeKind::TwoFactor, json!({ "two_factor_id": "t" }));
    assert_eq!(login_meaning(&answer(200, "application/json", body)), challenge);
}

#[test]
fn fusionauth_login_by_reason() {
    let wrong =
        ["invalid_user_credentials", "user_locked", "user_expired", "user_not_found", "login_prevented"];
    let steps = [
        ("change_password_administrative", ChallengeKind::PasswordChange),
        ("change_password_breached", ChallengeKind::PasswordChange),
        ("change_password_expired", ChallengeKind::PasswordChange),
        ("change_password_validation", ChallengeKind::PasswordChange),
        ("email_verification_required", ChallengeKind::AccountAction),
        ("registration_required", ChallengeKind::AccountAction),
        ("registration_missing_requirement", ChallengeKind::AccountAction),
        ("registration_verification_required", ChallengeKind::AccountAction),
        ("multi_factor_challenge_required", ChallengeKind::TwoFactor),
    ];
    let meanings = wrong
        .map(|reason| (reason, WrongCredentials))
        .into_iter()
        .chain(steps.map(|(reason, kind)| (reason, Challenge(kind, json!({ "reason": reason })))))
        .chain([("grant_type_disabled", Misconfigured)]);
    for (reason, meaning) in meanings {
        for code in ["invalid_grant", "invalid_request", "access_denied"] {
            let body = json!({ "error": code, "error_reason": reason, "error_description": "text" });
            let answer = answer(400, "application/json", &body.to_string());
            assert_eq!(login_meaning(&answer), meaning, "{code} {reason}");
        }
    }
}

#[test]
fn fusionauth_challenges_pass_on_ids_and_methods_only() {
    let methods = json!([{ "id": "m", "method": "email", "email": "d***@example.com" }]);
    let body = json!({
        "error": "two_factor_required", "error_reason": "multi_factor_challenge_required",
        "error_description": "text", "two_factor_id": "t", "two_factor_methods": methods, "access_token": "no",
    });
    let expected = json!({
        "two_factor_id": "t", "two_factor_methods": methods, "reason": "multi_factor_challenge_required",
    });
    let challenge = answer(400, "application/json", &body.to_string());
    assert_eq!(login_meaning(&challenge), Challenge(ChallengeKind::TwoFactor, expected));

    let body = json!({
        "error": "change_password_required", "error_reason": "change_password_breached",
        "change_password_id": "c",
    });
    let expected = json!({ "change_password_id": "c", "reason": "change_password_breached" });
    let challenge = answer(400, "application/json", &body.to_string());
    assert_eq!(login_meaning(&challenge), Challenge(ChallengeKind::PasswordChange, expected));

    let body = json!({ "error": "two_factor_required", "two_factor_methods": "x".repeat(9_000) });
    let challenge = answer(400, "application/json", &body.to_string());
    assert_eq!(login_meaning(&challenge), Challenge(ChallengeKind::TwoFactor, json!({})));
}

#[test]
fn fusionauth_refresh() {
    let body = json!({ "error": "invalid_grant", "error_reason": "refresh_token_not_found" }).to_string();
    let dead = answer(400, "application/json", &body);
    assert_eq!(refresh_meaning(&refresh(&dead, &[])), Dead);
    let cases = [
        (200, r#"{"token":"a","refreshToken":"r"}"#, Tokens),
        (200, "{}", Unavailable),
        (400, "", Dead),
        (400, r#"{"fieldErrors":{"refreshToken":[{"code":"[invalid]refreshToken"}]}}"#, Dead),
        (400, r#"{"generalErrors":[{"code":"[x]"}]}"#, Unavailable),
        (400, r#"{"fieldErrors":{"token":[{"code":"[x]"}]}}"#, Unavailable),
        (400, "<html>Bad Request</html>", Unavailable),
        (404, "", Dead),
        (404, "<html>no such page</html>", Misconfigured),
        (401, "", Unavailable),
        (403, "", Unavailable),
        (405, "", Misconfigured),
    ];
    for (status, body, meaning) in cases {
        let answer = answer(status, "application/json", body);
        assert_eq!(refresh_meaning(&jwt_refresh(&answer, &[])), meaning, "{status} {body}");
    }
}

#[test]
fn revocation_takes_any_body() {
    for body in ["", "{}", "<html>ok</html>", r#"{"error":"invalid_token"}"#] {
        assert_eq!(revocation(&answer(200, "", body), &[]), Ok(()));
    }
    assert_eq!(revocation(&answer(400, "", &oauth("unsupported_token_type", "")), &[]), Ok(()));
    assert!(matches!(revocation(&answer(400, "", ""), &[]), Err(RevokeError::Refused(_))));
    assert!(matches!(
        revocation(&answer(401, "", &oauth("invalid_client", "")), &[]),
        Err(RevokeError::Refused(_))
    ));
    assert!(matches!(revocation(&answer(503, "", ""), &[]), Err(RevokeError::Unavailable(_))));
    assert!(matches!(revocation(&answer(302, "", ""), &[]), Err(RevokeError::Unavailable(_))));
    // Worth another attempt: who knows who says that?
    for (status, media_type, body) in [
        (403, "text/html", "<html>"),
        (401, "text/plain", "no"),
        (422, "", ""),
        (400, "application/json", r#"{"error":"unheard_of"}"#),
        (200, "application/json", r#"{"error":"server_error"}"#),
    ] {
        let unclear = revocation(&answer(status, media_type, body), &[]);
        assert!(matches!(unclear, Err(RevokeError::Unavailable(_))), "{status} {body}");
    }
    let refused = revocation(&answer(200, "", &oauth("invalid_client", "")), &[]);
    assert!(matches!(refused, Err(RevokeError::Refused(_))));
}

#[test]
fn the_end_of_a_session_is_204_and_no_page() {
    assert_eq!(end_session(&answer(204, "", ""), &[]), Ok(()));
    assert_eq!(end_session(&answer(200, "application/json", "{}"), &[]), Ok(()));
    for refused in [
        answer(200, "text/html", "<html>Do you want to log out?</html>"),
        answer(400, "application/json", &oauth("invalid_grant", "Invalid refresh token")),
        answer(400, "", ""),
        answer(400, "application/json", &oauth("invalid_token", "")),
        answer(401, "application/json", &oauth("unauthorized_client", "")),
        answer(404, "text/html", "<html>"),
    ] {
        assert!(matches!(end_session(&refused, &[]), Err(RevokeError::Refused(_))), "{}", refused.status);
    }
    for status in [302, 403, 408, 422, 429, 500, 503] {
        let passing = end_session(&answer(status, "text/html", "<html>"), &[]);
        assert!(matches!(passing, Err(RevokeError::Unavailable(_))), "{status}");
    }
}

#[test]
fn texts_for_the_log_repeat_no_secret() {
    let body = oauth("invalid_grant", "no such token: r-1234\nx");
    let error = refresh(&answer(400, "application/json", &body), &["r-1234"]).unwrap_err();
    let expected = "status 400, error invalid_grant, error_description [a text that repeats a secret]";
    assert_eq!(error, RefreshError::Dead(expected.to_owned()));
}
