//! FusionAuth's endpoints, and the answers of its own refresh API.

use super::*;
use crate::access::tokens::RefreshToken;
use crate::config::ProviderKind;
use crate::identity_provider::dialect::kinds;
use crate::identity_provider::discovery::configured;
use crate::identity_provider::testing;

fn text(url: Option<&Url>) -> &str {
    url.map_or("", Url::as_str)
}

#[test]
fn fusionauth_needs_no_discovery() {
    let kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::Jwt };
    let cases = [
        ("https://login.acme.com", None, "https://login.acme.com/"),
        ("https://login.acme.com/auth/", None, "https://login.acme.com/auth/"),
        ("acme.com", Some("http://localhost:9011/oauth2/token"), "http://localhost:9011/"),
        ("https://acme.com", Some("https://fa.acme.com/x/oauth2/token"), "https://fa.acme.com/x/"),
        // A name, since it must not be asked.
        ("http://acme.com", Some("https://fa.acme.com/oauth2/token"), "https://fa.acme.com/"),
    ];
    for (issuer, token_endpoint, base) in cases {
        let mut config = testing::config("http://127.0.0.1:1");
        (config.kind, config.issuer) = (kind, issuer.to_owned());
        config.token_endpoint = token_endpoint.map(|url| url.parse().unwrap());
        let endpoints = configured(&config, kinds::of(&config)).unwrap();
        assert_eq!(text(endpoints.token.as_ref()), format!("{base}oauth2/token"));
        assert_eq!(text(endpoints.jwks.as_ref()), format!("{base}.well-known/jwks.json"));
        assert_eq!(text(endpoints.refresh.as_ref()), format!("{base}api/jwt/refresh"));
        assert_eq!(text(endpoints.revocation.as_ref()), format!("{base}api/logout"));
    }
}

#[test]
fn fusionauth_behind_another_path_is_where_its_token_endpoint_is_unless_the_issuer_may_be_asked() {
    for (issuer, revocation) in [
        ("https://acme.com", "https://acme.com/api/logout"),
        ("http://localhost:9011", "http://localhost:9011/api/logout"),
        ("http://acme.com", "https://fa.acme.com/api/logout"),
        ("acme.com", "https://fa.acme.com/api/logout"),
        ("https://acme.com?tenant=a", "https://fa.acme.com/api/logout"),
    ] {
        let mut config = testing::config(issuer);
        config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::OAuth2 };
        config.token_endpoint = Some("https://fa.acme.com/token".parse().unwrap());
        config.jwks_uri = Some("https://fa.acme.com/jwks".parse().unwrap());
        let endpoints = configured(&config, kinds::of(&config)).unwrap();
        assert_eq!(text(endpoints.revocation.as_ref()), revocation, "{issuer}");
    }
}

#[test]
fn fusionauth_with_a_free_text_issuer_needs_a_token_endpoint() {
    let mut config = testing::config("acme.com");
    config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::OAuth2 };
    let error = configured(&config, kinds::of(&config)).unwrap_err();
    let expected = "the issuer \"acme.com\" is not a URL: set `token_endpoint` to FusionAuth's `https://HOST/oauth2/token`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_refresh_api_has_names_of_its_own() {
    let tokens = read_jwt_refresh(br#"{"token":"a","refreshToken":"r","refreshTokenId":"i"}"#).unwrap();
    let refresh_token = tokens.refresh_token.as_ref().map(RefreshToken::as_str);
    assert_eq!((tokens.access_token.as_str(), refresh_token), ("a", Some("r")));
    assert!(read_jwt_refresh(br#"{"access_token":"a"}"#).is_err());
}
