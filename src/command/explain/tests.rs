use serde_json::{Value, json};

use super::{ExplainError, Question, explain};
use crate::access::numbers::ProviderNumber;
use crate::access::revocations::Mark;
use crate::access::seal::{Seal, SessionRecord};
use crate::access::testing::{self, NOW, claims, mint};
use crate::system::clock::ManualClock;

const CONFIG: &str = r#"
    [identity_providers.main]
    issuer = "https://id.example.com"
    [apps.store]
    hosts = ["store.example.com"]
    upstreams = ["http://127.0.0.1:3001"]
    client_id = "store"
    client_secret = "s"
    forward_access_token = true
    backchannel_logout.path = "/api/ended"
    [[apps.store.routes]]
    path = "/"
    access = "public"
    [[apps.store.routes]]
    path = "/admin/*"
    access = "required"
    roles = ["admin", "staff"]
    [[apps.store.routes]]
    path = "/news"
    access = "optional"
"#;

const SEAL_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn sealing() -> String {
    format!("[session]\nseal_keys = ['{SEAL_KEY}']\nabsolute_lifetime = '1h'\n{CONFIG}")
}

async fn asked(config: &str, question: Question) -> Result<String, ExplainError> {
    let config = crate::config::parse(config).unwrap().config;
    explain(&config, &question, &ManualClock::new(NOW)).await
}

async fn explained(method: &str, url: &str) -> String {
    asked(CONFIG, Question { method: method.into(), url: url.into(), ..Question::default() }).await.unwrap()
}

/// With cookies, verified with all the tests' keys.
async fn with_cookies(config: &str, method: &str, path: &str, cookies: &str) -> String {
    let question = Question {
        method: method.into(),
        url: format!("https://store.example.com{path}"),
        cookies: Some(cookies.into()),
        jwks: Some(testing::jwks(&["rsa", "ed"].map(testing::jwk))),
        ..Question::default()
    };
    asked(config, question).await.unwrap()
}

/// The value of a step.
fn step<'a>(text: &'a str, name: &str) -> &'a str {
    let prefix = format!("  {name:<10} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no `{name}` in {text}"))
}

fn jwt(changes: &Value) -> String {
    format!("__Host-access_token={}", mint(&claims(changes)))
}

/// A sealed refresh token, given together with `jwt` to a user who logged in at `started_at`.
fn sealed(app: &str, jwt: &str, started_at: u64) -> String {
    let config = crate::config::parse(&sealing()).unwrap().config;
    let provider = ProviderNumber::of_issuer(&config.identity_providers[0].issuer);
    let seal = Seal::new(&config.session.seal_keys, app, "__Host-refresh_token").unwrap();
    let record = SessionRecord {
        id: [7; 16],
        subject: Mark::subject(provider, "alice"),
        access_token: Mark::token(provider, jwt.trim_start_matches("__Host-access_token=")),
        access_token_expires_at: NOW + 300,
        started_at,
        renewed_at: started_at,
    };
    format!("__Host-refresh_token={}", seal.close("canary-refresh-token", &record).unwrap().as_str())
}

