//! Answers of a provider and of what stands in front of it: only a code that the provider knows is its word.

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, Fault, World};

const HTML: &str = "Content-Type: text/html\r\n";
const JSON: &str = "Content-Type: application/json\r\n";
const PLAIN: &str = "Content-Type: text/plain\r\n";
const PROBLEM: &str = "Content-Type: application/problem+json\r\n";
const BASIC: &str = "WWW-Authenticate: Basic realm=\"restricted\"\r\n";
const PAGE: &str = "<html><head><title>403 Forbidden</title></head><body><hr>nginx</body></html>";

fn answer(status: u16, headers: &str, body: &str) -> Fault {
    Fault::Answer { status, headers: headers.to_owned(), body: body.to_owned() }
}

/// Returns answers of firewalls, proxies and load balancers, and those of a provider without a known code.
fn unclear() -> Vec<Fault> {
    let mut faults = Vec::new();
    for status in [400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 421, 422, 431, 451, 499] {
        faults.push(answer(status, HTML, PAGE));
        faults.push(answer(status, JSON, r#"{"message":"Forbidden"}"#));
    }
    for status in [400, 401, 403, 422] {
        faults.extend([
            answer(status, PLAIN, "Forbidden"),
            answer(status, "", "blocked"),
            answer(status, HTML, ""),
            answer(status, PROBLEM, r#"{"type":"about:blank","title":"Forbidden","status":403}"#),
            answer(status, JSON, r#"{"timestamp":1,"status":401,"error":"Unauthorized","path":"/token"}"#),
            answer(status, JSON, "{}"),
        ]);
    }
    faults.extend([
        answer(401, BASIC, ""),
        answer(401, BASIC, r#"{"message":"Unauthorized"}"#),
        answer(422, "", ""),
        answer(200, HTML, PAGE),
        answer(200, JSON, r#"{"error":"an_unknown_code"}"#),
    ]);
    let bodies = [
        "[]",
        "null",
        r#""invalid_grant""#,
        r#"["invalid_grant"]"#,
        r#"{"error":{"code":401,"message":"Unauthorized"}}"#,
        r#"{"error":{"code":"invalid_grant"}}"#,
        r#"{"error":["invalid_grant"]}"#,
        r#"{"error":null}"#,
        r#"{"error":"an_unknown_code"}"#,
        r#"{"error":"INVALID_GRANT"}"#,
        r#"{"errorCode":"invalid_grant","errorSummary":"x"}"#,
        r#"{"code":"invalid_grant"}"#,
        r#"{"error":"invalid_grant","error":"an_unknown_code"}"#,
        r#"{"error":"invalid_grant""#,
        "error=invalid_grant",
        "invalid_grant",
    ];
    faults.extend(bodies.map(|body| answer(400, JSON, body)));
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_providers_word_ends_no_session() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    for fault in unclear() {
        world.expire_access_tokens();
        world.provider.fail(Endpoint::Refresh, fault.clone());
        for path in ["/api/cart", "/api/user", "/either/page"] {
            let answer = browser.get(path).await;
            assert_eq!(answer.status(), 503, "{fault:?}: {}", answer.text());
            answer.assert_problem(503, "identity_provider_unavailable");
            assert!(answer.header("retry-after").is_some() && answer.set_cookies().is_empty(), "{fault:?}");
        }
        world.provider.recover();
        let answer = browser.get("/api/cart").await;
        assert_eq!(answer.status(), 200, "{fault:?}, afterwards: {}", answer.text());
    }
    assert_eq!(world.provider.count(Endpoint::Login), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_providers_word_is_no_wrong_password_and_no_guess() {
    let world = World::with("[server.limits]\nfailed_logins_per_name = 1").await;
    for fault in unclear() {
        world.provider.fail(Endpoint::Login, fault.clone());
        for _ in 0..2 {
            let answer = world.browser().try_log_in("ada", "correct horse").await;
            assert_eq!(answer.status(), 503, "{fault:?}: {}", answer.text());
            answer.assert_problem(503, "identity_provider_unavailable");
            assert!(answer.header("retry-after").is_some() && answer.set_cookies().is_empty(), "{fault:?}");
        }
    }
    world.provider.recover();
    world.browser().log_in("ada").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_code_is_the_providers_word_however_it_is_wrapped() {
    let world = World::start().await;
    let dead = r#"{"error":"invalid_grant","error_description":"Token is not active"}"#;
    let with_mark = format!("\u{feff}{dead}");
    let faults = [
        answer(400, JSON, dead),
        answer(400, "", dead),
        answer(400, HTML, dead),
        answer(400, PLAIN, dead),
        answer(401, PROBLEM, dead),
        answer(401, &format!("{BASIC}{JSON}"), dead),
        answer(400, "Content-Type: application/json; charset=utf-8\r\n", &with_mark),
        // As GitHub does.
        answer(200, JSON, dead),
        answer(200, JSON, r#"{"error":"bad_refresh_token","error_description":"..."}"#),
        answer(200, JSON, r#"{"access_token":"","error":"invalid_grant"}"#),
        // Auth0.
        answer(
            403,
            JSON,
            r#"{"error":"access_denied","error_description":"Unknown or invalid refresh token"}"#,
        ),
        // Glewlwyd.
        answer(400, "", ""),
    ];
    for fault in faults {
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        world.provider.fail_next(Endpoint::Refresh, fault.clone());
        let answer = browser.get("/api/cart").await;
        assert_eq!(answer.status(), 401, "{fault:?}: {}", answer.text());
        answer.assert_problem(401, "session_expired");
        assert!(browser.jar.is_empty(), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_providers_wrong_password_is_one_and_is_counted() {
    let world = World::with("[server.limits]\nfailed_logins_per_name = 3").await;
    let description = r#""error_description":"AADB2C90225: The username or password provided are invalid.""#;
    let faults = [
        // Azure AD B2C.
        answer(400, JSON, &format!(r#"{{"error":"access_denied",{description}}}"#)),
        // Glewlwyd.
        answer(403, "", ""),
        // Entra ID.
        answer(400, JSON, r#"{"error":"invalid_grant","error_codes":[50126]}"#),
        // As GitHub would.
        answer(200, JSON, r#"{"error":"invalid_grant"}"#),
        // Cloud Foundry's UAA.
        answer(401, JSON, r#"{"error":"unauthorized","error_description":"Bad credentials"}"#),
        answer(403, JSON, r#"{"error":"invalid_grant","error_description":"Wrong email or password."}"#),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        world.provider.fail(Endpoint::Login, fault.clone());
        let name = format!("user{number}");
        let before = world.provider.count(Endpoint::Login);
        for guess in 0..12 {
            let answer = world.browser().try_log_in(&name, "a guess").await;
            let expected = if guess < 3 { (401, "invalid_credentials") } else { (429, "too_many_attempts") };
            assert_eq!(answer.status(), expected.0, "{fault:?}: {}", answer.text());
            answer.assert_problem(expected.0, expected.1);
        }
        assert_eq!(world.provider.count(Endpoint::Login) - before, 3, "{fault:?}");
    }
}

/// Answers after a right password, and the code that the app is told.
fn steps() -> Vec<(Fault, &'static str)> {
    let oauth = |error: &str| answer(400, JSON, &json!({ "error": error }).to_string());
    let entra = |error: &str, number: u64| {
        answer(400, JSON, &json!({ "error": error, "error_codes": [number] }).to_string())
    };
    vec![
        (oauth("interaction_required"), "account_action_required"),
        (oauth("login_required"), "account_action_required"),
        (oauth("consent_required"), "account_action_required"),
        (oauth("account_selection_required"), "account_action_required"),
        (oauth("insufficient_authorization"), "account_action_required"),
        (answer(403, JSON, r#"{"error":"mfa_required","mfa_token":"Fe26"}"#), "two_factor_required"),
        (answer(200, JSON, r#"{"error":"interaction_required"}"#), "account_action_required"),
        (entra("interaction_required", 50076), "two_factor_required"),
        (entra("invalid_grant", 50079), "two_factor_required"),
        (entra("invalid_grant", 50055), "password_change_required"),
        (entra("invalid_grant", 65001), "account_action_required"),
        (
            answer(400, JSON, r#"{"error":"invalid_grant","error_codes":[99],"suberror":"basic_action"}"#),
            "account_action_required",
        ),
        (
            answer(400, JSON, r#"{"error":"invalid_grant","error_subtype":"invalid_rapt"}"#),
            "account_action_required",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_step_after_a_right_password_is_told_and_is_no_guess() {
    let world = World::with("[server.limits]\nfailed_logins_per_name = 1").await;
    for (fault, code) in steps() {
        world.provider.fail(Endpoint::Login, fault.clone());
        for _ in 0..3 {
            let answer = world.browser().try_log_in("ada", "correct horse").await;
            assert_eq!(answer.status(), 401, "{fault:?}: {}", answer.text());
            answer.assert_problem(401, code);
            assert!(!answer.text().contains("Fe26"), "{}", answer.text());
        }
    }
    world.provider.recover();
    world.browser().log_in("ada").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_wanted_at_a_refresh_is_told_and_the_session_is_kept() {
    let world = World::with("[refresh]\nreplay_window = '10ms'").await;
    for (fault, code) in steps() {
        let mut browser = world.logged_in("ada").await;
        let jar = browser.jar.clone();
        world.expire_access_tokens();
        world.provider.fail(Endpoint::Refresh, fault.clone());
        for path in ["/api/cart", "/api/user"] {
            let answer = browser.get(path).await;
            assert_eq!(answer.status(), 401, "{fault:?}: {}", answer.text());
            answer.assert_problem(401, code);
            assert!(answer.set_cookies().is_empty(), "{fault:?}");
        }
        // Where nobody has to be logged in there is a page to log in on.
        let answer = browser.get("/either/page").await;
        answer.assert_status(200);
        assert_eq!(answer.seen_by_app("x-auth-user"), None);
        assert_eq!(browser.jar, jar, "{fault:?}");
        world.provider.recover();
        // Once the user has done what was wanted.
        crate::support::patiently("the session to go on", async {
            while browser.get("/api/cart").await.status() != 200 {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
        assert_ne!(browser.jar[ACCESS], jar[ACCESS]);
        assert!(browser.jar.contains_key(REFRESH));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_wanted_at_an_early_refresh_leaves_the_valid_jwt() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.clock.advance(280);
    let step = answer(400, JSON, r#"{"error":"interaction_required"}"#);
    world.provider.fail(Endpoint::Refresh, step);
    let answer = browser.get("/api/cart").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
    assert_eq!((answer.set_cookies().len(), world.provider.count(Endpoint::Refresh)), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_429_at_login_is_ours_with_its_time() {
    let world = World::with("[server.limits]\nfailed_logins_per_name = 1").await;
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n";
    let blocked = r#"{"error":"too_many_attempts","error_description":"Your account has been blocked"}"#;
    let cases = [
        (answer(429, &format!("Retry-After: 17\r\n{JSON}"), blocked), Some(17)),
        (answer(429, &format!("{date}{JSON}"), blocked), Some(30)),
        (answer(429, "Retry-After: 4000000000\r\n", ""), Some(3600)),
        (answer(429, "Retry-After: 99999999999999999999999\r\n", ""), Some(3600)),
        (answer(429, "Retry-After: 0\r\n", ""), Some(1)),
        (answer(429, "Retry-After: soon\r\n", ""), None),
        (answer(429, HTML, PAGE), None),
        (answer(400, JSON, blocked), None),
    ];
    for (fault, seconds) in cases {
        world.provider.fail(Endpoint::Login, fault.clone());
        for _ in 0..2 {
            let answer = world.browser().try_log_in("ada", "correct horse").await;
            assert_eq!(answer.status(), 429, "{fault:?}: {}", answer.text());
            answer.assert_problem(429, "too_many_attempts");
            let told: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
            assert_eq!(seconds.unwrap_or(told), told, "{fault:?}");
            assert!((1..=3600).contains(&told), "{told}");
        }
    }
    world.provider.recover();
    world.browser().log_in("ada").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_429_at_a_refresh_is_503_with_its_time() {
    let world = World::start().await;
    for (status, headers, seconds) in [
        (429, "Retry-After: 17\r\n", "17"),
        (503, "Retry-After: 23\r\n", "23"),
        (503, "Retry-After: 86400\r\n", "3600"),
        (429, "", "5"),
    ] {
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        world.provider.fail(Endpoint::Refresh, answer(status, headers, ""));
        for path in ["/api/cart", "/api/user"] {
            let answer = browser.get(path).await;
            answer.assert_problem(503, "identity_provider_unavailable");
            assert_eq!(answer.header("retry-after"), Some(seconds), "{status} {headers}");
        }
        assert_eq!(browser.jar.len(), 2);
        world.provider.recover();
        browser.get("/api/cart").await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_503_at_a_login_comes_with_its_time() {
    let world = World::start().await;
    world.provider.fail(Endpoint::Login, answer(503, "Retry-After: 23\r\n", ""));
    let answer = world.browser().try_log_in("ada", "correct horse").await;
    answer.assert_problem(503, "identity_provider_unavailable");
    assert_eq!(answer.header("retry-after"), Some("23"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_in_front_of_the_revocation_endpoint_is_not_the_last_word() {
    let world = World::start().await;
    for fault in
        [answer(403, HTML, PAGE), answer(401, BASIC, ""), answer(200, JSON, r#"{"error":"server_error"}"#)]
    {
        let mut browser = world.logged_in("ada").await;
        let token = browser.jar[REFRESH].clone();
        world.provider.fail_next(Endpoint::Revoke, fault.clone());
        browser.send(crate::support::Request::post("/api/logout")).await.assert_status(204);
        crate::support::wait_for("another attempt", || !world.provider.is_alive(&token)).await;
    }
}
