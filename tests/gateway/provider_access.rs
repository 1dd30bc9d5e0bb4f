//! How a provider is reached where it is not as usual: an issuer that is a name, parameters of its own, a proxy in between.

use serde_json::json;

use crate::support::{Endpoint, Request, World};

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
