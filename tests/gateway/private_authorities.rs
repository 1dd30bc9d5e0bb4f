//! TLS to apps and to the identity provider, certified by an authority of one's own.

use crate::support::World;
use crate::support::certificates::{Authority, terminator};
use crate::support::gateway::Builder;

/// The usual world, with TLS in front of the store and of the provider.
async fn builder(authority: &Authority) -> Builder {
    authority.certify("store", &["store.internal"]);
    authority.certify("provider", &["127.0.0.1"]);
    let builder = World::builder().await;
    let store = terminator(authority, "store", builder.store.listening().address()).await;
    let plain = builder.provider.issuer().trim_start_matches("http://").parse().expect("an address");
    let provider = terminator(authority, "provider", plain).await;
    let toml = format!(
        "[apps.store]\nupstreams = ['https://{store}']\n[apps.store.upstream_tls]\nserver_name = 'store.internal'\n\
         [identity_providers.main]\ntoken_endpoint = 'https://{provider}/token'\n\
         jwks_uri = 'https://{provider}/jwks'\nrevocation_endpoint = 'https://{provider}/revoke'\n"
    );
    builder.lay_over(&toml)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_authority_of_ones_own_certifies_is_trusted_where_it_is_named() {
    let authority = Authority::new();
    let toml = format!(
        "[apps.store.upstream_tls]\nca = '{0}'\n[identity_providers.main]\nca = '{0}'\n",
        authority.ca()
    );
    let world = builder(&authority).await.lay_over(&toml).start().await;
    let mut browser = world.logged_in("ada").await;
    let answer = browser.get("/api/cart").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_other_names_are_not_trusted() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let (ours, other) = (authority.ca(), stranger.ca());
    for tls in [
        String::new(),
        format!("[apps.store.upstream_tls]\nca = '{other}'\n"),
        format!("[apps.store.upstream_tls]\nca = '{ours}'\nserver_name = 'forums.internal'\n"),
    ] {
        let provider = format!("[identity_providers.main]\nca = '{other}'\n");
        let world = builder(&authority).await.lay_over(&format!("{tls}{provider}")).start_unready().await;
        world.browser().get("/").await.assert_problem(502, "upstream_unavailable");
        assert_eq!(world.store.heads(), 0, "{tls}");
        world
            .browser()
            .try_log_in("ada", "correct horse")
            .await
            .assert_problem(503, "identity_provider_unavailable");
    }
}
