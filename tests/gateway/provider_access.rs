//! Unusual ways to a provider: an issuer that is only a name, parameters of its own, a proxy in between.

use serde_json::json;

use crate::support::certificates::{Authority, terminator};
use crate::support::program::Program;
use crate::support::proxy::{HttpProxy, Manner};
use crate::support::{Browser, Endpoint, Fault, Request, World, patiently};

/// As ADFS calls itself.
const NAME: &str = "http://adfs.example.com/adfs/services/trust";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_endpoints_given_an_issuer_is_a_name_and_no_address() {
    for revocation in [true, false] {
        let builder = World::builder().await;
        let base = builder.provider.issuer();
        builder.provider.set(|settings| settings.claims = json!({ "iss": NAME }));
        let revocation_endpoint = format!("revocation_endpoint = '{base}/revoke'\n");
        let mut toml = format!(
            "[identity_providers.main]\nissuer = '{NAME}'\ntoken_endpoint = '{base}/token'\njwks_uri = '{base}/jwks'\n"
        );
        if revocation {
            toml += &revocation_endpoint;
        }
        let world = builder.lay_over(&toml).start().await;
        let mut browser = world.logged_in("ada").await;
        browser.get("/api/cart").await.assert_status(200);
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_status(200);
        browser.send(Request::post("/api/logout")).await.assert_status(204);
        let revoked = world.provider.count(Endpoint::Revoke);
        assert_eq!(revoked, usize::from(revocation));
        assert_eq!(world.provider.count(Endpoint::Discovery) + world.provider.count(Endpoint::Other), 0);
    }
}

