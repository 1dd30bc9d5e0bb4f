//! The addresses of an issuer's metadata documents.

use url::Url;

use crate::identity_provider::endpoints::below;

/// Returns the addresses of an issuer's metadata documents. OpenID Connect appends to the issuer's path, and RFC 8414
/// section 3.1 inserts before it.
pub(super) fn well_known(issuer: &Url) -> Vec<Url> {
    let mut inserted = issuer.clone();
    inserted.set_query(None);
    inserted.set_fragment(None);
    let path = issuer.path().trim_end_matches('/');
    inserted.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    vec![below(issuer, ".well-known/openid-configuration"), inserted]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_may_have_a_path_and_a_trailing_slash() {
        let cases = [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example/",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example:8443/realms/shop",
                "https://a.example:8443/realms/shop/.well-known/openid-configuration",
                "https://a.example:8443/.well-known/oauth-authorization-server/realms/shop",
            ),
            (
                "https://a.example/o/",
                "https://a.example/o/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/o",
            ),
        ];
        for (issuer, openid, oauth) in cases {
            let documents = well_known(&issuer.parse().unwrap());
            let texts: Vec<_> = documents.iter().map(Url::as_str).collect();
            assert_eq!(texts, [openid, oauth], "{issuer}");
        }
    }
}
