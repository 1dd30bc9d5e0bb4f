//! How a provider is reached where it is not as usual: an issuer that is a name, parameters of its own, a proxy in between.

use serde_json::json;

use crate::binary::Program;
use crate::support::{Browser, Endpoint, Fault, Request, World};

/// As ADFS calls itself.
const NAME: &str = "http://adfs.example.com/adfs/services/trust";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_endpoints_given_an_issuer_is_a_name_and_no_address() {
    for revocation in [true, false] {
        let builder = World::builder().await;
        let base = builder.provider.issuer();
        builder.provider.set(|settings| settings.claims = json!({ "iss": NAME }));
        let mut toml = format!(
            "[identity_providers.main]\nissuer = '{NAME}'\ntoken_endpoint = '{base}/token'\njwks_uri = '{base}/jwks'\n"
        );
        if revocation {
            toml += &format!("revocation_endpoint = '{base}/revoke'\n");
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

/// What a grant carried besides what every grant does.
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
