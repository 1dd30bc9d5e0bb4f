use std::time::Duration;

use super::{Level, Report, run_at};
use crate::config::{
    Access, AccessLog, App, ClaimPath, ClientAuthentication, Config, Cookies, HealthCheck,
    IdentityProvider as Settings, Limits, Log, LogFormat, Login, Logout, LogoutMethod, ProviderKind, Refresh,
    RefreshApi, Route, RoutePath, SameSite, Secret, Timeouts, User,
};
use crate::identity_provider::testing::server::{JWK, Server, json};
use crate::identity_provider::{Credentials, testing};
use crate::system::clock::ManualClock;

/// The time that [`dated`] says.
const NOW: u64 = 784_111_777;

fn dated(status: u16, body: &'static str) -> axum::http::Response<axum::body::Body> {
    let mut response = json(status, body);
    response.headers_mut().insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
    response
}

fn app() -> App {
    let limit = Duration::from_secs(1);
    App {
        name: String::from("store"),
        hosts: vec![String::from("store.localhost")],
        upstreams: Vec::new(),
        identity_provider: 0,
        client_id: String::from("store"),
        client_secret: Some(Secret::new("canary-secret")),
        audience: Vec::new(),
        authorized_parties: vec![String::from("store")],
        roles_claim: ClaimPath::Roles,
        token_parameters: Vec::new(),
        login: Login {
            path: String::from("/api/login"),
            username_field: String::from("username"),
            password_field: String::from("password"),
        },
        user: User { path: String::from("/api/user"), anonymous_status: 404, claims: Vec::new() },
        logout: Logout { path: String::from("/api/logout") },
        backchannel_logout: None,
        webhook: None,
        cookies: Cookies {
            access_token: String::from("a"),
            refresh_token: String::from("r"),
            same_site: SameSite::Lax,
            secure: true,
            domain: None,
            refresh_token_lifetime: None,
        },
        identity_headers: Vec::new(),
        max_identity_header_size: 4096,
        forward_access_token: false,
        allowed_origins: Vec::new(),
        routes: vec![Route {
            path: RoutePath::Prefix(String::new()),
            access: Access::Public,
            roles: Vec::new(),
        }],
        timeouts: Timeouts { connect: limit, response: limit, idle: limit },
        upstream_tls: crate::config::UpstreamTls::default(),
        health_check: HealthCheck { interval: limit, timeout: limit, path: None },
        resolve_interval: limit,
    }
}

fn config(settings: Settings) -> Config {
    let limit = Duration::from_secs(1);
    Config {
        outline: crate::config::Outline::default(),
        server: crate::config::Server {
            listen: Vec::new(),
            listen_tls: Vec::new(),
            tls: None,
            admin_listen: None,
            admin_hosts: Vec::new(),
            admin_token: None,
            trusted_proxies: Vec::new(),
            worker_threads: 1,
            watch_config: false,
            upgrade_socket: None,
            shutdown_delay: Duration::ZERO,
            shutdown_grace: limit,
            limits: Limits {
                header_timeout: limit,
                body_min_rate: 256,
                keep_alive_timeout: limit,
                max_header_size: 1,
                max_connections: 1,
                login_body_timeout: limit,
                max_login_body_size: 1,
                verified_tokens: 1,
                max_waiting_logins: 1,
                failed_logins_per_name: 1,
                failed_logins_per_address: 1,
            },
            tracing: None,
            log: Log { format: LogFormat::Text, level: String::from("info"), access: AccessLog::Refused },
        },
        session: crate::config::Session {
            seal_keys: Vec::new(),
            bind_refresh: false,
            absolute_lifetime: None,
            idle_lifetime: None,
            revocation_lifetime: limit,
        },
        refresh: Refresh { ahead: limit, replay_window: limit },
        shared_state: None,
        identity_providers: vec![settings],
        apps: vec![app()],
    }
}