/// Returns the parameters of a grant except those that every grant has.
fn parameters(call: &crate::support::call::Call) -> Vec<(&str, &str)> {
    const OWN: [&str; 5] = ["grant_type", "username", "password", "scope", "refresh_token"];
    let form = call.form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    form.filter(|(name, _)| !OWN.contains(name)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_of_a_provider_and_of_an_app_go_with_both_grants_and_with_nothing_else() {
    let toml = "
        [identity_providers.main]
        token_parameters = { audience = 'https://api.example.com/?a=b&c=ü', realm = 'staff', resource = ['urn:a', 'urn:b'] }
        [apps.forums]
        token_parameters = { audience = 'forums-api', realm = [], organization = 'org_1' }";
    let world = World::with(toml).await;
    let of_store = [
        ("audience", "https://api.example.com/?a=b&c=ü"),
        ("realm", "staff"),
        ("resource", "urn:a"),
        ("resource", "urn:b"),
    ];
    // The app's own values take the place of the provider's; an empty list takes one away.
    let of_forums =
        [("audience", "forums-api"), ("resource", "urn:a"), ("resource", "urn:b"), ("organization", "org_1")];
    for (mut browser, expected) in
        [(world.browser(), of_store.to_vec()), (world.forums_browser(), of_forums.to_vec())]
    {
        browser.log_in("ada").await;
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_status(200);
        browser.send(Request::post("/api/logout")).await.assert_status(204);
        for endpoint in [Endpoint::Login, Endpoint::Refresh] {
            let call = world.provider.calls(endpoint).pop().expect("a call");
            let mut found = parameters(&call);
            found.sort_unstable();
            let mut expected = expected.clone();
            expected.sort_unstable();
            assert_eq!(found, expected, "{endpoint:?}");
        }
        let call = world.provider.calls(Endpoint::Revoke).pop().expect("a call");
        assert_eq!(call.field("audience"), None);
        assert_eq!(call.field("resource"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_follow_a_reload() {
    let world = World::with("[identity_providers.main]\ntoken_parameters = { audience = 'one' }").await;
    let mut browser = world.logged_in("ada").await;
    let changes = world.reload("[identity_providers.main]\ntoken_parameters = { audience = 'two' }").await;
    assert_eq!(changes, ["identity_providers.main.token_parameters.audience: \"one\" -> \"two\""]);
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    let call = world.provider.calls(Endpoint::Refresh).pop().expect("a call");
    assert_eq!(call.field("audience"), Some("two"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_parameter_is_sent_and_stands_in_no_line_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, "canary-parameter\n").unwrap();
    let toml = format!(
        "[identity_providers.main]\ntoken_parameters = {{ api_key = {{ file = '{}' }}, audience = 'plain-audience' }}",
        file.display()
    );
    let (program, builder) = Program::start(World::builder().await.lay_over(&toml)).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
    let call = builder.provider.calls(Endpoint::Login).pop().expect("a call");
    assert_eq!(call.field("api_key"), Some("canary-parameter"));
    // A provider that repeats what it was sent.
    for said in ["canary-parameter", "plain-audience"] {
        let body = json!({"error": "invalid_request", "error_description": format!("what is {said}?")});
        builder.provider.fail_next(Endpoint::Login, Fault::status(400, &body.to_string()));
        Browser::new(program.address, "store.localhost").try_log_in("ada", "x").await;
    }
    std::fs::write(&file, "canary-parameter-2\n").unwrap();
    program.signal("HUP").await;
    program.logged(&["token_parameters.api_key: (secret) -> (secret)"]).await;
    let text = program.end().await;
    assert!(!text.contains("canary-parameter"), "{text}");
    assert!(text.contains("what is plain-audience?"), "{text}");
}

/// Everything that a session needs of its provider.
async fn a_whole_session(world: &World) {
    let mut browser = world.logged_in("ada").await;
    browser.get("/api/cart").await.assert_status(200);
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    browser.send(Request::post("/api/logout")).await.assert_status(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_to_a_provider_over_http_goes_through_its_proxy_in_absolute_form() {
    let proxy = HttpProxy::start().await;
    let builder = World::builder().await;
    let issuer = builder.provider.issuer();
    let toml = format!("[identity_providers.main]\nproxy = '{}'", proxy.url());
    let world = builder.lay_over(&toml).start().await;
    a_whole_session(&world).await;
    let asked = proxy.asked();
    for (method, path) in [
        ("GET", "/.well-known/openid-configuration"),
        ("GET", "/jwks"),
        ("POST", "/token"),
        ("POST", "/revoke"),
    ] {
        assert!(asked.contains(&format!("{method} {issuer}{path}")), "{path}: {asked:?}");
    }
    let of_provider =
        [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Login, Endpoint::Refresh, Endpoint::Revoke];
    let calls: usize = of_provider.map(|endpoint| world.provider.count(endpoint)).iter().sum();
    assert_eq!(calls, asked.len(), "nothing goes another way");
    assert!(proxy.credentials().iter().all(Option::is_none));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_over_https_is_reached_through_a_tunnel_and_verified_at_its_end() {
    let authority = Authority::new();
    let stranger = Authority::new();
    authority.certify("provider", &["127.0.0.1"]);
    for trusted in [true, false] {
        let proxy = HttpProxy::start().await;
        proxy.set(Manner::Ask(String::from("Basic YWRhOnA6dw==")));
        let builder = World::builder().await;
        let plain = builder.provider.issuer().trim_start_matches("http://").parse().expect("an address");
        let provider = terminator(&authority, "provider", plain).await;
        let ca = if trusted { authority.ca() } else { stranger.ca() };
        let toml = format!(
            "[identity_providers.main]\ntoken_endpoint = 'https://{provider}/token'\njwks_uri = 'https://{provider}/jwks'\n\
             revocation_endpoint = 'https://{provider}/revoke'\nca = '{ca}'\n\
             proxy = '{}'\nproxy_credentials = 'ada:p:w'\n",
            proxy.url()
        );
        let builder = builder.lay_over(&toml);
        if trusted {
            let world = builder.start().await;
            a_whole_session(&world).await;
        } else {
            let world = builder.start_unready().await;
            world.browser().try_log_in("ada", "correct horse").await.assert_status(503);
            assert_eq!(world.provider.count(Endpoint::Login), 0);
        }
        let tunnel = format!("CONNECT {provider}");
        assert!(
            !proxy.asked().is_empty() && proxy.asked().iter().all(|asked| *asked == tunnel),
            "{:?}",
            proxy.asked()
        );
        let expected = Some(String::from("Basic YWRhOnA6dw=="));
        assert!(proxy.credentials().iter().all(|sent| *sent == expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_names_no_proxy() {
    let proxy = HttpProxy::start().await;
    let builder = World::builder().await;
    let (program, builder) =
        Program::start_in_environment(builder, &["HTTP_PROXY", "http_proxy", "ALL_PROXY"], &proxy.url())
            .await;
    Browser::new(program.address, "store.localhost").log_in("ada").await;
    assert_eq!(proxy.listening.accepted(), 0);
    assert_eq!(builder.provider.count(Endpoint::Login), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_fails_is_told_from_a_provider_that_does_and_its_credentials_stay_secret() {
    let authority = Authority::new();
    authority.certify("provider", &["127.0.0.1"]);
    let proxy = HttpProxy::start().await;
    let builder = World::builder().await;
    let plain = builder.provider.issuer().trim_start_matches("http://").parse().expect("an address");
    let provider = terminator(&authority, "provider", plain).await;
    let toml = |token: &str| {
        format!(
            "[identity_providers.main]\nca = '{}'\nproxy = '{}'\nproxy_credentials = 'ada:canary-proxy'\ntoken_endpoint = '{token}'\n\
             [refresh]\nreplay_window = '29s'\n",
            authority.ca(),
            proxy.url()
        )
    };
    let http = builder.provider.issuer();
    for (token, refused) in [
        (format!("https://{provider}/token"), "it refuses a tunnel (CONNECT) to the provider"),
        (format!("{http}/token"), ""),
    ] {
        proxy.set(Manner::Pass);
        let builder = World::builder().await;
        let (program, builder) = Program::start(builder.lay_over(&toml(&token))).await;
        let log_in = || async {
            let mut browser = Browser::new(program.address, "store.localhost");
            browser.try_log_in("ada", "correct horse").await
        };
        let told = format!("the proxy {}: ", proxy.url());
        proxy.set(Manner::Ask(String::from("Basic other")));
        log_in().await.assert_problem(503, "identity_provider_unavailable");
        program
            .logged(&[
                "login impossible",
                &told,
                "it wants to know who we are (407): see `proxy_credentials`",
            ])
            .await;
        if !refused.is_empty() {
            proxy.set(Manner::Refuse(403));
            log_in().await.assert_problem(503, "identity_provider_unavailable");
            program.logged(&["login impossible", &told, refused]).await;
        }
        proxy.listening.down();
        // A connection that was kept, or not yet closed there, is noticed first.
        patiently("a connection refused", async {
            while !program.has_logged(&["login impossible", &format!("{told}connection refused")]) {
                log_in().await.assert_problem(503, "identity_provider_unavailable");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
        proxy.listening.up().await;
        drop(builder);
        let text = program.end().await;
        for secret in ["canary-proxy", "YWRhOmNhbmFyeS1wcm94eQ"] {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "`{secret}` in {}", line.unwrap_or_default());
        }
    }
}