#[tokio::test]
async fn a_route_with_roles() {
    insta::assert_snapshot!(explained("get", "https://store.example.com/admin/orders?page=2").await, @r"
    GET https://store.example.com/admin/orders?page=2
      app        store (host `store.example.com`)
      route      2 `/admin/*`
      access     required: only with a session
      roles      any of admin, staff
      otherwise  401 not_logged_in, 403 forbidden
      upstream   http://127.0.0.1:3001
      header     X-Auth-User: claim `sub`
      header     X-Auth-Email: claim `email`
      header     X-Auth-Roles: claim `roles`
      header     Authorization: Bearer <JWT>
      header     X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded
      removed    cookies __Host-access_token, __Host-refresh_token; a client's own headers of these names in any spelling
    ");
}

#[tokio::test]
async fn what_the_gateway_answers_itself() {
    let answers = [
        ("GET", "https://other.example.com/", "404 unknown_host"),
        ("GET", "https://store.example.com/a/../b", "400 bad_request"),
        ("POST", "https://store.example.com/API/Login/", "400 bad_request"),
        ("POST", "https://store.example.com/api/login", "200 with the user object"),
        ("GET", "https://store.example.com/api/login", "405 method_not_allowed"),
        ("GET", "https://store.example.com/api/user", "404 not_logged_in"),
        ("POST", "https://store.example.com/api/logout", "204"),
        ("POST", "https://store.example.com/api/ended", "200, for a logout token of the provider"),
        ("OPTIONS", "https://store.example.com/api/ended", "405 method_not_allowed"),
        ("TRACE", "https://store.example.com/", "405 method_not_allowed"),
    ];
    for (method, url, expected) in answers {
        let text = explained(method, url).await;
        assert!(text.contains("answer") && text.contains(expected), "{text}");
    }
    assert_eq!(step(&explained("GET", "https://store.example.com//x").await, "reason"), "path_empty_segment");
}

#[tokio::test]
async fn what_cannot_be_explained() {
    let ask =
        |method: &str, url: &str| Question { method: method.into(), url: url.into(), ..Question::default() };
    for url in ["store.example.com/x", "ftp://store.example.com/", "https://", ""] {
        assert_eq!(asked(CONFIG, ask("GET", url)).await, Err(ExplainError::Url(url.to_owned())));
    }
    let unreadable = asked(CONFIG, ask("GE T", "https://store.example.com/")).await;
    assert_eq!(unreadable, Err(ExplainError::Method("GE T".to_owned())));
    let origin = Question { origin: Some("a\nb".into()), ..ask("GET", "https://store.example.com/") };
    assert_eq!(asked(CONFIG, origin).await, Err(ExplainError::Origin("a\nb".into())));
}

#[tokio::test]
async fn a_good_session() {
    let text =
        with_cookies(CONFIG, "GET", "/admin/x", &jwt(&json!({"roles": ["admin"], "email": "a@b.c"}))).await;
    insta::assert_snapshot!(text, @r#"
    GET https://store.example.com/admin/x
      app        store (host `store.example.com`)
      route      2 `/admin/*`
      access     required: only with a session
      roles      any of admin, staff
      origin     not looked at: the method changes nothing
      cookies    `__Host-access_token`: one cookie, `__Host-refresh_token`: absent
      keys       2 from the file
      JWT        valid for 5 min
                 sub "alice", roles ["admin"]
      refresh    no refresh token: the session ends with its JWT
      not known  revocations and replaced refresh tokens, which only the running gateway knows: see its log
      answer     the app's, which is told:
      reason     session_valid
      identity   x-auth-user: alice
      identity   x-auth-email: a@b.c
      identity   x-auth-roles: admin
      upstream   http://127.0.0.1:3001
      header     X-Auth-User: claim `sub`
      header     X-Auth-Email: claim `email`
      header     X-Auth-Roles: claim `roles`
      header     Authorization: Bearer <JWT>
      header     X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded
      removed    cookies __Host-access_token, __Host-refresh_token; a client's own headers of these names in any spelling
    "#);
}

#[tokio::test]
async fn each_refusal_has_its_answer_and_its_reason() {
    let refresh = "__Host-refresh_token=canary-refresh-token";
    let good = jwt(&json!({}));
    let first_refresh = "first a refresh grant at the identity provider, then as with a valid JWT";
    let forged = good.rsplit_once('.').map(|(signed, _)| format!("{signed}.{}", "A".repeat(86))).unwrap();
    let cases = [
        ("/x", String::from("theme=dark"), "401 not_logged_in", "no_session"),
        ("/news", String::from("theme=dark"), "the app's, which is told nothing of a user", "anonymous"),
        ("/", good.clone(), "the app's, which is told nothing of a user", "public"),
        ("/admin", good.clone(), "403 forbidden", "role_missing"),
        ("/api/user", String::from("theme=dark"), "404 not_logged_in", "anonymous"),
        ("/api/user", good.clone(), "200 with the user object", "session_valid"),
        ("/x", format!("{good}; {good}"), "401 not_logged_in, both cookies cleared", "duplicate_cookie"),
        ("/x", String::from("__Host-access_token=!2!0!canary"), "401 not_logged_in", "incomplete_cookie"),
        ("/x", String::from("__Host-access_token=canary"), "401 not_logged_in", "token_malformed"),
        ("/x", forged, "401 not_logged_in", "token_signature"),
        ("/x", jwt(&json!({"iss": "https://other.example"})), "401 not_logged_in", "token_issuer"),
        ("/x", jwt(&json!({"azp": "forums"})), "401 not_logged_in", "token_authorized_party"),
        ("/x", jwt(&json!({"azp": null, "aud": "other"})), "401 not_logged_in", "token_audience"),
        ("/x", jwt(&json!({"iat": NOW + 60})), "401 not_logged_in", "token_not_yet_valid"),
        ("/x", jwt(&json!({"exp": NOW - 60})), "401 not_logged_in", "token_expired"),
        ("/x", format!("{}; {refresh}", jwt(&json!({"exp": NOW - 60}))), first_refresh, "token_expired"),
        (
            "/x",
            format!("{}; {refresh}", jwt(&json!({"iat": NOW - 300, "exp": NOW + 9}))),
            first_refresh,
            "session_valid",
        ),
        ("/x", String::from(refresh), first_refresh, "no_session"),
    ];
    for (path, cookies, answer, reason) in cases {
        let text = with_cookies(CONFIG, "GET", path, &cookies).await;
        assert_eq!((step(&text, "answer"), step(&text, "reason")), (answer, reason), "{text}");
        assert!(!text.contains("canary") && !text.contains("eyJ"), "a token is shown: {text}");
    }
}

#[tokio::test]
async fn sealed_cookies_and_what_they_are_bound_to() {
    let expired = jwt(&json!({"exp": NOW - 60}));
    let another = jwt(&json!({"exp": NOW - 61}));
    let refresh = "first a refresh grant at the identity provider, then as with a valid JWT";
    let over = "401 session_expired, both cookies cleared";
    let cases = [
        (format!("{expired}; {}", sealed("store", &expired, NOW - 600)), refresh, "token_expired"),
        (format!("{another}; {}", sealed("store", &expired, NOW - 600)), over, "not_bound"),
        (sealed("store", &expired, NOW - 600), over, "not_bound"),
        (format!("{expired}; {}", sealed("forums", &expired, NOW - 600)), over, "not_sealed_here"),
        (format!("{expired}; __Host-refresh_token=canary"), over, "not_sealed_here"),
        (format!("{expired}; {}", sealed("store", &expired, NOW - 3600)), over, "absolute_lifetime"),
    ];
    for (cookies, answer, reason) in cases {
        let text = with_cookies(&sealing(), "GET", "/x", &cookies).await;
        assert_eq!((step(&text, "answer"), step(&text, "reason")), (answer, reason), "{text}");
        assert!(!text.contains("canary") && !text.contains("eyJ"), "a token is shown: {text}");
    }
    let text = with_cookies(
        &sealing(),
        "GET",
        "/x",
        &format!("{expired}; {}", sealed("store", &expired, NOW - 600)),
    )
    .await;
    assert_eq!(
        step(&text, "session"),
        "began 10 min ago, renewed 10 min ago, ends in 50 min by `absolute_lifetime`"
    );
    assert_eq!(step(&text, "bound"), "the JWT and the refresh token are of one session");
}

/// Whatever the headers are, the answer is what `decide` says of them.
#[tokio::test]
async fn headers_as_they_are_given() {
    const PREFLIGHT: [&str; 2] = ["Origin: https://www.example.com", "Access-Control-Request-Method: PUT"];
    const HANDSHAKE: [&str; 4] = [
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let ask = |method: &str, url: &str, headers: &[&str]| {
        let headers: Vec<_> = headers.iter().map(|&line| line.to_owned()).collect();
        asked(
            CONFIG,
            Question {
                method: method.into(),
                url: url.into(),
                headers: headers.into(),
                ..Question::default()
            },
        )
    };
    let login = "https://store.example.com/api/login";
    for (method, url, headers, reason) in [
        ("POST", login, &["Origin: null", "Sec-Fetch-Site: same-origin"][..], "served"),
        ("POST", login, &["Origin: null"], "cross_site"),
        ("POST", login, &["Sec-Fetch-Site: same-site"], "cross_site"),
        ("OPTIONS", "https://store.example.com/x", &PREFLIGHT, "preflight"),
        ("OPTIONS", "https://store.example.com/x", &PREFLIGHT[..1], "no_session"),
        ("OPTIONS", login, &PREFLIGHT, "preflight"),
        ("OPTIONS", login, &PREFLIGHT[1..], "method"),
        ("GET", "https://store.example.com/api/user", &["Accept: */*"], "anonymous"),
        ("GET", "https://store.example.com.:443/api/user", &["Accept: */*"], "anonymous"),
        ("GET", "wss://store.example.com/x", &["Accept: */*"], "no_session"),
        ("GET", "wss://store.example.com/x", &["sec-websocket-version:8"], "web_socket_version"),
        ("GET", "wss://store.example.com/x", &["Sec-WebSocket-Key: x"], "web_socket_handshake"),
        ("GET", "https://store.example.com/x", &HANDSHAKE, "no_session"),
        ("GET", "https://store.example.com/x", &HANDSHAKE[..3], "web_socket_handshake"),
        ("GET", "https://store.example.com/x", &HANDSHAKE[..2], "web_socket_version"),
        ("GET", "https://store.example.com/x", &HANDSHAKE[..1], "no_session"),
    ] {
        let text = ask(method, url, headers).await.unwrap();
        assert_eq!(step(&text, "reason"), reason, "{headers:?} {text}");
    }
    for line in ["Origin", "a b: c", "Host: x", "Cookie: x", "X: \u{1}"] {
        assert_eq!(ask("GET", login, &[line]).await, Err(ExplainError::Header(line.into())), "{line}");
    }
}

/// A logout ignores its body, so nothing of its answer hangs on that.
#[tokio::test]
async fn a_logout_is_answered_whatever_its_body() {
    for (origin, answer) in [
        ("https://store.example.com", "204, and both cookies cleared"),
        ("https://evil.example", "403 cross_site_request"),
    ] {
        let url = "https://store.example.com/api/logout";
        let (method, url, origin) = ("POST".into(), url.into(), Some(origin.into()));
        let text = asked(CONFIG, Question { method, url, origin, ..Question::default() }).await.unwrap();
        assert_eq!(step(&text, "answer"), answer, "{text}");
    }
}

#[tokio::test]
async fn what_a_login_is_expected_to_have() {
    let config = format!("{CONFIG}\n");
    let question = Question {
        method: "POST".into(),
        url: "https://store.example.com/api/login".into(),
        ..Question::default()
    };
    let text = asked(&config, question).await.unwrap();
    assert_eq!(step(&text, "fields"), "`username` and `password`, once each; others do not matter");
    let accepted =
        "`application/json`, `application/x-www-form-urlencoded` or `multipart/form-data`, in UTF-8";
    assert_eq!(step(&text, "accepted"), accepted);
}

#[tokio::test]
async fn who_is_said_to_have_sent_it() {
    let ask = |method: &str, url: &str, origin: &str| {
        let cookies = Some(jwt(&json!({})).into());
        let (method, url, origin) = (method.into(), url.into(), Some(origin.into()));
        let jwks = Some(testing::jwks(&[testing::jwk("ed")]));
        asked(CONFIG, Question { method, url, origin, cookies, jwks, ..Question::default() })
    };
    for (method, url, origin, reason) in [
        ("POST", "https://store.example.com/x", "https://evil.example", "cross_site"),
        ("POST", "https://store.example.com/x", "https://store.example.com", "session_valid"),
        ("GET", "https://store.example.com/x", "https://evil.example", "session_valid"),
        ("GET", "wss://store.example.com/x", "https://evil.example", "cross_site"),
        ("POST", "https://store.example.com/api/login", "https://evil.example", "cross_site"),
        ("POST", "https://store.example.com/api/login", "https://store.example.com", "served"),
    ] {
        let text = ask(method, url, origin).await.unwrap();
        assert_eq!(step(&text, "reason"), reason, "{text}");
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_for_its_keys() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let config =
        CONFIG.replace("https://id.example.com", &format!("http://{}", socket.local_addr().unwrap()));
    let question = Question {
        method: "GET".into(),
        url: "https://store.example.com/x".into(),
        cookies: Some(jwt(&json!({})).into()),
        ..Question::default()
    };
    let text = asked(&config, question).await.unwrap();
    assert!(step(&text, "keys").starts_with("none: "), "{text}");
    assert_eq!(
        (step(&text, "answer"), step(&text, "reason")),
        ("503 identity_provider_unavailable", "keys_unknown")
    );
}

#[tokio::test]
async fn a_request_without_tls_is_sent_to_https_where_that_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| directory.path().join(name));
    let pair = rcgen::generate_simple_self_signed([String::from("store.example.com")]).unwrap();
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let files = format!("certificate = '{}', key = '{}'", certificate.display(), key.display());
    let config = format!(
        "[server]\nlisten_tls = ['127.0.0.1:8443']\n[server.tls]\nredirect_port = 8443\ncertificates = [{{ {files} }}]\n{CONFIG}"
    );
    let ask = |url: &str| {
        let question = Question { method: "GET".into(), url: url.into(), ..Question::default() };
        let config = config.clone();
        async move { asked(&config, question).await.unwrap() }
    };
    let text = ask("http://store.example.com/admin/x").await;
    assert_eq!(step(&text, "answer"), "308 to `https`, port 8443 (`redirect_port`)");
    assert_eq!(step(&text, "reason"), "redirected");
    let text = ask("https://store.example.com/admin/x").await;
    assert!(!text.contains("308"), "{text}");
}

#[tokio::test]
async fn it_says_where_the_cookies_may_be() {
    let text = with_cookies(CONFIG, "GET", "/cart", "theme=dark").await;
    assert!(text.contains("there are others"), "{text}");
    let text = with_cookies(CONFIG, "GET", "/cart", "# Netscape HTTP Cookie File\n").await;
    assert!(text.contains("the file has none for this host"), "{text}");
}

#[tokio::test]
async fn each_kind_of_token_that_is_refused_is_named_with_what_to_do() {
    let header = testing::base64url(r#"{"alg":"dir","enc":"A256GCM"}"#);
    for (cookie, said) in [
        (jwt(&json!({"azp": null, "cid": "forums"})), "`cid` names another client (token_authorized_party)"),
        (jwt(&json!({"azp": "forums"})), "`azp` names another client (token_authorized_party)"),
        (jwt(&json!({"at_hash": "x"})), "`access_token_is_id_token = true`"),
        (format!("__Host-access_token={header}..aXY.dGV4dA.dGFn"), "it is encrypted (JWE)"),
        (String::from("__Host-access_token=2YotnFZFEjr1zCsicMWpAA"), "it is opaque, not a JWT"),
    ] {
        let text = with_cookies(CONFIG, "get", "/cart", &cookie).await;
        assert!(step(&text, "JWT").contains(said), "{said}: {text}");
    }
}

#[tokio::test]
async fn the_login_names_the_parameters_that_the_provider_gets() {
    let config = CONFIG.replace(
        "forward_access_token",
        "token_parameters = { audience = 'canary-a', resource = ['canary-b'] }\nforward_access_token",
    );
    let question = |url: &str| Question { method: "post".into(), url: url.to_owned(), ..Question::default() };
    let text = asked(&config, question("https://store.example.com/api/login")).await.unwrap();
    assert_eq!(step(&text, "provider"), "gets audience, resource with each grant (`token_parameters`)");
    assert!(!text.contains("canary"), "{text}");
    let text = asked(&config, question("https://store.example.com/api/logout")).await.unwrap();
    assert!(!text.contains("audience"), "{text}");
}