async fn healthy() -> Server {
    let server = Server::start().await;
    server.publish_metadata();
    let jwks: &'static str = format!(r#"{{"keys":[{JWK}]}}"#).leak();
    server.script("/jwks", move || dated(200, jwks));
    server.answer("/token", 400, r#"{"error":"invalid_grant"}"#);
    server
}

async fn diagnose(settings: Settings) -> Report {
    run_at(&config(settings), None, &ManualClock::new(NOW)).await
}

fn problems(report: &Report) -> Vec<(Level, String)> {
    let bad = report.findings().iter().filter(|finding| finding.level > Level::Ok);
    bad.map(|finding| (finding.level, format!("{} | {}", finding.message, finding.fix))).collect()
}

#[tokio::test]
async fn a_healthy_provider_has_no_findings_to_fix() {
    let server = healthy().await;
    let report = diagnose(testing::config(&server.base)).await;
    assert_eq!((problems(&report), report.exit_code()), (Vec::new(), 0), "{report}");
    assert_eq!(report.findings().len(), 6, "{report}");
    assert!(!report.to_string().contains("canary-secret"));
    let forms = [
        "a dead refresh token is status 400, error invalid_grant",
        "a wrong password is status 400, error invalid_grant",
    ];
    assert!(forms.iter().all(|form| report.to_string().contains(form)), "{report}");
}

#[tokio::test]
async fn each_fault_is_named_with_its_fix() {
    type Fault = fn(&Server, &mut Settings);
    let cases: [(Fault, Level, &str); 11] = [
        (
            |server, _| server.answer("/token", 403, "<html>blocked</html>"),
            Level::Error,
            "something in front of the provider answers: status 403, application/json, not the provider's own words",
        ),
        (
            |server, _| {
                let calls = std::sync::atomic::AtomicUsize::new(0);
                server.script("/token", move || {
                    let is_first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
                    let body = r#"{"error":"invalid_grant"}"#;
                    if is_first { json(400, body) } else { json(422, "") }
                });
            },
            Level::Warning,
            "status 422, application/json, no body",
        ),
        (|_, settings| settings.issuer.push('/'), Level::Error, "set `issuer = \"http://"),
        (
            |server, _| server.answer("/.well-known/openid-configuration", 404, ""),
            Level::Error,
            "set `token_endpoint` and `jwks_uri`",
        ),
        (|server, _| server.answer("/jwks", 503, ""), Level::Error, "`jwks_uri`"),
        (|_, settings| settings.algorithms = vec![jsonwebtoken::Algorithm::RS256], Level::Error, "Ed25519"),
        (
            |server, _| server.answer("/token", 401, r#"{"error":"invalid_client"}"#),
            Level::Error,
            "`client_secret`",
        ),
        (|server, _| server.answer("/token", 400, ""), Level::Warning, "cannot tell"),
        (|server, _| server.answer("/token", 503, ""), Level::Error, "cannot be used"),
        (
            |server, _| server.script("/jwks", || json(200, format!(r#"{{"keys":[{JWK}]}}"#))),
            Level::Error,
            "days) ahead of ours, by its `Date`",
        ),
        (
            |server, settings| {
                settings.token_endpoint = Some(format!("{}/token", server.base).parse().unwrap());
                settings.jwks_uri = Some(format!("{}/jwks", server.base).parse().unwrap());
                server.answer("/.well-known/openid-configuration", 404, "");
            },
            Level::Warning,
            "no revocation endpoint",
        ),
    ];
    for (fault, level, text) in cases {
        let server = healthy().await;
        let mut settings = testing::config(&server.base);
        fault(&server, &mut settings);
        let report = diagnose(settings).await;
        let found = problems(&report);
        assert!(found.iter().any(|(l, t)| *l == level && t.contains(text)), "{text}: {report}");
        assert_eq!(report.exit_code(), u8::from(level == Level::Error), "{report}");
    }
}

#[tokio::test]
async fn a_client_without_the_password_grant_is_found() {
    let server = healthy().await;
    let calls = std::sync::atomic::AtomicUsize::new(0);
    server.script("/token", move || {
        let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        json(400, if first { r#"{"error":"invalid_grant"}"# } else { r#"{"error":"unauthorized_client"}"# })
    });
    let found = problems(&diagnose(testing::config(&server.base)).await);
    assert!(found[0].1.contains("may not use the password grant"), "{found:?}");
}

#[tokio::test]
async fn a_provider_that_is_down_leaves_its_apps_unchecked() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let issuer = format!("http://{}", socket.local_addr().unwrap());
    let found = problems(&diagnose(testing::config(&issuer)).await);
    assert_eq!(found.iter().map(|(level, _)| *level).collect::<Vec<_>>(), [Level::Error, Level::Warning]);
}

#[tokio::test]
async fn fusionauths_refresh_api_is_tried() {
    let server = Server::start().await;
    let jwks: &'static str = format!(r#"{{"keys":[{JWK}]}}"#).leak();
    server.script("/.well-known/jwks.json", move || dated(200, jwks));
    server.answer("/oauth2/token", 400, r#"{"error":"invalid_grant"}"#);
    let mut settings = testing::config(&server.base);
    settings.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::Jwt };
    settings.client_auth = ClientAuthentication::Post;
    server.answer("/api/jwt/refresh", 404, "");
    assert_eq!(problems(&diagnose(settings.clone()).await), Vec::new());
    server.answer("/api/jwt/refresh", 404, "<html>");
    let found = problems(&diagnose(settings).await);
    assert!(found[0].1.contains("refresh_api"), "{found:?}");
}

#[tokio::test]
async fn where_logouts_end_the_provider_s_session() {
    let cases: [(u16, &str, &str); 3] = [
        (400, r#"{"error":"invalid_grant"}"#, ""),
        (204, "", ""),
        (404, "", "does not seem to take refresh tokens"),
    ];
    for (status, body, problem) in cases {
        let server = healthy().await;
        server.answer("/logout", status, body);
        let mut settings = testing::config(&server.base);
        settings.logout = LogoutMethod::EndSession;
        let report = diagnose(settings).await;
        let found = problems(&report);
        assert_eq!(found.len(), usize::from(!problem.is_empty()), "{report}");
        assert!(
            found.iter().all(|(level, text)| *level == Level::Error && text.contains(problem)),
            "{report}"
        );
        assert!(report.to_string().contains("logout ends the provider's session at http://"), "{report}");
    }
    let server = healthy().await;
    let without = serde_json::json!({
        "issuer": server.base, "token_endpoint": format!("{}/token", server.base), "jwks_uri": format!("{}/jwks", server.base),
    });
    server.answer("/.well-known/openid-configuration", 200, &without.to_string());
    let mut settings = testing::config(&server.base);
    settings.logout = LogoutMethod::EndSession;
    let report = diagnose(settings).await;
    assert!(problems(&report)[0].1.contains("no end_session_endpoint"), "{report}");
}

#[tokio::test]
async fn an_unsound_key_of_the_provider_is_named() {
    let server = healthy().await;
    // 1024 bits, behind as many zeros.
    let n = crate::access::testing::base64url([[0; 128], [0xff; 128]].concat());
    let weak = serde_json::json!({"kty": "RSA", "kid": "weak", "n": n, "e": "AQAB"}).to_string();
    let settings = || {
        let mut settings = testing::config(&server.base);
        settings.algorithms = vec![jsonwebtoken::Algorithm::RS256, jsonwebtoken::Algorithm::EdDSA];
        settings
    };
    let publish = |keys: &[&str]| {
        let jwks: &'static str = format!(r#"{{"keys":[{}]}}"#, keys.join(",")).leak();
        server.script("/jwks", move || dated(200, jwks));
    };
    publish(&[&weak]);
    let found = problems(&diagnose(settings()).await);
    let words = "an RSA key has fewer than 2048 bits";
    assert!(matches!(&found[..], [(Level::Error, text)] if text.contains(words)), "{found:?}");
    publish(&[&weak, JWK]);
    let found = problems(&diagnose(settings()).await);
    assert!(matches!(&found[..], [(Level::Warning, text)] if text.contains(words)), "{found:?}");
}

#[tokio::test]
async fn a_proxy_that_is_down_is_told_from_a_provider_that_is() {
    let server = healthy().await;
    let proxy = || {
        let url = "http://127.0.0.1:1".parse().unwrap();
        Some(crate::config::OutgoingProxy { url, credentials: None })
    };
    let with_endpoints = |base: &str| {
        let mut settings = testing::config(base);
        settings.token_endpoint = Some(format!("{base}/token").parse().unwrap());
        settings.jwks_uri = Some(format!("{base}/jwks").parse().unwrap());
        settings.revocation_endpoint = Some(format!("{base}/revoke").parse().unwrap());
        settings
    };
    let mut cases =
        vec![(testing::config(&server.base), "discovery at"), (with_endpoints(&server.base), "JWKS: ")];
    for (settings, _) in &mut cases {
        settings.proxy = proxy();
    }
    for (settings, asked) in cases {
        let found = problems(&diagnose(settings).await);
        let (_, first) = found.iter().find(|(level, _)| *level == Level::Error).expect("an error");
        assert!(first.contains(asked) && first.contains("the proxy http://127.0.0.1:1: "), "{found:?}");
        assert!(first.contains("| start the proxy, or correct `proxy`"), "{found:?}");
    }
    // Without a proxy nothing of the kind is said.
    let found = problems(&diagnose(testing::config("http://127.0.0.1:1")).await);
    assert!(!found.is_empty() && !format!("{found:?}").contains("proxy"), "{found:?}");
}

mod with_a_test_user {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json as object;

    use super::*;
    use crate::access::testing as tokens;

    /// The provider's answers to the calls that follow the two probes: (status, body), with `JWT` for a good JWT.
    type Answers = &'static [(u16, &'static str)];

    const LOGIN: (u16, &str) =
        (200, r#"{"access_token":"JWT","token_type":"Bearer","refresh_token":"canary-one"}"#);
    const REFRESH: (u16, &str) =
        (200, r#"{"access_token":"JWT","token_type":"Bearer","refresh_token":"canary-two"}"#);
    const AGAIN: (u16, &str) =
        (200, r#"{"access_token":"JWT","token_type":"Bearer","refresh_token":"canary-three"}"#);
    const DEAD: (u16, &str) = (400, r#"{"error":"invalid_grant"}"#);

    async fn tried(answers: Answers, claims: serde_json::Value, change: fn(&mut Config)) -> Report {
        let server = healthy().await;
        server.script("/jwks", || {
            let mut response = json(200, String::from_utf8(tokens::jwks(&[tokens::jwk("ed")])).unwrap());
            response.headers_mut().insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
            response
        });
        let mut all = object!({"iss": server.base, "sub": "alice", "azp": "store", "iat": NOW, "exp": NOW + 300, "roles": ["x"]});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let jwt = tokens::mint(&all);
        let calls = AtomicUsize::new(0);
        server.script("/token", move || {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            let (status, body) =
                call.checked_sub(2).map_or(DEAD, |call| answers.get(call).copied().unwrap_or(DEAD));
            json(status, body.replace("JWT", &jwt))
        });
        server.answer("/revoke", 200, "");
        let mut config = config(testing::config(&server.base));
        config.server.limits.max_header_size = 32 * 1024;
        change(&mut config);
        let user = Credentials { username: "alice".into(), password: "canary-password".to_owned().into() };
        let report = run_at(&config, Some(&user), &ManualClock::new(NOW)).await;
        assert!(
            !report.to_string().contains("canary") && !report.to_string().contains(&tokens::mint(&all)),
            "{report}"
        );
        report
    }

    #[tokio::test]
    async fn a_provider_that_rotates_and_revokes() {
        let report = tried(&[LOGIN, REFRESH, DEAD, LOGIN, REFRESH, DEAD], object!({}), |_| ()).await;
        assert_eq!(problems(&report), Vec::new(), "{report}");
        let messages: Vec<_> =
            report.findings().iter().skip(6).map(|finding| finding.message.clone()).collect();
        let clock = "clock: agrees with the provider's: the provider's shows the same second as ours, by the `iat` of a fresh JWT";
        let verified = "the JWT verifies, and lives for 300 s";
        assert_eq!(messages[..3], ["the test user can log in", clock, verified]);
        assert!(messages[3].starts_with("cookies: 2 of "), "{messages:?}");
        assert_eq!(
            messages[4..],
            [
                "the refresh token gives a new JWT",
                "a logout ends the refresh token",
                "refresh tokens rotate, without grace; `refresh.replay_window` gives 1 s here",
            ]
        );
    }

    #[tokio::test]
    async fn a_grace_period_is_told_from_no_rotation() {
        let grace = tried(&[LOGIN, REFRESH, DEAD, LOGIN, REFRESH, REFRESH], object!({}), |_| ()).await;
        assert_eq!(problems(&grace), Vec::new(), "{grace}");
        assert!(grace.to_string().contains("with a grace period"), "{grace}");
        for answers in
            [&[LOGIN, REFRESH, DEAD, LOGIN, REFRESH, AGAIN], &[LOGIN, LOGIN, DEAD, LOGIN, LOGIN, LOGIN]]
        {
            let found = problems(&tried(answers, object!({}), |_| ()).await);
            assert!(
                matches!(&found[..], [(Level::Warning, text)] if text.contains("turn rotation on")),
                "{found:?}"
            );
        }
    }

    #[tokio::test]
    async fn each_fault_is_named_with_its_fix() {
        const WITHOUT: (u16, &str) = (200, r#"{"access_token":"JWT","token_type":"Bearer"}"#);
        // {"alg":"dir","enc":"A256GCM"}
        const ENCRYPTED: (u16, &str) =
            (200, r#"{"access_token":"eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXY.dGV4dA.dGFn"}"#);
        const OPAQUE: (u16, &str) = (200, r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA"}"#);
        let long = "r".repeat(6000);
        let cases: [(Answers, serde_json::Value, Level, &str); 17] = [
            (
                &[LOGIN, REFRESH],
                object!({"iat": NOW + 20}),
                Level::Warning,
                "provider's is 20 s ahead of ours",
            ),
            (&[LOGIN, REFRESH], object!({"iat": NOW + 40}), Level::Error, "`iat` is in the future"),
            (&[LOGIN, REFRESH], object!({"iat": NOW - 16}), Level::Warning, "provider's is 16 s behind ours"),
            (&[DEAD], object!({}), Level::Error, "refuses the test user's name or password"),
            (&[(503, "")], object!({}), Level::Error, "raise `request_timeout`"),
            (
                &[LOGIN, REFRESH],
                object!({"azp": "other"}),
                Level::Error,
                "list what the provider writes into `azp` under `authorized_parties`",
            ),
            (
                &[LOGIN, REFRESH],
                object!({"cid": "other"}),
                Level::Error,
                "list what the provider writes into `cid` under `authorized_parties`",
            ),
            (
                &[LOGIN],
                object!({"at_hash": "x"}),
                Level::Error,
                "set `access_token_is_id_token = true` only if",
            ),
            (&[LOGIN], object!({"c_hash": "x"}), Level::Error, "it has `c_hash`, as ID tokens have"),
            (&[LOGIN], object!({"typ": "ID"}), Level::Error, "another kind of token"),
            (&[ENCRYPTED], object!({}), Level::Error, "it is encrypted (JWE)"),
            (&[OPAQUE], object!({}), Level::Error, "it is opaque, not a JWT"),
            (&[LOGIN, REFRESH], object!({"exp": NOW + 7200}), Level::Warning, "more than an hour"),
            (&[LOGIN, REFRESH], object!({"roles": []}), Level::Warning, "no roles in `roles`"),
            (&[LOGIN, REFRESH], object!({"padding": long}), Level::Warning, "often 8 KiB"),
            (&[WITHOUT], object!({}), Level::Warning, "no refresh token"),
            (&[LOGIN, REFRESH, REFRESH], object!({}), Level::Error, "revoked refresh token still gives"),
        ];
        for (answers, claims, level, expected) in cases {
            let report = tried(answers, claims, |_| ()).await;
            let found = problems(&report);
            assert!(
                found.iter().any(|(l, text)| *l == level && text.contains(expected)),
                "{expected}: {report}"
            );
        }
    }

    #[tokio::test]
    async fn sealing_counts_for_the_size() {
        let size = |report: &Report| {
            let text =
                report.findings().iter().find_map(|finding| finding.message.strip_prefix("cookies: 2 of "));
            text.and_then(|text| text.split(' ').next()?.parse::<usize>().ok()).unwrap()
        };
        let plain = tried(&[LOGIN], object!({}), |_| ()).await;
        let sealed = tried(&[LOGIN], object!({}), |config| {
            let text = "session.seal_keys = ['MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=']\n\
                [identity_providers.main]\nissuer = 'https://id.example.com'\n[apps.store]\nhosts = ['a.example']\n\
                upstreams = ['http://127.0.0.1:1']\nclient_id = 'a'\nclient_secret = 's'\n";
            config.session.seal_keys = crate::config::parse(text).unwrap().config.session.seal_keys;
        })
        .await;
        assert!(size(&sealed) > size(&plain) + 100, "{} {}", size(&sealed), size(&plain));
    }
}
