//! The details of a refusal beside its code: for the client, and for the reader of the log at its default level.

use serde_json::{Value, json};

use crate::support::client::raw;
use crate::support::program::Program;
use crate::support::{Browser, Endpoint, Fault, Request, World};

/// Which rule the path broke, and where logins go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_names_the_rule_that_was_broken() {
    let world = World::start().await;
    for (method, target, status, words) in [
        ("GET", "/api//cart", 400, "empty segment (`//`)"),
        ("GET", "/api/../cart", 400, "dot segment"),
        ("GET", "/api/%2e%2e/cart", 400, "dot segment"),
        ("GET", "/api/cart;v=1", 400, "path parameter (`;`)"),
        ("GET", "/api/a%2fb", 400, "encodes a character that changes its meaning"),
        ("GET", "/api/a%5cb", 400, "encodes a character that changes its meaning"),
        ("GET", "/api/a%zz", 400, "incomplete percent-encoding"),
        ("GET", "/api/%c0%afcart", 400, "overlong"),
        ("GET", "/api/a|b", 400, "a character that is not allowed"),
        ("POST", "/api/login/", 400, "The login is at `/api/login`"),
        ("POST", "/API/login", 400, "The login is at `/api/login`"),
        ("POST", "/login", 401, "with `POST /api/login`"),
        ("POST", "/api/sessions", 401, "with `POST /api/login`"),
        ("GET", "/api/cart", 401, "with `POST /api/login`"),
    ] {
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 0\r\n\r\n");
        let answer = raw(world.gateway.address, head).await.0.expect("an answer");
        assert_eq!(answer.status(), status, "{target}: {}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(words), "{words} in {detail}, of {target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_says_what_was_compared_with_what() {
    let (program, builder) = Program::start_quietly(World::builder().await).await;
    let long = format!("{}.example", "a".repeat(60));
    for (host, headers, words) in [
        ("nope.example.com", &[][..], &["unknown_host", "`Host` is `nope.example.com`", "`hosts`"][..]),
        ("127.0.0.1:8080", &[], &["unknown_host", "`Host` is `127.0.0.1:8080`"]),
        (&long, &[], &["unknown_host", &long]),
        (
            "store.localhost",
            &[("Origin", "https://shop.example.com")],
            &["cross_site", "`https://shop.example.com`", "`allowed_origins`"],
        ),
        (
            "store.localhost",
            &[("Origin", "http://store.localhost:3000")],
            &["cross_site", "`http://store.localhost:3000`"],
        ),
        ("store.localhost", &[("Origin", "null")], &["cross_site", "`null`", "`same-origin`"]),
        (
            "store.localhost",
            &[("Sec-Fetch-Site", "cross-site")],
            &["cross_site", "no `Origin`", "`cross-site`"],
        ),
        (
            "store.localhost",
            &[("Origin", "https://a.example"), ("Origin", "https://b.example")],
            &["cross_site", "`https://a.example`, `https://b.example`"],
        ),
    ] {
        let mut request = Request::post("/api/login").header("Host", host).form("username=ada&password=x");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        Browser::new(program.address, "store.localhost").send(request).await;
        program.logged(&[&[" access: "], words].concat()).await;
    }
    // What is in the log is bounded and escaped, whatever the client writes.
    let origin = format!("https://{}\"\u{1b}", "b".repeat(3_000));
    let head = format!(
        "POST /api/login HTTP/1.1\r\nHost: store.localhost\r\nOrigin: {}\r\nContent-Length: 0\r\n\r\n",
        origin.replace('\u{1b}', "\u{e9}")
    );
    raw(program.address, head).await.0.expect("an answer").assert_status(403);
    program.logged(&["cross_site", &format!("{}...", "b".repeat(120))]).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    for (claims, words) in [
        (json!({}), &["`admin`, `owner`", "the JWT has `user`"][..]),
        (json!({"realm_access": null, "roles": null}), &["`admin`, `owner`", "no roles", "`roles_claim`"]),
    ] {
        builder.provider.set(|settings| settings.claims = claims);
        browser.try_log_in("ada", "correct horse").await.assert_status(200);
        let answer = browser.get("/api/admin/users").await;
        answer.assert_problem(403, "forbidden");
        assert!(!answer.text().contains("owner"), "only the log names roles: {}", answer.text());
        program.logged(&[&["reason=\"role_missing\""], words].concat()).await;
    }
}

/// The grant, the scope, a parameter: not everything is a wrong secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_the_provider_refuses_is_told_what_to_change() {
    let (program, builder) = Program::start_quietly(World::builder().await).await;
    for (number, (error, words)) in [
        ("unauthorized_client", "allow the grant `password`"),
        ("unsupported_grant_type", "allow the grant `password`"),
        ("invalid_scope", "compare `scope`"),
        ("invalid_client", "`client_secret`"),
    ]
    .into_iter()
    .enumerate()
    {
        builder.provider.fail_next(Endpoint::Login, Fault::oauth_error(400, error));
        let mut browser = Browser::new(program.address, "store.localhost");
        browser.try_log_in(&format!("user{number}"), "whatever").await.assert_status(503);
        program.logged(&["login impossible: the provider refuses this client", error, words]).await;
    }
}

/// The line has the token's value in the place that was compared, and the key of the configuration for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_jwt_is_logged_with_what_it_says_and_what_to_do() {
    let (program, builder) = Program::start_quietly(World::builder().await).await;
    let mint = |claims: Value| builder.provider.mint("ada", "store", &claims);
    for (claims, words) in [
        (
            json!({"iss": "https://other.example/"}),
            &["(`iss` is `https://other.example/`)", "byte by byte"][..],
        ),
        (json!({"aud": "account", "azp": null}), &["(`aud` is `account`)", "set `audience`"]),
        (json!({"azp": "forums"}), &["(`azp` is `forums`)", "`authorized_parties`"]),
        (json!({"typ": "ID"}), &["another kind of token", "`typ` is `ID`"]),
        (json!({"exp": 1_000_000_000}), &["it has expired", "`exp` is `1000000000`", "NTP"]),
        (json!({"exp": "soon"}), &["claim `exp`", "`exp` is `soon`"]),
        (json!({"sub": null}), &["claim `sub` is missing", "Keycloak"]),
    ] {
        let token = mint(claims);
        builder.provider.set(|settings| settings.access_token = Some(token.clone()));
        let mut browser = Browser::new(program.address, "store.localhost");
        browser.try_log_in("ada", "correct horse").await.assert_status(503);
        program.logged(&[&["the provider's JWT was refused at login"], words].concat()).await;
    }
}

/// An app that ends the connection, as one that speaks TLS there does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_ends_the_connection_may_speak_tls() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.readable().await;
            drop(stream);
        }
    });
    let builder =
        World::builder().await.lay_over(&format!("[apps.store]\nupstreams = ['http://{upstream}']"));
    let (program, _builder) = Program::start_quietly(builder).await;
    Browser::new(program.address, "store.localhost").get("/").await.assert_status(502);
    program.logged(&["request failed", "ended the connection without an answer", "write `https://`"]).await;
}

/// Another realm, a page for people, a redirect: whatever answers, the log says which key leads there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discovery_that_fails_names_the_key() {
    for (fault, words) in [
        (Fault::status(404, ""), &["status 404", "of `issuer`"][..]),
        (
            Fault::status(200, "<html>Sign in</html>"),
            &["discovery failed", "must answer with the provider's metadata"],
        ),
        (Fault::status(301, ""), &["a redirect (301)", "must answer with the provider's metadata"]),
    ] {
        let builder = World::builder().await;
        builder.provider.fail(Endpoint::Discovery, fault);
        let (program, _builder) = Program::start_unready_quietly(builder).await;
        program.logged(words).await;
    }
}
