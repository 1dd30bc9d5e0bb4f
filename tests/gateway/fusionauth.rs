//! FusionAuth: both of its refresh APIs, its errors and challenges, its logout (identity-providers.md).

use serde_json::json;

use crate::support::fusionauth::FusionAuth;
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Fault, Request, World};

async fn world(refresh_api: &str) -> (World, FusionAuth) {
    let builder = World::builder().await;
    let fusionauth = FusionAuth::start(builder.clock.clone()).await;
    let builder = builder.without("apps.forums").without("identity_providers.main");
    let toml = format!(
        "{}\nscope = \"openid offline_access\"\nalgorithms = [\"RS256\"]",
        fusionauth.config(refresh_api)
    );
    let world = builder.lay_over(&toml).start().await;
    (world, fusionauth)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workflow_by_the_refresh_grant_reusable_and_one_time() {
    for one_time in [false, true] {
        let (world, fusionauth) = world("oauth2").await;
        if one_time {
            fusionauth.use_tokens_once();
        }
        let mut browser = world.logged_in("ada").await;
        assert_eq!(browser.get("/api/user").await.json(), json!({"sub": "id-of-ada", "roles": ["user"]}));
        let old = browser.jar.clone();
        world.expire_access_tokens();
        let answer = browser.get("/api/cart").await;
        answer.assert_status(200);
        assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
        assert_ne!(browser.jar[ACCESS], old[ACCESS]);
        assert_eq!(browser.jar[REFRESH] != old[REFRESH], one_time);
        assert_eq!(fusionauth.calls("POST /api/jwt/refresh").len(), 0);
        fusionauth.revoke_all();
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_problem(401, "session_expired");
        assert!(browser.jar.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workflow_by_the_jwt_api_reusable_and_one_time() {
    for one_time in [false, true] {
        let (world, fusionauth) = world("jwt").await;
        if one_time {
            fusionauth.use_tokens_once();
        }
        let mut browser = world.logged_in("ada").await;
        let old = browser.jar.clone();
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_status(200);
        assert_eq!(browser.jar[REFRESH] != old[REFRESH], one_time);
        let call = fusionauth.calls("POST /api/jwt/refresh").pop().expect("a refresh");
        let body = call.json();
        assert!(body["refreshToken"].as_str().is_some_and(|token| token.starts_with("fa-")), "{body}");
        assert_eq!(
            body["token"].as_str().map(|token| token.split('.').count()),
            Some(3),
            "the expired JWT goes along"
        );

        // An absent JWT is no reason not to refresh.
        browser.jar.remove(ACCESS);
        browser.get("/api/cart").await.assert_status(200);

        fusionauth.revoke_all();
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_problem(401, "session_expired"); // 404, empty
        assert!(browser.jar.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_refusals_at_refresh() {
    for (refresh_api, what) in [("oauth2", "POST /oauth2/token"), ("jwt", "POST /api/jwt/refresh")] {
        let (world, fusionauth) = world(refresh_api).await;
        for fault in [
            Fault::status(500, ""),
            Fault::status(503, "{}"),
            Fault::status(429, ""),
            Fault::status(200, "{}"),
            Fault::Reset,
        ] {
            let mut browser = world.logged_in("ada").await;
            world.expire_access_tokens();
            fusionauth.fail_next(what, fault.clone());
            let answer = browser.get("/api/cart").await;
            assert_eq!(answer.status(), 503, "{refresh_api} {fault:?}: {}", answer.text());
            assert_eq!(browser.jar.len(), 2);
        }
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        fusionauth.fail_next(what, Fault::status(400, ""));
        browser.get("/api/cart").await.assert_problem(401, "session_expired");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_errors_and_challenges_at_login() {
    let (world, fusionauth) = world("oauth2").await;
    let error = |error: &str, reason: &str, more: &str| {
        format!(
            r#"{{"error":"{error}","error_reason":"{reason}","error_description":"secret detail"{more}}}"#
        )
    };
    let methods = r#","two_factor_id":"tf-1","two_factor_methods":[{"id":"m1","method":"authenticator"}]"#;
    let change = r#","change_password_id":"cp-1""#;
    let cases = [
        (error("invalid_grant", "invalid_user_credentials", ""), "invalid_credentials"),
        (error("invalid_grant", "user_not_found", ""), "invalid_credentials"),
        (error("invalid_grant", "user_locked", ""), "invalid_credentials"),
        (error("two_factor_required", "multi_factor_challenge_required", methods), "two_factor_required"),
        (error("change_password_required", "change_password_breached", change), "password_change_required"),
        (error("invalid_grant", "change_password_expired", change), "password_change_required"),
        (error("invalid_grant", "email_verification_required", ""), "account_action_required"),
        (error("invalid_grant", "registration_verification_required", ""), "account_action_required"),
    ];
    for (number, (body, code)) in cases.into_iter().enumerate() {
        fusionauth.fail_next("POST /oauth2/token", Fault::status(400, &body));
        let answer = world.browser().try_log_in(&format!("user{number}"), "correct horse").await;
        assert_eq!(answer.status(), 401, "{body}: {}", answer.text());
        answer.assert_problem(401, code);
        assert!(answer.set_cookies().is_empty() && !answer.text().contains("secret detail"));
        let challenge = answer.json()["challenge"].clone();
        match code {
            "two_factor_required" => {
                assert_eq!(challenge["two_factor_id"], "tf-1", "{challenge}");
                assert_eq!(challenge["two_factor_methods"][0]["method"], "authenticator", "{challenge}");
            }
            "password_change_required" => assert_eq!(challenge["change_password_id"], "cp-1", "{challenge}"),
            _ => {}
        }
    }
    let grant_disabled = error("unauthorized_client", "grant_type_disabled", "");
    for (status, body) in [(401, r#"{"error":"invalid_client"}"#), (400, grant_disabled.as_str())] {
        fusionauth.fail_next("POST /oauth2/token", Fault::status(status, body));
        let answer = world.browser().try_log_in("ada", "correct horse").await;
        answer.assert_problem(503, "identity_provider_unavailable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_logout_ends_the_refresh_token_without_rfc_7009() {
    let (world, fusionauth) = world("oauth2").await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    let call = fusionauth.calls("POST /oauth2/token").pop().expect("a refresh");
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&call.body).into_owned().collect();
    let (_, token) = form.into_iter().find(|(name, _)| name == "refresh_token").expect("its token");
    assert!(fusionauth.is_alive(&token));
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    assert!(browser.jar.is_empty());
    assert!(!fusionauth.is_alive(&token));
    let calls =
        fusionauth.calls("POST /api/logout").len() + fusionauth.calls("DELETE /api/jwt/refresh").len();
    assert_eq!(calls, 1);
    for call in fusionauth.calls("POST /api/logout") {
        assert!(!call.head.word(1).contains("global=true"), "other devices stay signed in");
    }
}
