//! Tables of what running providers answer (docs: how identity providers differ), and what it must mean.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::identity_provider::ChallengeKind;

/// An outcome without the texts for the log.
#[derive(Debug, Clone, PartialEq)]
enum Meaning {
    Tokens,
    WrongCredentials,
    Dead,
    Unavailable,
    Misconfigured,
    Challenge(ChallengeKind, Value),
}
use Meaning::{Challenge, Dead, Misconfigured, Tokens, Unavailable, WrongCredentials};

fn answer(status: u16, media_type: &str, body: &str) -> Answer {
    Answer {
        status,
        media_type: media_type.to_owned(),
        date: None,
        body: Zeroizing::new(body.as_bytes().to_vec()),
    }
}

fn login_meaning(answer: &Answer) -> Meaning {
    match login(answer, &[]) {
        Ok(_) => Tokens,
        Err(LoginError::InvalidCredentials) => WrongCredentials,
        Err(LoginError::Unavailable(_)) => Unavailable,
        Err(LoginError::Misconfigured(_)) => Misconfigured,
        Err(LoginError::Challenge(kind, value)) => Challenge(kind, value),
    }
}

fn refresh_meaning(result: &Result<TokenSet, RefreshError>) -> Meaning {
    match result {
        Ok(_) => Tokens,
        Err(RefreshError::Dead(_)) => Dead,
        Err(RefreshError::Unavailable(_)) => Unavailable,
        Err(RefreshError::Misconfigured(_)) => Misconfigured,
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
fn login_without_a_known_code() {
    let cases = [
        (400, "", WrongCredentials),
        (401, "", WrongCredentials),
        // Glewlwyd
        (403, "", WrongCredentials),
        (422, "", WrongCredentials),
        (401, "<html>Unauthorized</html>", WrongCredentials),
        (400, "not json", WrongCredentials),
        (400, "[1]", WrongCredentials),
        (401, r#"{"error":{"code":7}}"#, WrongCredentials),
        (401, r#"{"message":"wrong"}"#, WrongCredentials),
        (403, r#"{"error":"account_locked"}"#, WrongCredentials),
        (404, "", Misconfigured),
        (405, "", Misconfigured),
        (415, "", Misconfigured),
    ];
    for (status, body, meaning) in cases {
        assert_eq!(login_meaning(&answer(status, "text/html", body)), meaning, "{status} {body}");
    }
}

#[test]
fn refresh_without_a_known_code() {
    let cases = [
        // Glewlwyd
        (400, "", "", Dead),
        (401, "", "", Dead),
        (403, "", "", Dead),
        (400, "text/html", "<html>Bad Request</html>", Dead),
        (403, "text/plain", "no", Dead),
        (403, "text/html", "<html>blocked by a firewall</html>", Unavailable),
        (400, "application/json", r#"{"error":"some_new_code"}"#, Dead),
        (404, "text/html", "<html>not found</html>", Misconfigured),
        (404, "", "", Misconfigured),
        (405, "", "", Misconfigured),
    ];
    for (status, media_type, body, meaning) in cases {
        let answer = answer(status, media_type, body);
        assert_eq!(refresh_meaning(&refresh(&answer, &[])), meaning, "{status} {body}");
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
            assert_eq!(login_meaning(&answer), Unavailable, "{status} {body}");
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
        (200, r#"{"error":"invalid_grant"}"#, Unavailable),
    ];
    for (status, body, meaning) in cases {
        let answer = answer(status, "application/json", body);
        assert_eq!(login_meaning(&answer), meaning, "{status} {body}");
        assert_eq!(refresh_meaning(&refresh(&answer, &[])), meaning, "{status} {body}");
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
        (404, "", Dead),
        (404, "<html>no such page</html>", Misconfigured),
        (401, "", Misconfigured),
        (403, "", Misconfigured),
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
    for status in [302, 408, 429, 500, 503] {
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
